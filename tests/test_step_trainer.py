"""The training pass of process reward models, held to a plain twin that reads one row at a time."""

import copy

import pytest
import torch
from datasets import Dataset
from transformers import TrainingArguments

from r1kit.classifier import open_classifier
from r1kit.sft_rows import UNTRAINED
from r1kit.step_trainer import StepTrainer, collate

LENGTHS = (37, 5, 60, 22, 12, 41, 8, 30)


def random_rows(lengths=LENGTHS, soft=True):
    """Return rows with a label on every fifth token or so, and on the last."""
    chance = torch.Generator().manual_seed(3)
    rows = []
    for number, length in enumerate(lengths):
        ends = [*range(3, length - 1, 5), length - 1]
        labels = torch.rand(len(ends), generator=chance)
        ids = torch.randint(2, 1000, (length,), generator=chance).tolist()
        rows.append({"input_ids": ids, "ends": ends, "labels": (labels if soft else labels.round()).tolist()})
        rows[-1]["prompt"] = number
    return rows


@pytest.fixture(scope="module")
def opened(tiny_folder):
    """Return the tiny model as a token classifier, its head spread out so that scores differ."""
    model, tokenizer = open_classifier(str(tiny_folder), "token", 2, seed=1)
    with torch.no_grad():
        model.score.weight *= 30
    return model, tokenizer


def trainer_of(opened, folder, rows=None, token_budget=4096, peft_config=None, **settings):
    model, tokenizer = opened
    own = {"per_device_train_batch_size": len(LENGTHS), "max_steps": 2, "learning_rate": 1e-3, "use_cpu": True}
    plain = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1}
    return StepTrainer(
        model=copy.deepcopy(model),
        args=TrainingArguments(str(folder), remove_unused_columns=False, **{**own, **plain, **settings}),
        train_dataset=Dataset.from_list(rows or random_rows()),
        processing_class=tokenizer,
        peft_config=peft_config,
        token_budget=token_budget,
    )


def loss_and_gradient(trainer):
    """Return a step's loss and gradient, without taking it."""
    batch = next(iter(trainer.get_train_dataloader()))
    steps = (batch["labels"] != UNTRAINED).sum()
    trainer.model.zero_grad()
    trainer.model.train()
    loss = trainer.training_step(trainer.model, batch, steps)
    return float(loss), torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def plain_loss_and_gradient(model, rows):
    """Return the mean over all steps of -p log q - (1 - p) log (1 - q), each row read alone."""
    model = copy.deepcopy(model).eval()  # no dropout
    total, count = 0.0, 0
    for row in rows:
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, row["ends"]].log_softmax(-1)
        labels = torch.tensor(row["labels"])
        total = total - (labels * logits[:, 1] + (1 - labels) * logits[:, 0]).sum()
        count += len(labels)
    (total / count).backward()
    return (total / count).item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("token_budget", [4096, 64])
@pytest.mark.parametrize("soft", [True, False], ids=["soft", "hard"])
def test_loss_and_gradient_are_those_of_rows_read_alone(opened, tmp_path, token_budget, soft):
    rows = random_rows(soft=soft)
    mine = loss_and_gradient(trainer_of(opened, tmp_path, rows, token_budget))
    plain = plain_loss_and_gradient(opened[0], rows)
    assert mine[0] == pytest.approx(plain[0], rel=1e-5)
    assert float((mine[1] - plain[1]).norm() / plain[1].norm()) < 1e-5


def test_hard_labels_give_the_loss_of_a_token_classifier(opened, tmp_path):
    """TRL's PRMTrainer leaves the loss to transformers: the labels on the ends, all other tokens ignored."""
    rows = random_rows(soft=False)
    mine, _ = loss_and_gradient(trainer_of(opened, tmp_path, rows))
    width, model = max(LENGTHS), copy.deepcopy(opened[0]).eval()
    ids, mask, labels = (torch.full((len(rows), width), fill) for fill in (0, 0, UNTRAINED))
    for number, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[number, :length], mask[number, :length] = torch.tensor(row["input_ids"]), 1
        labels[number, row["ends"]] = torch.tensor(row["labels"]).long()
    assert mine == pytest.approx(model(input_ids=ids, attention_mask=mask, labels=labels).loss.item(), rel=1e-5)


@pytest.mark.parametrize("settings", [{}, {"gradient_checkpointing": True}], ids=["padded", "checkpointed"])
def test_other_ways_give_the_same_gradient(opened, tmp_path, settings):
    trainer = trainer_of(opened, tmp_path, token_budget=128, **settings)
    assert trainer.packs
    trainer.packs = bool(settings)  # Mamba cannot be packed; this model stands for it
    mine, plain = loss_and_gradient(trainer), plain_loss_and_gradient(opened[0], random_rows())
    assert float((mine[1] - plain[1]).norm() / plain[1].norm()) < 1e-5


def test_a_label_of_one_half_counts_as_wrong_and_the_log_tells_the_accuracy(opened, tmp_path):
    trainer = trainer_of(opened, tmp_path, max_steps=1)
    trainer.train()
    line = trainer.state.log_history[0]
    rows = random_rows()
    scores = trainer_of(opened, tmp_path).score_steps(Dataset.from_list(rows))
    pairs = [pair for row, own in zip(rows, scores, strict=True) for pair in zip(row["labels"], own, strict=True)]
    assert line["tokens/train"] == sum(LENGTHS)
    assert line["steps/trained"] == len(pairs)
    assert line["accuracy"] == pytest.approx(sum((a > 0.5) == (b > 0.5) for a, b in pairs) / len(pairs))


@pytest.mark.parametrize("token_budget", [4096, 40])
def test_scores_come_in_order_and_are_those_of_rows_read_alone(opened, tmp_path, token_budget):
    rows = random_rows(LENGTHS * 9)  # more than are read at a time
    found = trainer_of(opened, tmp_path, token_budget=token_budget).score_steps(Dataset.from_list(rows))
    for row, scores in zip(rows, found, strict=True):
        with torch.no_grad():
            logits = opened[0](input_ids=torch.tensor([row["input_ids"]])).logits[0, row["ends"]]
        assert scores == pytest.approx(logits.softmax(-1)[:, 1].tolist(), abs=1e-5)


def test_an_adapter_learns_with_the_head(opened, tmp_path):
    from r1kit.training_run import adapter, trained_model

    trainer = trainer_of(opened, tmp_path, peft_config=adapter(4, "TOKEN_CLS"))
    trainer.train()
    model, _ = trained_model(trainer)
    before, after = opened[0].state_dict(), model.state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "_proj" in name or name.startswith("score")}


def test_rows_are_handed_on_without_padding():
    batch = collate(random_rows((3, 9)))
    assert batch["lengths"].tolist() == [3, 9]
    assert batch["input_ids"].shape == (1, 12)
    assert (batch["labels"][0] != UNTRAINED).nonzero().squeeze(1).tolist() == [2, 6, 11]
