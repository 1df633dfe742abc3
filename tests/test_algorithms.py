"""Each algorithm by what defines it, on TRL's own loss: ratios are given, and the numbers are worked by hand."""

import json
from math import exp, log

import pytest
import torch
from conftest import REPO, invoke, lines, write_jsonl
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from r1kit.algorithms import ALGORITHMS, DEFAULT, algorithm_of
from r1kit.grpo_plan import FLAGS
from r1kit.model import load_model
from r1kit.reward_spec import parse_rewards
from r1kit.trainer import ReasoningTrainer

K3 = 1 - log(2)  # of every token, where the reference is twice as likely as the policy: 2 - log 2 - 1
LENGTHS = (2, 6)  # tokens of the two completions


def rewards_of_a_group(completions, **_):
    """Give a group of four the mean 1 and the standard deviation (of n - 1) 2."""
    return [0.0, 0.0, 0.0, 4.0]


def new_trainer(tiny_folder, tmp_path, name, cls=GRPOTrainer):
    model, tokenizer = load_model(str(tiny_folder))
    config = GRPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=10,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        **algorithm_of(name).settings,
    )
    prompts = Dataset.from_dict({"prompt": ["1 + 2 = ", "x"]})
    trainer = cls(
        model=model, reward_funcs=rewards_of_a_group, args=config, train_dataset=prompts, processing_class=tokenizer
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


@pytest.fixture
def loss_of(tiny_folder, tmp_path):
    """Return the loss of two completions under an algorithm, and the norm of its gradient.

    `ratios` are those of the tokens, of all or of each; `advantages` those of the completions.
    """

    def loss(name, ratios, advantages):
        trainer = new_trainer(tiny_folder, tmp_path, name)
        return loss_and_gradient(trainer, inputs_of(trainer, torch.tensor(ratios), advantages))[:2]

    return loss


def inputs_of(trainer, ratios, advantages):
    """Return a batch whose old log-probabilities make the ratios, with a reference that is twice as likely."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(2, 6, dtype=torch.long)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
    inputs = {
        "prompt_ids": torch.randint(2, 300, (2, 3), generator=generator),
        "prompt_mask": torch.ones(2, 3, dtype=torch.long),
        "completion_ids": torch.randint(2, 300, (2, 6), generator=generator),
        "completion_mask": mask,
        "advantages": torch.tensor(advantages),
        "num_items_in_batch": mask.sum(),
    }
    with torch.no_grad():
        logps = logps_of(trainer, inputs)
    return {**inputs, "old_per_token_logps": logps - ratios.log(), "ref_per_token_logps": logps + log(2)}


def logps_of(trainer, inputs):
    """Return the log-probabilities (2, 6) of the completions' tokens."""
    ids, mask = (torch.cat([inputs[f"prompt_{kind}"], inputs[f"completion_{kind}"]], dim=1) for kind in ("ids", "mask"))
    return GRPOTrainer._get_per_token_logps_and_entropies(trainer, trainer.model, ids, mask, 6)[0]


def loss_and_gradient(trainer, inputs):
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
    return loss.item(), gradient.norm().item(), gradient


def close(value):
    return pytest.approx(value, abs=2e-5)


def test_grpo_is_the_mean_of_each_completion_then_the_mean_of_them(loss_of):
    assert loss_of("grpo", 1.0, [1.0, -3.0])[0] == close(-(1 - 3) / 2 + 0.04 * K3)


def test_grpo_clips_at_0_2_on_either_side(loss_of):
    assert loss_of("grpo", 1.25, [1.0, 1.0])[0] == close(-1.2 + 0.04 * K3)
    assert loss_of("grpo", 0.75, [-1.0, -1.0])[0] == close(0.8 + 0.04 * K3)


def test_r1_clips_nothing_at_a_ratio_of_5_and_has_a_weak_kl(loss_of):
    loss, gradient = loss_of("r1", 5.0, [1.0, 1.0])
    assert loss == close(-5 + 0.001 * K3)
    assert gradient > 1
    assert loss_of("r1", 0.01, [-1.0, -1.0])[0] == close(0.01 + 0.001 * K3)
    assert loss_of("r1", 12.0, [1.0, 1.0])[0] == close(-11 + 0.001 * K3)


def test_r1_replaces_its_reference_by_the_policy(tiny_folder, tmp_path):
    trainer = new_trainer(tiny_folder, tmp_path, "r1")
    trainer.state.global_step = 399
    with torch.no_grad():
        trainer.model.lm_head.weight += 1.0
    reference = trainer.ref_model.lm_head.weight
    sync = next(c for c in trainer.callback_handler.callbacks if type(c).__name__ == "SyncRefModelCallback")
    sync.on_step_end(trainer.args, trainer.state, trainer.control, model=trainer.model)
    assert not torch.equal(reference, trainer.model.lm_head.weight)
    trainer.state.global_step = 400
    sync.on_step_end(trainer.args, trainer.state, trainer.control, model=trainer.model)
    assert torch.equal(reference, trainer.model.lm_head.weight)


def test_dapo_clips_a_positive_token_at_1_28_and_not_below(loss_of):
    loss, gradient = loss_of("dapo", 1.25, [1.0, 1.0])
    assert loss == close(-1.25)
    assert gradient > 1
    assert loss_of("dapo", 1.3, [1.0, 1.0]) == (close(-1.28), 0.0)
    assert loss_of("dapo", 0.75, [-1.0, -1.0]) == (close(0.8), 0.0)


def test_dapo_weighs_completions_by_their_tokens(loss_of):
    assert loss_of("dapo", 1.0, [1.0, -3.0])[0] == close(-(2 * 1 - 6 * 3) / 8)


def test_dr_grpo_divides_by_the_longest_possible_completion(loss_of):
    assert loss_of("dr-grpo", 1.0, [1.0, -3.0])[0] == close(-(2 * 1 - 6 * 3) / (2 * 10))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_advantages_are_divided_by_the_standard_deviation_where_the_paper_divides(tiny_folder, tmp_path, name):
    trainer = new_trainer(tiny_folder, tmp_path, name)
    inputs = trainer._generate_and_score_completions([{"prompt": "x"}] * 4)
    divisor = 1 if name in ("dr-grpo", "olmo3", "deepseek-v3.2") else 2
    assert inputs["advantages"].tolist() == pytest.approx([r / divisor for r in (-1, -1, -1, 3)], rel=1e-3)


def test_gspo_has_one_ratio_a_completion_the_geometric_mean(loss_of):
    near_one = [[4.0, exp(2 * 2e-4) / 4, *(1.0,) * 4], [*(2.0,) * 3, *(exp(2 * 2e-4) / 2,) * 3]]
    loss, gradient = loss_of("gspo", near_one, [1.0, 1.0])
    assert loss == close(-exp(2e-4))
    assert gradient > 1
    assert loss_of("gspo", 1.0008, [1.0, 1.0]) == (close(-1.0004), 0.0)
    assert loss_of("gspo", 0.9992, [-1.0, -1.0]) == (close(0.9997), 0.0)


def test_gspo_weighs_completions_the_same(loss_of):
    assert loss_of("gspo", 1.0, [1.0, -3.0])[0] == close(-(1 - 3) / 2)


@pytest.mark.parametrize(("ratio", "weight"), [(8.0, 5.0), (3.0, 3.0), (0.01, 0.01)])
def test_cispo_clips_the_weight_and_every_token_keeps_its_gradient(tiny_folder, tmp_path, ratio, weight):
    trainer = new_trainer(tiny_folder, tmp_path, "cispo")
    inputs = inputs_of(trainer, torch.tensor(ratio), [1.0, -3.0])
    by_hand = (
        -weight * (logps_of(trainer, inputs) * inputs["completion_mask"] * torch.tensor([[1.0], [-3.0]])).sum() / 8
    )
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(by_hand, list(trainer.model.parameters()))])
    loss, _, gradient = loss_and_gradient(trainer, inputs)
    assert loss == pytest.approx(by_hand.item(), rel=1e-5)
    assert (gradient - expected).norm() <= 1e-5 * expected.norm()


def test_olmo3_clips_a_positive_token_at_1_272_and_counts_tokens(loss_of):
    assert loss_of("olmo3", 1.3, [1.0, 1.0]) == (close(-1.272), 0.0)
    assert loss_of("olmo3", 1.0, [1.0, -3.0])[0] == close(-(2 * 1 - 6 * 3) / 8)


def test_deepseek_v3_2_drops_a_wrong_completion_that_the_policy_has_left(loss_of):
    """log(old / new) is 1 nat a token at a ratio of 1/e, over the threshold, and 0.36 at 0.7, under it."""
    far, kl = exp(-1), 0.001 * K3
    assert loss_of("deepseek-v3.2", far, [-1.0, -1.0])[0] == close(kl * far)
    assert loss_of("deepseek-v3.2", far, [1.0, 1.0])[0] == close(-far + kl * far)
    assert loss_of("deepseek-v3.2", 0.7, [-1.0, -1.0])[0] == close(0.8 + kl * 0.7)


def test_deepseek_v3_2_weighs_the_kl_by_the_ratio(loss_of):
    """At the clip of 1.2 a ratio of 100 shows in the KL alone."""
    assert loss_of("deepseek-v3.2", 100.0, [1.0, 1.0])[0] == close(-1.2 + 0.001 * 100 * K3)
    assert loss_of("grpo", 100.0, [1.0, 1.0])[0] == close(-1.2 + 0.04 * K3)


@pytest.mark.parametrize("name", [None, *ALGORITHMS])
def test_the_loss_of_an_algorithm_is_trls(tiny_folder, tmp_path, name):
    ratios = 0.25 * 8 ** torch.rand(2, 6, generator=torch.Generator().manual_seed(1))  # 0.25 to 2
    plain, ours = (
        loss_and_gradient(trainer, inputs_of(trainer, ratios, [0.7, -1.3]))
        for trainer in (new_trainer(tiny_folder, tmp_path, name, cls) for cls in (GRPOTrainer, ReasoningTrainer))
    )
    assert plain[1] > 0
    assert ours[0] == pytest.approx(plain[0], rel=1e-5)
    assert (ours[2] - plain[2]).norm() <= 1e-5 * plain[1]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_table_sets_what_trl_has_and_what_no_flag_says(name):
    settings = ALGORITHMS[name].settings
    config = GRPOConfig(use_cpu=True, bf16=False, **settings)
    assert {key: getattr(config, key) for key in settings} == settings
    assert not settings.keys() & FLAGS.keys()


def test_rewards_of_an_algorithm_are_added_where_they_are_absent():
    parts = parse_rewards("accuracy,format:0.2")
    assert ALGORITHMS["dapo"].add_rewards(parts) == parse_rewards("accuracy,format:0.2,overlong:0.5")
    own = parse_rewards("math=accuracy,overlong:2 code=accuracy")
    assert ALGORITHMS["dapo"].add_rewards(own) == own
    assert DEFAULT.add_rewards(parts) == parts


def test_the_readme_has_a_row_for_every_value_of_every_algorithm():
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    for name, algorithm in {"default": DEFAULT, **ALGORITHMS}.items():
        for key, value in algorithm.settings.items():
            said = value if isinstance(value, str) else json.dumps(value)
            assert f"| `{name}` | `{key}={said}` | " in readme
        if algorithm.rewards:
            assert f"| `{name}` | reward `{algorithm.rewards}` | " in readme
        if algorithm.dynamic_sampling:
            assert f"| `{name}` | dynamic sampling, {algorithm.dynamic_sampling} times | " in readme


@pytest.mark.parametrize(
    ("name", "steps"), [("dapo", 4), *(pytest.param(name, 20, marks=pytest.mark.slow) for name in ALGORITHMS)]
)
def test_every_algorithm_trains_the_embedded_base(tmp_path, name, steps):
    held_out = write_jsonl(tmp_path / "test.jsonl", [{"id": "1", "prompt": "What is 1 + 2 + 3?", "answer": "6"}])
    sizes = ("--steps", steps, "--batch-size", 16, "-n", 4, "--max-tokens", 32, "--eval-samples", 1)
    invoke("grpo", "--model", "base", "--algo", name, *sizes, "--eval", held_out, "-o", tmp_path / "run")
    log = lines((tmp_path / "run" / "log.jsonl").read_text())
    assert [line["step"] for line in log] == list(range(1, steps + 1))
    assert ("overlong" in log[0]["rewards"]) == (name in ("dapo", "cispo"))
    assert (tmp_path / "run" / "model.safetensors").exists()
