"""What all training runs have in common: a trainer, the way through the steps, and the model that comes of them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1kit.eval_tables import format_table
from r1kit.jsonl import Record
from r1kit.live import RunView, say
from r1kit.metrics import Metrics
from r1kit.processes import check_launch, is_main, launch_note, process_count
from r1kit.run_folder import CHECKPOINTS, checkpoint_step
from r1kit.training_plan import TrainingPlan

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from r1kit.callbacks import RunCallback
    from r1kit.step_log import Line


def adapter(rank: int | None, task: str = "CAUSAL_LM") -> Any:
    """Return the settings of an adapter on all linear layers, None where the whole model is trained.

    task: peft's name of it. A classifier's head (SEQ_CLS, TOKEN_CLS) is trained as it is, and saved with the adapter.
    """
    if rank is None:
        return None
    from peft import LoraConfig

    heads = None if task == "CAUSAL_LM" else ["classifier", "score"]
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        exclude_modules=heads,
        modules_to_save=heads,
        task_type=task,
    )


def new_row_trainer(
    trainer_class: Any,
    config_class: Any,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    train: "Dataset",
    plan: TrainingPlan,
    folder: Path,
    own: dict[str, Any],
    task: str = "CAUSAL_LM",
) -> Any:
    """Return the trainer of a run on rows, with TRL's settings made from the plan.

    Args:
        trainer_class: a `RowPasses`.
        config_class: of TRL's, or transformers' own.
        own: settings of this kind of trainer.
        task: peft's name of what the model does.
    """
    import torch

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
    check_trainer(trainer)
    return trainer


def check_trainer(trainer: Any) -> None:
    """Hold a trainer to what the launcher was asked for, and leave the printing to the run's own view.

    Raises:
        UserError: it was asked for more.
    """
    from transformers.trainer_callback import PrinterCallback

    check_launch(trainer.accelerator)
    say(*filter(None, [launch_note()]))
    trainer.remove_callback(PrinterCallback)


def steps_of(trainer: Any) -> int:
    """Return how many optimiser steps a trainer will take."""
    args = trainer.args
    if args.max_steps > 0:
        return args.max_steps
    batches = len(trainer.get_train_dataloader())
    return math.ceil(args.num_train_epochs * math.ceil(batches / args.gradient_accumulation_steps))


def is_spread(trainer: Any) -> bool:
    """Tell whether the model of a run is spread over its processes."""
    return trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled


def measurable(held_out: list[Record], trainer: Any) -> list[Record]:
    """Return the held-out problems, none where no process has the whole model to measure."""
    if not (held_out and is_spread(trainer)):
        return held_out
    say("no process has the whole model, so held-out problems are not measured here; r1kit eval does it afterwards")
    return []


def watch(
    trainer: Any, view: RunView, line: "Callable[[int, Line], Line]", card: dict[str, Any], folder: Path
) -> "RunCallback":
    """Have a trainer keep the run's log, show it, give checkpoints their r1kit.json, and end at Ctrl-C."""
    from r1kit.callbacks import RunCallback

    callback = RunCallback(folder, view, line, card, is_main())
    trainer.add_callback(callback)
    return callback


def train_on_rows(
    trainer: Any,
    view: RunView,
    line: "Callable[[int, Line], Line]",
    card: dict[str, Any],
    folder: Path,
    checkpoint: Path | None,
    batch: str,
) -> None:
    """Take the steps of a run on rows, from a checkpoint where there is one, with its log and live view.

    batch: what a step takes, in words.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
    """
    callback = watch(trainer, view, line, card, folder)
    say(f"{view.steps} steps of {batch}, {len(trainer.train_dataset)} in all; {folder}")
    take_steps(trainer, callback, checkpoint, view.steps)
    end_where_interrupted(trainer, callback)


def take_steps(trainer: Any, callback: "RunCallback", checkpoint: Path | None, steps: int) -> None:
    """Take the steps of a run that are left, from a checkpoint where there is one."""
    if checkpoint and checkpoint_step(checkpoint) >= steps:  # transformers would take one step more
        trainer._load_from_checkpoint(str(checkpoint))
        return
    with callback.watching():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def end_where_interrupted(trainer: Any, callback: "RunCallback") -> None:
    """Say how a run goes on that was stopped.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
    """
    if callback.interrupted:
        say(f"stopped after step {trainer.state.global_step}; go on with --resume")
        raise KeyboardInterrupt


def trained_model(trainer: Any) -> "tuple[PreTrainedModel, dict[str, Any] | None]":
    """Return the model of a run that ended, an adapter merged into it; its weights where processes share them."""
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if is_spread(trainer) else None
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    return model.eval(), weights


def report_change(metrics: dict[str, Metrics], before: list[Record], after: list[Record], folder: Path) -> None:
    """Print the table before → after, the problem answered by both models that gained most, and where the model is."""
    if metrics:
        say("", f"held out: {metrics['after'].problems} problems, 95 % intervals over problems", *format_table(metrics))
        chosen = max(range(len(after)), key=lambda i: _merit(after[i]) - _merit(before[i]))
        say("", f"{after[chosen]['prompt']}   (answer: {after[chosen].get('answer')})")
        say(f"  before: {before[chosen]['completion'].strip()}", f"  after:  {after[chosen]['completion'].strip()}")
    say("", f"the model is in {folder}; r1kit rollout --model {folder} samples from it")


def _merit(rollout: Record) -> float:
    """Return how good a held-out rollout is to look at: right, and in form."""
    return (rollout["rewards"]["accuracy"] or 0) + (rollout["rewards"]["format"] or 0)
