"""What a training run writes and shows at each step, and how it stops at Ctrl-C."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from r1kit.jsonl import Record
from r1kit.live import RunView, say
from r1kit.model import write_card
from r1kit.run_folder import LOG, SAMPLES, append_records


class RunCallback(TrainerCallback):
    """Writes log.jsonl and samples.jsonl, feeds the live view, and ends the run after the step at Ctrl-C.

    Args:
        newest: returns the scored rollouts of the newest batch.
        card: what r1kit.json says of the checkpoints.
    """

    def __init__(
        self,
        folder: Path,
        view: RunView,
        newest: Callable[[], list[Record]],
        samples_every: int,
        card: dict[str, Any],
    ):
        self.folder, self.view, self.newest = folder, view, newest
        self.samples_every, self.card = samples_every, card
        self.interrupted = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Show the run; take the first Ctrl-C as "stop after this step", leave the second as it is."""

        def stop_after_step(*_: object) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, old)
            say("stopping after this step, with a checkpoint; Ctrl-C again stops at once")

        old = signal.signal(signal.SIGINT, stop_after_step)
        try:
            with self.view.running():
                yield
        finally:
            signal.signal(signal.SIGINT, old)

    def on_log(self, args, state, control, logs: dict[str, Any], **_: Any) -> None:
        """Write and show the line of a step."""
        if "reward" not in logs:  # the trainer's own closing line
            return
        newest = self.newest()
        line = log_line(state.global_step, logs, newest)
        append_records(self.folder / LOG, [line])
        if state.global_step % self.samples_every == 1 or self.samples_every == 1:
            samples = [{"step": state.global_step, **scored} for scored in newest]
            append_records(self.folder / SAMPLES, samples)
        self.view.show(line)

    def on_step_end(self, args, state, control, **_: Any) -> None:
        """Ask for a checkpoint and the end after Ctrl-C."""
        if self.interrupted:
            control.should_save = control.should_training_stop = True

    def on_save(self, args, state, control, **_: Any) -> None:
        """Give a checkpoint its r1kit.json, so that it is a model like any other."""
        write_card(Path(args.output_dir) / f"checkpoint-{state.global_step}", {**self.card, "step": state.global_step})


def zero_signal_share(rollouts: list[Record]) -> float:
    """Return the share of groups whose rewards are all equal, to rounding: they teach nothing.

    TRL's own share asks for a standard deviation of 0, which rounding keeps it from.
    """
    groups: list[list[float]] = []
    for rollout in rollouts:
        if rollout["sample"] == 0:
            groups.append([])
        if rollout["reward"] is not None:
            groups[-1].append(rollout["reward"])
    return sum(not group or max(group) - min(group) < 1e-6 for group in groups) / len(groups)


def log_line(step: int, logs: dict[str, Any], rollouts: list[Record]) -> dict[str, Any]:
    """Return a step's line of log.jsonl from TRL's log; lengths in tokens, entropy in nats, shares from 0 to 1."""
    parts = {
        key.removeprefix("rewards/").removesuffix("/mean"): value
        for key, value in logs.items()
        if key.startswith("rewards/") and key.endswith("/mean")
    }
    phases = ("generate", "train")
    return {
        "step": step,
        "reward": logs["reward"],
        "rewards": parts,
        "length": logs["completions/mean_length"],
        "truncated": logs["completions/clipped_ratio"],
        "entropy": logs["entropy"],
        "zero_signal": zero_signal_share(rollouts),
        "loss": logs["loss"],
        "grad_norm": logs["grad_norm"],
        "learning_rate": logs["learning_rate"],
        **({"kl": logs["kl"]} if "kl" in logs else {}),
        "tokens": {phase: logs[f"tokens/{phase}"] for phase in phases},
        "seconds": {phase: round(logs[f"seconds/{phase}"], 3) for phase in phases},
    }
