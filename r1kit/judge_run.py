"""What the training of reward models and of process reward models has in common, from the run folder to the report.

OUT/run.json, log.jsonl, checkpoints/ …    as r1kit.run_folder says
OUT/examples.json                          what the rows came to
OUT/report.json                            what the held-out rows say of the model
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from r1kit.classifier import Kind, open_classifier
from r1kit.live import REWARD_READINGS, RunView, draw_curves, say
from r1kit.model import read_card
from r1kit.processes import is_main, join, share
from r1kit.reward_plan import RewardPlan, RewardStyle, check_reward_plan
from r1kit.row_files import remove_rows
from r1kit.run_folder import claim_folder, read_log
from r1kit.step_log import Line
from r1kit.training_run import steps_of, train_on_rows, trained_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

REPORT = "report.json"
# what TRL's logs tell of a step, where they tell it: rewards, and shares from 0 to 1
TOLD = ("accuracy", "margin", "mean_reward", "min_reward", "max_reward")


class Report(Protocol):
    """What held-out rows say of a model."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON fields."""

    def lines(self) -> list[str]:
        """Return it as text."""


class Measured(NamedTuple):
    """A measurement on held-out rows: loss (nats) and accuracy, which a line of the log tells, and all of it."""

    loss: float
    accuracy: float
    report: Report


class RewardLines:
    """Makes the log lines of a run; measures at some steps, and at the last.

    Args:
        measure: measures the model as it is, in all processes; returns None where no rows are held out.
        every: steps between measurements; None: at the last alone.
    """

    def __init__(self, measure: Callable[[], Measured | None], every: int | None, steps: int):
        self._measure, self.every, self.steps = measure, every or steps, steps
        self._newest: tuple[int, Measured | None] = (-1, None)

    def line(self, step: int, logs: Line) -> Line:
        """Return the line of a step."""
        seconds, tokens = logs.get("seconds/train", 0.0), int(logs.get("tokens/train", 0))
        line = {
            "step": step,
            **{name: logs.get(name) for name in ("epoch", "loss", "grad_norm", "learning_rate")},
            **{name: logs[name] for name in TOLD if name in logs},
            "tokens": {"train": tokens},
            "tokens_per_second": {"train": round(tokens / seconds, 1) if seconds else None},
            "seconds": {"train": round(seconds, 3)},
        }
        if step % self.every == 0 or step == self.steps:
            self._newest = (step, self._measure())
            if found := self._newest[1]:
                line |= {"held_out_loss": found.loss, "held_out_accuracy": found.accuracy}
        return line

    def last(self) -> Measured | None:
        """Return the measurement of the trained model."""
        step, found = self._newest
        return found if step == self.steps else self._measure()


def claim(plan: RewardPlan, folder: Path, resume: bool, overwrite: bool) -> Path | None:
    """Check a plan and take a run folder for it; return the checkpoint to go on from, None at the start.

    Raises:
        UserError: it cannot run, or the folder holds another run.
    """
    check_reward_plan(plan)
    join()
    return claim_folder(folder, plan.as_json(), resume, overwrite) if is_main() else None


def open_judge(
    plan: RewardPlan, kind: Kind, labels: int
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase, RewardStyle]":
    """Return the classifier to train, its tokenizer, and how it reads: chat template, or plain text.

    Raises:
        UserError: the model is neither a causal language model nor a classifier of this kind.
    """
    model, tokenizer = open_classifier(plan.model, kind, labels, plan.dtype, plan.seed)
    if plan.chat_template:
        tokenizer.chat_template = Path(plan.chat_template).read_text(encoding="utf-8")
    plain = tokenizer.chat_template is None or read_card(plan.model).get("prompt_style") == "raw"
    return model, tokenizer, plan.style or ("raw" if plain else "chat")


def train_and_save(
    trainer: Any,
    tokenizer: "PreTrainedTokenizerBase",
    measure: Callable[[], Measured | None],
    plan: RewardPlan,
    folder: Path,
    card: dict[str, Any],
    checkpoint: Path | None,
) -> None:
    """Train, from a checkpoint where there is one, measure, save the model and say what came of it.

    measure: as `RewardLines` has it.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
    """
    from r1kit.model import save_model

    steps = steps_of(trainer)
    lines = RewardLines(measure, plan.eval_every, steps)
    view = RunView(f"reward-model {plan.model}", steps, REWARD_READINGS)
    train_on_rows(trainer, view, lines.line, card, folder, share(checkpoint), f"{plan.batch_size} rows")
    found = lines.last()
    trained, weights = trained_model(trainer)
    if is_main():
        save_model(trained, tokenizer, folder, {**card, "metrics": _keep_measured(folder, found)}, weights)
        _tell(folder, found)
        remove_rows(folder)


def _keep_measured(folder: Path, found: Measured | None) -> dict[str, Any]:
    """Write the report of a run; return the metrics of its r1kit.json."""
    log = read_log(folder)
    metrics = {"loss": log[-1]["loss"]} if log else {}
    if found is None:
        return metrics
    report = found.report.as_json()
    text = json.dumps(report, ensure_ascii=False, indent=2)
    (folder / REPORT).write_text(text + "\n", encoding="utf-8")
    return {**metrics, "held_out_loss": found.loss, "held_out": report}


def _tell(folder: Path, found: Measured | None) -> None:
    draw_curves(read_log(folder), "loss (nats a row)", {"training": ("loss",), "held out": ("held_out_loss",)})
    say(*(["", *found.report.lines()] if found else []))
    say("", f"the model is in {folder}")
