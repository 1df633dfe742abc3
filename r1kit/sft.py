"""Supervised fine-tuning: R1's cold start, its SFT on 800k examples, and what makes its distilled models.

Source: DeepSeek-R1 (arXiv 2501.12948), sections 2.3.1, 2.3.3 and 2.4.
"""

from collections.abc import Iterable, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1kit.engines import Sampling
from r1kit.held_out import HeldOut
from r1kit.jsonl import Record
from r1kit.live import SFT_READINGS, RunView, draw_curves
from r1kit.metrics import measure
from r1kit.processes import is_main, join, share
from r1kit.prompts import Prompting, PromptStyle
from r1kit.rewards.accuracy import accuracy_reward
from r1kit.rollout import RolloutPlan, style_of
from r1kit.row_files import ROWS, keep_rows, open_rows, remove_rows
from r1kit.run_folder import claim_folder, read_log
from r1kit.sft_plan import SftPlan
from r1kit.sft_rows import Encoder, write_rows
from r1kit.step_log import Line, mean_of_known
from r1kit.training_plan import check_training_plan
from r1kit.training_run import (
    measurable,
    new_row_trainer,
    report_change,
    steps_of,
    train_on_rows,
    trained_model,
)

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from r1kit.sft_trainer import PackedTrainer


def train_sft(
    examples: Iterable[Record],
    held_out: list[Record],
    plan: SftPlan,
    folder: Path,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Fine-tune a model on examples and save it into `folder`; measure it before and after on `held_out` problems.

    Args:
        resume: go on from the folder's newest checkpoint.
        overwrite: replace the run that the folder holds.

    Raises:
        KeyboardInterrupt: after Ctrl-C; the step is finished and a checkpoint saved first.
    """
    check_training_plan(plan)
    join()
    checkpoint = claim_folder(folder, plan.as_json(), resume, overwrite) if is_main() else None
    fine_tune(examples, held_out, plan, folder, checkpoint, {"command": "sft"})


def fine_tune(
    examples: Iterable[Record],
    held_out: list[Record],
    plan: SftPlan,
    folder: Path,
    checkpoint: Path | None,
    card: dict[str, Any],
) -> None:
    """Fine-tune a model in a run folder that is claimed, from a checkpoint where there is one.

    card: what r1kit.json says beside what follows from the plan.
    """
    model, tokenizer, style = open_student(plan)
    found = write_examples(examples, model, tokenizer, Prompting(style), plan, folder)
    train, test_rows = open_rows(folder)
    trainer = new_trainer(model, tokenizer, train, plan, folder)
    card = {**card, "parent": plan.model, "prompt_style": style, "seed": plan.seed, "data_hash": found["data_hash"]}
    test = new_test(held_out, trainer, tokenizer, style, plan, folder)
    train_and_save(trainer, tokenizer, test, test_rows, plan, folder, card, checkpoint)
    if is_main():
        remove_rows(folder)


def open_student(plan: SftPlan) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase, PromptStyle]":
    """Return the model to train, its tokenizer, and the style in which it is prompted."""
    from r1kit.model import load_model

    model, tokenizer = load_model(plan.model, plan.dtype)
    if plan.chat_template:
        tokenizer.chat_template = Path(plan.chat_template).read_text(encoding="utf-8")
    return model, tokenizer, plan.style or style_of(plan.model, tokenizer)


def new_test(
    held_out: list[Record],
    trainer: Any,
    tokenizer: "PreTrainedTokenizerBase",
    style: PromptStyle,
    plan: SftPlan,
    folder: Path,
) -> HeldOut:
    """Return the held-out problems of a run, none where no process has the whole model."""
    sampling = Sampling(plan.temperature, 1.0, plan.max_tokens, plan.seed)
    problems = measurable(held_out, trainer)
    return HeldOut(problems, tokenizer, style, RolloutPlan(plan.eval_samples, sampling), "auto", folder)


def train_and_save(
    trainer: Any,
    tokenizer: "PreTrainedTokenizerBase",
    test: HeldOut,
    test_rows: Sized,
    plan: SftPlan,
    folder: Path,
    card: dict[str, Any],
    checkpoint: Path | None,
) -> None:
    """Train, measure before and after, save the model and say what came of it.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
    """
    from r1kit.model import save_model

    checkpoint = share(checkpoint)
    before = test.measure("eval-before.jsonl", trainer.accelerator.unwrap_model(trainer.model))
    test.forget("eval-after.jsonl")  # of a run that is made longer
    steps = steps_of(trainer)
    lines = SftLines(trainer, test, test_rows, plan.eval_every or steps, steps)
    view = RunView(f"{card['command']} {plan.model}", steps, SFT_READINGS)
    train_on_rows(trainer, view, lines.line, card, folder, checkpoint, f"{plan.batch_size} examples")
    trained, weights = trained_model(trainer)
    after = test.measure("eval-after.jsonl", trained)
    metrics = {"before": measure(before), "after": measure(after)} if test.problems else {}
    if is_main():
        log = read_log(folder)
        last = {name: log[-1][name] for name in ("loss", "held_out_loss") if log and name in log[-1]}
        measured = {name: metric.as_json() for name, metric in metrics.items()}
        save_model(trained, tokenizer, folder, {**card, "metrics": {**last, **measured}}, weights)
        draw_curves(log, "loss (nats a token)", {"training": ("loss",), "held out": ("held_out_loss",)})
        report_change(metrics, before, after, folder)


def write_examples(
    examples: Iterable[Record],
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompting: Prompting,
    plan: SftPlan,
    folder: Path,
) -> dict[str, Any]:
    """Tokenise examples into the run folder, say what they came to, and return it.

    Raises:
        UserError: a row is no example, none is left, or the run to resume had others.
    """
    from r1kit.model import end_token_ids, window_of

    longest = plan.window(window_of(model))
    encoder = Encoder(tokenizer, prompting, frozenset(end_token_ids(model, tokenizer).tolist()))
    size = (longest, plan.too_long)
    return keep_rows(
        lambda: write_rows(examples, encoder, folder / ROWS, *size, plan.held_out_share, plan.seed),
        lambda found: found.lines(*size),
        folder,
    )


def new_trainer(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", train: "Dataset", plan: SftPlan, folder: Path
) -> "PackedTrainer":
    """Return the trainer of a run."""
    from trl import SFTConfig

    from r1kit.sft_trainer import PackedTrainer

    own = {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
    return new_row_trainer(PackedTrainer, SFTConfig, model, tokenizer, train, plan, folder, own)


class SftLines:
    """Makes the log lines of a run that imitates; measures at some steps, and at the last.

    Args:
        every: steps between measurements.
    """

    def __init__(self, trainer: Any, test: HeldOut, test_rows: Sized, every: int, steps: int):
        self.trainer, self.test, self.test_rows, self.every, self.steps = trainer, test, test_rows, every, steps

    def line(self, step: int, logs: Line) -> Line:
        """Return the line of a step: loss and entropy in nats a token, shares from 0 to 1."""
        seconds, tokens = logs.get("seconds/train", 0.0), int(logs.get("tokens/train", 0))
        line = {
            "step": step,
            "epoch": logs.get("epoch"),
            **{name: logs.get(name) for name in ("loss", "grad_norm", "learning_rate", "entropy")},
            "token_accuracy": logs.get("mean_token_accuracy"),
            "tokens": {phase: int(logs.get(f"tokens/{phase}", 0)) for phase in ("train", "trained", "generate")},
            "tokens_per_second": {"train": round(tokens / seconds, 1) if seconds else None},
            "seconds": {phase: round(logs.get(f"seconds/{phase}", 0.0), 3) for phase in ("train", "generate")},
        }
        if step % self.every == 0 or step == self.steps:
            if len(self.test_rows):
                line["held_out_loss"] = self.trainer.held_out_loss(self.test_rows)
            if self.test.problems and step != self.steps:  # the last is measured when it is saved
                line["held_out_accuracy"] = self._accuracy(step)
        return line

    def _accuracy(self, step: int) -> float | None:
        scored = self.test.measure(f"eval-{step}.jsonl", self.trainer.accelerator.unwrap_model(self.trainer.model))
        return mean_of_known(accuracy_reward(rollout["verdict"]) for rollout in scored)
