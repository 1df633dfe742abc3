"""What the training of reward models and of process reward models has in common, from the run folder to the report.

OUT/run.json, log.jsonl, checkpoints/ …    as r1kit.run_folder says
OUT/examples.json                          what the rows came to
OUT/report.json                            what the held-out rows say of the model
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from r1kit.callbacks import RunCallback
from r1kit.classifier import Kind, open_classifier
from r1kit.live import REWARD_READINGS, RunView, draw_curves, say
from r1kit.model import read_card
from r1kit.processes import check_launch, is_main, join, launch_note, process_count, share
from r1kit.reward_plan import RewardPlan, RewardStyle, check_reward_plan
from r1kit.run_folder import CHECKPOINTS, claim_folder, read_log
from r1kit.sft import PREFLIGHT, keep_report, remove_rows
from r1kit.step_log import Line
from r1kit.training_run import adapter, end_where_interrupted, take_steps, trained_model

if TYPE_CHECKING:
    from datasets import Dataset
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


def keep_rows(write: Callable[[], Any], told: Callable[[Any], list[str]], folder: Path) -> dict[str, Any]:
    """Have the main process write the rows of a run, say what they came to, and return it.

    Args:
        write: writes the rows and returns their report.
        told: the report as text.

    Raises:
        UserError: a row cannot be used, none is left, or the run to resume had others.
    """
    if is_main():
        try:
            found = write()
            say(*told(found))
            keep_report(folder / PREFLIGHT, found)
        except BaseException:  # a run that never began leaves its settings alone
            remove_rows(folder)
            raise
    share(None)  # the rows are there
    return json.loads((folder / PREFLIGHT).read_text(encoding="utf-8"))


def new_trainer(
    trainer_class: Any,
    config_class: Any,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    train: "Dataset",
    plan: RewardPlan,
    folder: Path,
    task: str,
    own: dict[str, Any],
) -> Any:
    """Return the trainer of a run.

    Args:
        trainer_class: of r1kit's, one that has `packs`.
        config_class: of TRL's.
        task: peft's name of what the model does.
        own: settings of this kind of trainer.
    """
    import torch
    from transformers.trainer_callback import PrinterCallback

    gpu = torch.cuda.is_available()
    settings = {**own, **plan.trl_settings(model.num_parameters(), process_count(), gpu)}
    trainer = trainer_class(
        model=model,
        args=config_class(output_dir=str(folder / CHECKPOINTS), **settings),
        train_dataset=train,
        processing_class=tokenizer,
        peft_config=adapter(plan.lora_rank, task),
        token_budget=plan.budget(gpu),
    )
    if not trainer.packs:
        say(f"{model.config.model_type} cannot be packed: its rows are padded instead")
    check_launch(trainer.accelerator)
    say(*filter(None, [launch_note()]))
    trainer.remove_callback(PrinterCallback)
    return trainer


def train_and_save(
    trainer: Any,
    tokenizer: "PreTrainedTokenizerBase",
    lines: RewardLines,
    plan: RewardPlan,
    folder: Path,
    card: dict[str, Any],
    checkpoint: Path | None,
) -> None:
    """Train, from a checkpoint where there is one, measure, save the model and say what came of it.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
    """
    from r1kit.model import save_model

    callback = RunCallback(
        folder, RunView(f"reward-model {plan.model}", lines.steps, REWARD_READINGS), lines.line, card, is_main()
    )
    trainer.add_callback(callback)
    say(f"{lines.steps} steps of {plan.batch_size} rows, {len(trainer.train_dataset)} in all; {folder}")
    take_steps(trainer, callback, share(checkpoint), lines.steps)
    end_where_interrupted(trainer, callback)
    found = lines.last()
    trained, weights = trained_model(trainer)
    if is_main():
        save_model(trained, tokenizer, folder, {**card, "metrics": _keep_measured(folder, found)}, weights)
        _tell(folder, found)


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
