"""The training pass of reward models: the loss and gradient are TRL's own, whatever is not computed."""

import random
from math import exp, log
from statistics import fmean

import pytest
import torch
from datasets import Dataset
from trl import RewardConfig, RewardTrainer

from r1kit import preference_trainer
from r1kit.classifier import open_classifier
from r1kit.preference_trainer import PreferenceTrainer, collate
from r1kit.training_run import adapter

# tokens of the shared beginning, of the rest of the chosen side and of the rejected one
SIZES = ((20, 12, 5), (3, 40, 22), (31, 1, 9), (0, 6, 30), (12, 12, 12), (25, 2, 1), (8, 30, 3), (20, 4, 17))
PAD = 1  # the tokenizer's
IDS = ("chosen_ids", "rejected_ids")


def random_pairs(sizes=SIZES, margins=False):
    """Return pairs; some end in tokens of padding, as those of a model whose end token it is."""
    chance, rows = random.Random(3), []
    for number, (shared, *own) in enumerate(sizes):
        prompt = [chance.randrange(2, 1000) for _ in range(shared)]
        chosen, rejected = ([chance.randrange(2, 1000) for _ in range(size)] for size in own)
        rejected[0] = chosen[0] + 1 if chosen[0] < 999 else 2
        ends = [PAD] * (number % 3)
        margin = chance.uniform(-1, 2) if margins else 0.0
        rows.append(
            {
                "chosen_ids": prompt + chosen + ends,
                "rejected_ids": prompt + rejected,
                "margin": margin,
                "prompt": number,
            }
        )
    return rows


@pytest.fixture
def fresh(tiny_folder):
    """Return a function that opens the tiny model anew, its head spread out so that rewards differ."""

    def open_anew():
        model, tokenizer = open_classifier(str(tiny_folder), "sequence", 1, seed=1)
        with torch.no_grad():
            model.score.weight *= 30
        return model, tokenizer

    return open_anew


def config(folder, **settings):
    own = {"per_device_train_batch_size": len(SIZES), "max_steps": 2, "learning_rate": 1e-3, "use_cpu": True}
    plain = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1, "bf16": False}
    always = {"max_length": None, "remove_unused_columns": False, "gradient_checkpointing": False}
    return RewardConfig(output_dir=str(folder), **{**own, **plain, **always, **settings})


def ours(model, tokenizer, folder, rows, token_budget=4096, peft_config=None, **settings):
    return PreferenceTrainer(
        peft_config=peft_config,
        model=model,
        args=config(folder, **settings),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        token_budget=token_budget,
    )


def theirs(model, tokenizer, folder, rows, peft_config=None, **settings):
    return RewardTrainer(
        model=model,
        args=config(folder, **settings),
        train_dataset=Dataset.from_list(rows).remove_columns("prompt"),
        processing_class=tokenizer,
        peft_config=peft_config,
    )


def loss_and_gradient(trainer):
    """Return a step's loss and gradient, without taking it."""
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.zero_grad()
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1  # as its loop says
    loss = trainer.training_step(trainer.model, batch)
    return float(loss), torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def assert_same(mine, plain, within=1e-5):
    assert mine[0] == pytest.approx(plain[0], rel=within)
    assert float((mine[1] - plain[1]).norm() / plain[1].norm()) < within


@pytest.mark.parametrize(("token_budget", "worth"), [(4096, 0.0), (4096, 1.0), (90, 0.05)])
@pytest.mark.parametrize(
    ("margins", "settings"),
    [(False, {}), (True, {"center_rewards_coefficient": 0.1})],
    ids=["plain", "margin, centred"],
)
def test_loss_and_gradient_are_trls(fresh, tmp_path, monkeypatch, token_budget, worth, margins, settings):
    """A pass has the beginning of a pair once, or its rows as they stand."""
    monkeypatch.setattr(preference_trainer, "WORTH_SHARING", worth)
    rows = random_pairs(margins=margins)
    mine = loss_and_gradient(ours(*fresh(), tmp_path, rows, token_budget, **settings))
    assert_same(mine, loss_and_gradient(theirs(*fresh(), tmp_path, rows, **settings)))


def test_models_that_cannot_be_packed_are_padded_for_the_same_gradient(fresh, tmp_path):
    rows = random_pairs(margins=True)
    trainer = ours(*fresh(), tmp_path, rows, 150)
    assert trainer.packs
    trainer.packs = False
    assert_same(loss_and_gradient(trainer), loss_and_gradient(theirs(*fresh(), tmp_path, rows)))


def test_gradient_checkpointing_leaves_the_gradient_as_it_is(fresh, tmp_path):
    rows = random_pairs()
    plain = loss_and_gradient(ours(*fresh(), tmp_path, rows))
    assert_same(loss_and_gradient(ours(*fresh(), tmp_path, rows, gradient_checkpointing=True)), plain)


def test_an_adapter_has_trls_gradient_and_the_head_is_trained(fresh, tmp_path):
    rows = random_pairs()
    found = []
    for make in (ours, theirs):
        torch.manual_seed(0)
        trainer = make(*fresh(), tmp_path, rows, peft_config=adapter(4, "SEQ_CLS"))
        found.append(loss_and_gradient(trainer))
        trained = [name for name, p in trainer.model.named_parameters() if p.requires_grad]
        assert sum("score" in name for name in trained) == 1
    assert_same(*found)


def test_the_log_tells_what_trls_does_over_steps(fresh, tmp_path):
    rows = random_pairs(SIZES * 3, margins=True)
    logs = []
    for make in (ours, theirs):
        trainer = make(*fresh(), tmp_path, rows, max_steps=4)
        trainer.train()
        logs.append([line for line in trainer.state.log_history if "loss" in line])
    for name in ("loss", "accuracy", "margin", "mean_reward", "min_reward", "max_reward", "num_tokens"):
        assert [line[name] for line in logs[0]] == pytest.approx([line[name] for line in logs[1]], rel=1e-3)
    assert sum(line["tokens/train"] for line in logs[0]) == logs[1][-1]["num_tokens"]
    assert logs[0][0]["pairs/train"] == len(SIZES)


def test_held_out_pairs_have_the_models_own_scores_and_their_loss(fresh, tmp_path):
    model, tokenizer = fresh()
    rows = random_pairs(SIZES * 9, margins=True)  # more than are read at a time
    trainer = ours(model, tokenizer, tmp_path, rows, center_rewards_coefficient=0.1)
    held_out = Dataset.from_list(rows)
    scores = trainer.score_pairs(held_out)
    plain, _ = fresh()
    with torch.no_grad():
        expected = [[plain(torch.tensor([row[side]])).logits.item() for side in IDS] for row in rows]
    assert [pair[:2] for pair in scores] == [pytest.approx(pair, abs=1e-5) for pair in expected]
    assert [pair.chosen_tokens for pair in scores] == [len(row["chosen_ids"]) for row in rows]
    terms = [
        log(1 + exp(-(c - r - row["margin"]))) + 0.1 * (c + r) ** 2 for (c, r), row in zip(expected, rows, strict=True)
    ]
    assert trainer.held_out_loss(held_out, scores) == pytest.approx(fmean(terms), rel=1e-4)


def test_rows_are_handed_on_without_padding():
    batch = collate(random_pairs(((2, 1, 2), (0, 4, 1))))
    assert batch["lengths"].tolist() == [3, 5, 4, 1]
    assert batch["input_ids"].shape == (1, 13)
