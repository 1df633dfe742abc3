"""What all training runs have in common: an adapter, the way through the steps, and the model that comes of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1kit.eval_tables import format_table
from r1kit.jsonl import Record
from r1kit.live import say
from r1kit.metrics import Metrics
from r1kit.run_folder import checkpoint_step

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from r1kit.callbacks import RunCallback


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


def is_spread(trainer: Any) -> bool:
    """Tell whether the model of a run is spread over its processes."""
    return trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled


def measurable(held_out: list[Record], trainer: Any) -> list[Record]:
    """Return the held-out problems, none where no process has the whole model to measure."""
    if not (held_out and is_spread(trainer)):
        return held_out
    say("no process has the whole model, so held-out problems are not measured here; r1kit eval does it afterwards")
    return []


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
