"""The trainer held to TRL's own: the same loss and gradient, whatever r1kit computes less of."""

import pytest
import torch
from datasets import Dataset
from model_families import other_models
from trl import GRPOConfig, GRPOTrainer

from r1kit.model import load_model
from r1kit.parts import PARTS
from r1kit.trainer import ReasoningTrainer

LOSSES = {
    "grpo": {"loss_type": "grpo"},
    "dapo": {"loss_type": "dapo", "epsilon_high": 0.28},
    "dr_grpo": {"loss_type": "dr_grpo"},
    "bnpo": {"loss_type": "bnpo"},
    "cispo": {"loss_type": "cispo", "epsilon_high": 5.0},
    "sapo": {"loss_type": "sapo"},
    "vespo": {"loss_type": "vespo"},
    "luspo": {"loss_type": "luspo", "importance_sampling_level": "sequence"},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    "off-policy mask": {"loss_type": "grpo", "off_policy_mask_threshold": 0.01},
}


def new_trainer(cls, folder, tmp_path, reward, own=None, **settings):
    """Return a trainer of the model in `folder`; `own` are arguments of r1kit's."""
    model, tokenizer = load_model(str(folder))
    config = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 24,
        "max_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
    }
    prompts = ["1 + 2 = ", "What is the capital of France?", "x", "7 * 8 = "]
    return cls(
        model=model,
        reward_funcs=reward,
        args=GRPOConfig(**{**config, **settings}),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer,
        **(own or {}),
    )


def sum_reward(completions, completion_ids, **_):
    return [float(sum(ids) % 5) for ids in completion_ids]


def batch(prompt_starts=(0, 5, 8)):
    """Eight rows of three ragged prompts (left-padded) and completions (right-padded); half have no advantage."""
    generator = torch.Generator().manual_seed(0)
    owners, lengths = (0, 0, 1, 1, 1, 2, 0, 2), (20, 1, 7, 3, 12, 20, 2, 5)
    prompts = torch.randint(2, 300, (3, 9), generator=generator)
    prompt_mask = torch.zeros(8, 9, dtype=torch.long)
    completion_mask = torch.zeros(8, 20, dtype=torch.long)
    for row, (owner, length) in enumerate(zip(owners, lengths, strict=True)):
        prompt_mask[row, prompt_starts[owner] :] = 1
        completion_mask[row, :length] = 1
    return {
        "prompt_ids": prompts[list(owners)] * prompt_mask,
        "prompt_mask": prompt_mask,
        "completion_ids": torch.randint(2, 300, (8, 20), generator=generator) * completion_mask,
        "completion_mask": completion_mask,
        "advantages": torch.randn(8, generator=generator) * torch.tensor([1, 0, 1, 1, 0, 0, 1, 0]),
        "num_items_in_batch": completion_mask.sum(),
    }


def loss_and_gradient(trainer, inputs):
    """Return loss, gradient and metrics of one step on a batch, off-policy and, with a beta, off the reference."""
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    ids, mask = (torch.cat([inputs[f"prompt_{kind}"], inputs[f"completion_{kind}"]], dim=1) for kind in ("ids", "mask"))
    with torch.no_grad():  # old and reference near the policy: far from it, ratios and KL are all rounding
        logps, _, _ = GRPOTrainer._get_per_token_logps_and_entropies(trainer, trainer.model, ids, mask, 20)
    noise = torch.randn(2, 8, 20, generator=torch.Generator().manual_seed(1)) * inputs["completion_mask"]
    inputs["ref_per_token_logps"], inputs["old_per_token_logps"] = logps + 0.3 * noise[0], logps + 0.2 * noise[1]
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
    return loss.item(), gradient, {key: values[-1] for key, values in trainer._metrics["train"].items()}


def assert_same(ours, plain):
    assert ours[0] == pytest.approx(plain[0], rel=1e-5, abs=1e-7)
    assert plain[1].norm() > 0
    assert (ours[1] - plain[1]).norm() <= 1e-5 * plain[1].norm()


def compare(folder, tmp_path, parts=tuple(PARTS), prompt_starts=(0, 5, 8), **settings):
    """Hold r1kit's step, in several passes, to TRL's."""
    plain = new_trainer(GRPOTrainer, folder, tmp_path, sum_reward, **settings)
    own = {"parts": parts, "token_budget": 60}
    ours = new_trainer(ReasoningTrainer, folder, tmp_path, sum_reward, own, **settings)
    ours, plain = (loss_and_gradient(trainer, batch(prompt_starts)) for trainer in (ours, plain))
    assert_same(ours, plain)
    return ours, plain


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_loss_and_gradient_are_trls(tiny_folder, tmp_path, loss, beta):
    compare(tiny_folder, tmp_path, beta=beta, **LOSSES[loss])


@pytest.mark.parametrize("parts", [["drop"], ["budget"], ["head"], ["head", "share"], ["budget", "head"], []])
@pytest.mark.parametrize("loss", ["grpo", "dapo", "bnpo"])
def test_each_part_alone_leaves_them_as_they_are(tiny_folder, tmp_path, parts, loss):
    compare(tiny_folder, tmp_path, parts, **LOSSES[loss])


@pytest.mark.parametrize("settings", [
    {"beta": 0.04}, {"entropy_coef": 0.01}, {"top_entropy_quantile": 0.5}, {"temperature": 0.7},
    {"gradient_checkpointing": True}, {"beta": 0.04, "use_bias_correction_kl": True},
])  # fmt: skip
def test_terms_of_the_loss_and_gradient_checkpointing(tiny_folder, tmp_path, settings):
    compare(tiny_folder, tmp_path, **settings)


def test_the_metrics_of_several_passes_are_those_of_one(tiny_folder, tmp_path):
    ours, plain = compare(tiny_folder, tmp_path, beta=0.04, epsilon=0.1, **LOSSES["grpo"])
    assert ours[2].keys() == plain[2].keys() >= {"kl", "entropy", "clip_ratio/region_mean"}
    for key, value in plain[2].items():
        assert ours[2][key] == pytest.approx(value, rel=1e-4), key


def test_rows_that_are_masked_whole_are_passed_over(tiny_folder, tmp_path):
    """As TRL masks truncated completions."""
    inputs = batch()
    inputs["completion_mask"][[0, 3, 5]] = 0
    found = []
    for cls, own in ((GRPOTrainer, None), (ReasoningTrainer, {"token_budget": 60})):
        trainer = new_trainer(cls, tiny_folder, tmp_path, sum_reward, own, loss_type="grpo")
        found.append(loss_and_gradient(trainer, dict(inputs)))
    assert_same(found[1], found[0])
    inputs["completion_mask"][:] = 0
    trainer = new_trainer(ReasoningTrainer, tiny_folder, tmp_path, sum_reward, loss_type="grpo")
    loss, gradient, _ = loss_and_gradient(trainer, inputs)
    assert (loss, gradient.norm()) == (0, 0)


@pytest.mark.parametrize("kind", other_models())
def test_other_kinds_of_attention(tiny_model, tmp_path, kind):
    from r1kit.model import save_model

    torch.manual_seed(0)
    save_model(other_models()[kind](), tiny_model[1], tmp_path / "model", {"command": "test"})
    learned = kind == "learned positions"  # with these TRL's log-probabilities depend on the padding before a prompt
    compare(tmp_path / "model", tmp_path, prompt_starts=(0, 0, 0) if learned else (0, 5, 8), disable_dropout=True)


def weights_after(tiny_folder, tmp_path, reward, own=None, **settings):
    trainer = new_trainer(ReasoningTrainer, tiny_folder, tmp_path, reward, own, **settings)
    trainer.train()
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_equal_rewards_move_nothing(tiny_folder, tmp_path):
    start = torch.cat([p.detach().flatten() for p in load_model(str(tiny_folder))[0].parameters()])
    after = weights_after(tiny_folder, tmp_path, lambda completions, **_: [1.0] * len(completions), learning_rate=0.1)
    assert torch.equal(after, start)


def test_one_micro_batch_is_eight_small_ones(tiny_folder, tmp_path):
    """SGD, so that the weights show the gradient itself."""
    settings = {"optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 1e9}
    whole = weights_after(tiny_folder, tmp_path, sum_reward, **settings)
    parts = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}
    small = weights_after(tiny_folder, tmp_path, sum_reward, **settings, **parts)
    start = torch.cat([p.detach().flatten() for p in load_model(str(tiny_folder))[0].parameters()])
    assert (whole - start).norm() > 0
    assert (whole - small).norm() <= 1e-4 * (whole - start).norm()


def test_with_all_parts_off_it_is_trls_trainer(tiny_folder, tmp_path):
    """Ten steps, bit for bit."""
    settings = {"max_steps": 10, "learning_rate": 1e-3, "gradient_accumulation_steps": 2, "beta": 0.01}
    losses, weights = [], []
    for cls, own in ((GRPOTrainer, None), (ReasoningTrainer, {"parts": ()})):
        trainer = new_trainer(cls, tiny_folder, tmp_path, sum_reward, own, **settings)
        trainer.train()
        losses.append([line["loss"] for line in trainer.state.log_history if "loss" in line])
        weights.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
    assert losses[0] == losses[1]
    assert len(losses[0]) == 10
    assert all(losses[0])
    assert torch.equal(*weights)


def test_policy_equal_to_reference_has_no_kl(tiny_folder, tmp_path):
    trainer = new_trainer(ReasoningTrainer, tiny_folder, tmp_path, sum_reward, beta=0.1)
    trainer.train()
    first = next(line for line in trainer.state.log_history if "kl" in line)
    assert first["kl"] == pytest.approx(0, abs=1e-6)
    assert first["seconds/generate"] > 0
    assert first["seconds/train"] > 0
    assert first["tokens/generate"] > 0


def test_the_engines_log_probabilities_serve_as_old_ones(tiny_folder, tmp_path, monkeypatch):
    """Two updates a batch: TRL computes the old ones by a pass of its own, r1kit has them from sampling."""
    settings = {"steps_per_generation": 2, "learning_rate": 1e-2, "max_steps": 4, "optim": "sgd"}
    reused = weights_after(tiny_folder, tmp_path, sum_reward, **settings)
    monkeypatch.setattr(ReasoningTrainer, "_draws_exactly", False)
    computed = weights_after(tiny_folder, tmp_path, sum_reward, **settings)
    start = torch.cat([p.detach().flatten() for p in load_model(str(tiny_folder))[0].parameters()])
    assert not torch.equal(reused, computed)
    assert (reused - computed).norm() <= 1e-4 * (computed - start).norm()


def test_what_was_left_out_is_counted_and_draws_are_compared(tiny_folder, tmp_path):
    def half(completions, completion_ids, **_):
        return [float(sum(ids) % 2) if place < 4 else 1.0 for place, ids in enumerate(completion_ids)]

    trainer = new_trainer(ReasoningTrainer, tiny_folder, tmp_path, half)
    trainer.train()
    line = trainer.state.log_history[0]
    assert line["rows/trained"] == 0.5
    assert 0 < line["logprob_difference"] < 1e-4


def test_memory_that_does_not_suffice_names_what_to_lower(tiny_folder, tmp_path):
    from r1kit.errors import UserError

    trainer = new_trainer(ReasoningTrainer, tiny_folder, tmp_path, sum_reward, {"parts": ["budget"]})

    def full(module, args, kwargs):
        if torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    trainer.model.register_forward_pre_hook(full, with_kwargs=True)
    with pytest.raises(UserError, match="--token-budget: a pass of 4096 tokens needs more memory"):
        trainer.train()
