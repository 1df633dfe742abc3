"""The training pass of distillation: the divergence and its gradient, what of a row is trained on, what is drawn."""

import copy

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import DistillationConfig

from r1kit.distill_trainer import TeacherTrainer
from r1kit.sft_rows import UNTRAINED

LENGTHS = (37, 5, 60, 22, 12, 41, 8, 30)


def random_rows(lengths=LENGTHS):
    """Return rows whose first third is not trained on, nor a token amid the rest."""
    torch.manual_seed(3)
    rows = []
    for length in lengths:
        ids = torch.randint(2, 1000, (length,)).tolist()
        start = max(1, length // 3)
        labels = [UNTRAINED] * start + ids[start:]
        labels[max(start + 1, length * 2 // 3)] = UNTRAINED
        rows.append({"input_ids": ids, "labels": labels})
    return rows


def prompts(count=8):
    return [{"prompt_ids": row["input_ids"]} for row in random_rows((9, 5, 14, 7, 12, 6, 8, 10)[:count])]


@pytest.fixture(scope="session")
def teacher(tiny_model):
    """Return the tiny model with other random weights."""
    torch.manual_seed(1)
    model = type(tiny_model[0])(tiny_model[0].config).eval()
    with torch.no_grad():
        model.lm_head.weight *= 20
    return model


@pytest.fixture
def new_trainer(tiny_model, teacher, tmp_path):
    """Return a maker of trainers of a fresh tiny model, which take one step without clipping unless told otherwise."""

    def make(rows=None, teacher=teacher, micro_batch=8, **settings):
        model, tokenizer = tiny_model
        own = {"max_steps": 1, "learning_rate": 1e-3, "max_grad_norm": 0.0, "use_cpu": True, "max_completion_length": 6}
        plain = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1, "bf16": False}
        config = DistillationConfig(
            output_dir=str(tmp_path),
            remove_unused_columns=False,
            per_device_train_batch_size=micro_batch,
            **{**own, **plain, "gradient_checkpointing": False, **settings},
            gradient_accumulation_steps=8 // micro_batch,
        )
        return TeacherTrainer(
            model=copy.deepcopy(model),
            teacher_model=copy.deepcopy(teacher),
            args=config,
            train_dataset=Dataset.from_list(rows or random_rows()),
            processing_class=tokenizer,
        )

    return make


class KeepGradient(TrainerCallback):
    """Keeps the gradient of the last step."""

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradient = torch.cat([p.grad.flatten() for p in model.parameters()])


def loss_and_gradient(trainer):
    kept = KeepGradient()
    trainer.add_callback(kept)
    trainer.train()
    return trainer.state.log_history[0]["loss"], kept.gradient


def divergence(student, teacher, beta):
    """Return the divergence of two distributions, given as log-probabilities (T, V), as a plain sum (T,)."""

    def kl(p, q):
        return (p.exp() * (p - q)).sum(-1)

    if beta in (0.0, 1.0):
        return kl(student, teacher) if beta else kl(teacher, student)
    mixture = ((1 - beta) * student.exp() + beta * teacher.exp()).log()
    return beta * kl(teacher, mixture) + (1 - beta) * kl(student, mixture)


def plain_loss(student, teacher, rows, beta, temperature):
    """Return the mean divergence over the trained tokens, a row at a time and in double precision."""
    total, count = 0.0, 0
    for row in rows:
        ids, labels = (torch.tensor(row[name]) for name in ("input_ids", "labels"))
        kept = labels[1:] != UNTRAINED
        ours, theirs = (
            (model(input_ids=ids[None]).logits[0, :-1][kept] / temperature).log_softmax(-1)
            for model in (student, teacher)
        )
        total = total + divergence(ours, theirs.detach(), beta).sum()
        count += int(kept.sum())
    return total / count


@pytest.mark.parametrize(("beta", "temperature"), [(0.0, 1.0), (1.0, 1.0), (0.5, 1.0), (0.2, 0.7)])
def test_loss_and_gradient_are_those_of_the_divergence(tiny_model, teacher, new_trainer, beta, temperature):
    loss, gradient = loss_and_gradient(new_trainer(beta=beta, temperature=temperature))
    student = copy.deepcopy(tiny_model[0]).double()
    plain = plain_loss(student, copy.deepcopy(teacher).double(), random_rows(), beta, temperature)
    plain.backward()
    expected = torch.cat([p.grad.flatten() for p in student.parameters()])
    assert loss == pytest.approx(plain.item(), rel=1e-5)
    assert loss > 0.05
    assert float((gradient - expected).norm() / expected.norm()) < 1e-5


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_teacher_that_is_the_student_teaches_nothing(tiny_model, new_trainer, beta):
    loss, gradient = loss_and_gradient(new_trainer(teacher=tiny_model[0], beta=beta))
    _, other = loss_and_gradient(new_trainer(beta=beta))
    assert loss == pytest.approx(0, abs=1e-6)
    assert float(gradient.norm()) < 1e-5 * float(other.norm())


@pytest.mark.parametrize("rows", [random_rows(), prompts()], ids=["given", "drawn"])
@pytest.mark.parametrize("micro_batch", [1, 2])
def test_micro_batches_add_up_to_the_batch(new_trainer, rows, micro_batch):
    whole = loss_and_gradient(new_trainer(rows, beta=0.5))
    parts = loss_and_gradient(new_trainer(rows, beta=0.5, micro_batch=micro_batch))
    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    assert float((parts[1] - whole[1]).norm() / whole[1].norm()) < 1e-5


def test_a_row_is_split_where_its_training_begins(tiny_model, new_trainer):
    rows = [
        {"input_ids": [5, 6, 7, 8, 9, 10], "labels": [UNTRAINED, UNTRAINED, 7, UNTRAINED, 9, 10]},
        {"input_ids": [11, 12, 13], "labels": [UNTRAINED, 12, 13]},
    ]
    end = tiny_model[1].pad_token_id
    batch = new_trainer()._generate_and_score_completions(rows)
    assert batch["prompt_ids"].tolist() == [[5, 6], [end, 11]]
    assert batch["prompt_mask"].tolist() == [[1, 1], [0, 1]]
    assert batch["completion_ids"].tolist() == [[7, 8, 9, 10], [12, 13, end, end]]
    assert batch["completion_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch["tool_mask"].tolist() == [[1, 0, 1, 1], [1, 1, 0, 0]]
    assert int(batch["num_items_in_batch"]) == 5


def test_what_is_drawn_is_completed_and_trained_on_whole(tiny_model, new_trainer):
    rows = prompts(3)
    batch = new_trainer(prompts())._generate_and_score_completions(rows)
    lengths = batch["completion_mask"].sum(1).tolist()
    assert [ids[-len(row["prompt_ids"]) :] for ids, row in zip(batch["prompt_ids"].tolist(), rows, strict=True)] == [
        row["prompt_ids"] for row in rows
    ]
    assert all(1 <= length <= 6 for length in lengths)
    assert batch["tool_mask"].equal(batch["completion_mask"])
    assert int(batch["num_items_in_batch"]) == sum(lengths)


def test_what_is_drawn_belongs_to_seed_step_and_row(new_trainer):
    asked = [row["prompt_ids"] for row in prompts()]
    trainer = new_trainer(prompts())
    drawn = trainer._sample(asked)
    assert trainer._sample(asked) == drawn
    assert new_trainer(prompts())._sample([asked[0], *asked[:0:-1]])[0] == drawn[0]
    assert new_trainer(prompts(), seed=1)._sample(asked) != drawn
    trainer.state.global_step = 1
    assert trainer._sample(asked) != drawn


def test_a_run_resumed_in_its_second_epoch_has_the_order_of_one_never_stopped(new_trainer):
    rows = random_rows(LENGTHS * 2 + (9, 9, 9))  # 19 rows: two steps of two micro-steps an epoch, three rows left out
    whole, resumed = (new_trainer(rows, micro_batch=4) for _ in range(2))
    sampler = whole._get_train_sampler()
    first = list(sampler)
    whole._step = 4
    second = list(sampler)
    assert first != second
    plain = super(TeacherTrainer, whole)._get_train_sampler()
    assert [list(plain), list(plain)] == [first, second]
    for step in (4, 6, 7):
        resumed._step = step
        assert list(resumed._get_train_sampler()) == second


@pytest.mark.parametrize("rows", [random_rows(LENGTHS * 2 + (9, 9, 9)), prompts() * 2], ids=["given", "drawn"])
def test_a_run_resumed_in_its_second_epoch_ends_with_the_same_weights(new_trainer, tmp_path, rows):
    flags = {"micro_batch": 4, "max_steps": 4, "save_steps": 3, "save_strategy": "steps"}
    whole, resumed = new_trainer(rows, **flags), new_trainer(rows, **flags)
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    ours, theirs = (trainer.model.state_dict() for trainer in (whole, resumed))
    assert all(ours[name].equal(theirs[name]) for name in ours)


def test_the_log_tells_tokens_and_seconds(new_trainer):
    given, drawn = new_trainer(), new_trainer(prompts())
    for trainer in (given, drawn):
        trainer.train()
    line = given.state.log_history[0]
    assert line["tokens/train"] == sum(LENGTHS)
    assert "tokens/generate" not in line
    line = drawn.state.log_history[0]
    assert line["tokens/train"] == line["tokens/generate"] + sum(len(row["prompt_ids"]) for row in prompts())
    assert line["seconds/generate"] > 0
    assert line["seconds/train"] > 0
    assert line["entropy"] > 0
