"""The trainer held to TRL's own: the same loss and gradient, whatever r1kit computes less of."""

import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from r1kit.model import load_model
from r1kit.trainer import CHUNK_TOKENS, ReasoningTrainer, cut_by_length


def new_trainer(cls, tiny_folder, tmp_path, reward, **settings):
    model, tokenizer = load_model(str(tiny_folder))
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
    )


def length_reward(completions, completion_ids, **_):
    return [float(len(ids) % 5) for ids in completion_ids]


def batch():
    """Eight rows of ragged prompts (left-padded) and completions (right-padded), with advantages."""
    generator = torch.Generator().manual_seed(0)
    prompt_mask = torch.zeros(8, 9, dtype=torch.long)
    completion_mask = torch.zeros(8, 20, dtype=torch.long)
    for row in range(8):
        prompt_mask[row, 9 - (1 + row) :] = 1
        completion_mask[row, : (20, 1, 7, 3, 12, 20, 2, 5)[row]] = 1
    return {
        "prompt_ids": torch.randint(2, 300, (8, 9), generator=generator),
        "prompt_mask": prompt_mask,
        "completion_ids": torch.randint(2, 300, (8, 20), generator=generator),
        "completion_mask": completion_mask,
        "advantages": torch.randn(8, generator=generator),
        "num_items_in_batch": completion_mask.sum(),
    }


def loss_and_gradient(trainer):
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    inputs = batch()
    ids, mask = (torch.cat([inputs[f"prompt_{kind}"], inputs[f"completion_{kind}"]], dim=1) for kind in ("ids", "mask"))
    with torch.no_grad():  # a reference near the policy: far from it, the KL term is all rounding
        logps, _, _ = GRPOTrainer._get_per_token_logps_and_entropies(trainer, trainer.model, ids, mask, 20)
    inputs["ref_per_token_logps"] = logps + 0.3 * torch.randn(8, 20, generator=torch.Generator().manual_seed(1))
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo", "bnpo", "cispo"])
@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_loss_and_gradient_are_trls(tiny_folder, tmp_path, monkeypatch, loss_type, beta):
    monkeypatch.setattr("r1kit.trainer.CHUNK_TOKENS", 60)  # so that the batch is cut into several chunks
    settings = {"loss_type": loss_type, "beta": beta}
    plain = loss_and_gradient(new_trainer(GRPOTrainer, tiny_folder, tmp_path, length_reward, **settings))
    ours = loss_and_gradient(new_trainer(ReasoningTrainer, tiny_folder, tmp_path, length_reward, **settings))
    assert ours[0] == pytest.approx(plain[0], rel=1e-5)
    assert (ours[1] - plain[1]).norm() <= 1e-5 * plain[1].norm()


def test_rows_of_like_length_go_together_within_the_token_budget():
    lengths = [100, 3000, 90, 2000, 110]
    chunks = cut_by_length(lengths, max_rows=2)
    assert chunks == [[1], [3, 4], [0, 2]]
    assert all(len(rows) * max(lengths[row] for row in rows) <= CHUNK_TOKENS for rows in chunks)
    assert cut_by_length([2 * CHUNK_TOKENS], max_rows=8) == [[0]]


def weights_after(tiny_folder, tmp_path, reward, **settings):
    trainer = new_trainer(ReasoningTrainer, tiny_folder, tmp_path, reward, **settings)
    trainer.train()
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_equal_rewards_move_nothing(tiny_folder, tmp_path):
    start = torch.cat([p.detach().flatten() for p in load_model(str(tiny_folder))[0].parameters()])
    after = weights_after(tiny_folder, tmp_path, lambda completions, **_: [1.0] * len(completions), learning_rate=0.1)
    assert torch.equal(after, start)


def test_one_micro_batch_is_eight_small_ones(tiny_folder, tmp_path):
    """SGD, so that the weights show the gradient itself."""
    settings = {"optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 1e9}
    whole = weights_after(tiny_folder, tmp_path, length_reward, **settings)
    parts = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8}
    small = weights_after(tiny_folder, tmp_path, length_reward, **settings, **parts)
    start = torch.cat([p.detach().flatten() for p in load_model(str(tiny_folder))[0].parameters()])
    assert (whole - start).norm() > 0
    assert (whole - small).norm() <= 1e-4 * (whole - start).norm()


def test_policy_equal_to_reference_has_no_kl(tiny_folder, tmp_path):
    trainer = new_trainer(ReasoningTrainer, tiny_folder, tmp_path, length_reward, beta=0.1)
    trainer.train()
    first = next(line for line in trainer.state.log_history if "kl" in line)
    assert first["kl"] == pytest.approx(0, abs=1e-6)
    assert first["seconds/generate"] > 0
    assert first["seconds/train"] > 0
    assert first["tokens/generate"] > 0
