"""The training pass of SFT: the loss and gradient are TRL's own, whatever is not computed."""

import pytest
import torch
from datasets import Dataset
from model_families import other_models
from trl import SFTConfig, SFTTrainer

from r1kit.sft_rows import UNTRAINED
from r1kit.sft_trainer import PackedTrainer, collate

LENGTHS = (37, 5, 60, 22, 12, 41, 8, 30)


def random_rows(lengths=LENGTHS):
    """Return rows whose first third is not trained on, nor a token amid the rest, as in a talk of two answers."""
    torch.manual_seed(3)
    rows = []
    for length in lengths:
        ids = torch.randint(2, 1000, (length,)).tolist()
        labels = [UNTRAINED] * max(1, length // 3) + ids[max(1, length // 3) :]
        labels[length * 2 // 3] = UNTRAINED
        rows.append({"input_ids": ids, "labels": labels})
    return rows


def config(folder, **settings):
    own = {"per_device_train_batch_size": len(LENGTHS), "max_steps": 2, "learning_rate": 1e-3, "use_cpu": True}
    plain = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1, "bf16": False}
    return SFTConfig(output_dir=str(folder), **{**own, **plain, "gradient_checkpointing": False, **settings})


def ours(model, tokenizer, folder, rows=None, token_budget=4096, **settings):
    as_they_are = {"max_length": None, "remove_unused_columns": False, "dataset_kwargs": {"skip_prepare_dataset": True}}
    return PackedTrainer(
        model=model,
        args=config(folder, **as_they_are, **settings),
        train_dataset=Dataset.from_list(rows or random_rows()),
        processing_class=tokenizer,
        token_budget=token_budget,
    )


def theirs(model, tokenizer, folder, rows=None, **settings):
    dataset = Dataset.from_list(rows or random_rows())
    return SFTTrainer(model=model, args=config(folder, **settings), train_dataset=dataset, processing_class=tokenizer)


def loss_and_gradient(trainer):
    """Return a step's loss and gradient, without taking it."""
    batch = next(iter(trainer.get_train_dataloader()))
    tokens = (batch["labels"] != UNTRAINED).sum()
    trainer.model.zero_grad()
    trainer.model.train()
    loss = trainer.training_step(trainer.model, batch, tokens)
    return float(loss), torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def fresh(tiny_model):
    """Return a copy of the tiny model, since trainers patch theirs."""
    import copy

    model, tokenizer = tiny_model
    return copy.deepcopy(model), tokenizer


@pytest.mark.parametrize("token_budget", [4096, 64])
@pytest.mark.parametrize("settings", [{}, {"loss_type": "dft"}], ids=["nll", "dft"])
def test_loss_and_gradient_are_trls(tiny_model, tmp_path, token_budget, settings):
    mine = loss_and_gradient(ours(*fresh(tiny_model), tmp_path, token_budget=token_budget, **settings))
    plain = loss_and_gradient(theirs(*fresh(tiny_model), tmp_path, **settings))
    assert mine[0] == pytest.approx(plain[0], rel=1e-5)
    assert float((mine[1] - plain[1]).norm() / plain[1].norm()) < 1e-5


def test_gradient_checkpointing_leaves_the_gradient_as_it_is(tiny_model, tmp_path):
    plain = loss_and_gradient(ours(*fresh(tiny_model), tmp_path))
    again = loss_and_gradient(ours(*fresh(tiny_model), tmp_path, gradient_checkpointing=True))
    assert float((again[1] - plain[1]).norm() / plain[1].norm()) < 1e-5


def test_models_that_cannot_be_packed_are_padded_for_the_same_gradient(tiny_model, tmp_path):
    """Mamba's layers have a state; GPT-2 stands for those that only this trainer is kept from packing."""
    models = [other_models()["learned positions"]() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    trainer = ours(models[0].eval(), tiny_model[1], tmp_path, token_budget=128)
    for model in models:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    assert trainer.packs
    trainer.packs = False
    mine, plain = loss_and_gradient(trainer), loss_and_gradient(theirs(models[1], tiny_model[1], tmp_path))
    assert mine[0] == pytest.approx(plain[0], rel=1e-5)
    assert float((mine[1] - plain[1]).norm() / plain[1].norm()) < 1e-4


def test_the_loss_curve_is_trls_over_steps(tiny_model, tmp_path):
    rows = random_rows(LENGTHS * 4)
    curves = []
    for make in (ours, theirs):
        trainer = make(*fresh(tiny_model), tmp_path, rows, max_steps=6)
        trainer.train()
        curves.append([line["loss"] for line in trainer.state.log_history if "loss" in line])
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_held_out_loss_is_the_mean_over_all_tokens(tiny_model, tmp_path):
    model, tokenizer = fresh(tiny_model)
    rows = random_rows(LENGTHS * 17)  # more than are read at a time
    trainer = ours(model, tokenizer, tmp_path)
    found = trainer.held_out_loss(Dataset.from_list(rows))
    total = count = 0.0
    with torch.no_grad():
        for row in rows:
            ids, labels = (torch.tensor(row[name]) for name in ("input_ids", "labels"))
            logits = tiny_model[0](input_ids=ids[None]).logits[0, :-1].double()
            kept = labels[1:] != UNTRAINED
            total -= float(logits.log_softmax(-1)[kept].gather(1, labels[1:][kept][:, None]).sum())
            count += int(kept.sum())
    assert found == pytest.approx(total / count, rel=1e-5)


def test_rows_are_handed_on_without_padding():
    batch = collate(random_rows((3, 5)))
    assert batch["input_ids"].shape == batch["labels"].shape == (1, 8)
    assert batch["lengths"].tolist() == [3, 5]


def test_the_log_tells_tokens_and_how_sure_the_model_is(tiny_model, tmp_path):
    trainer = ours(*fresh(tiny_model), tmp_path, max_steps=1)
    trainer.train()
    line = trainer.state.log_history[0]
    assert line["tokens/train"] == sum(LENGTHS)
    assert line["tokens/trained"] == sum(sum(label != UNTRAINED for label in row["labels"]) for row in random_rows())
    assert 0 <= line["mean_token_accuracy"] <= 1
    assert line["entropy"] > 0
