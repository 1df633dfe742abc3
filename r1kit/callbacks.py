"""What a training run writes and shows at each step, and how it stops at Ctrl-C."""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from r1kit.jsonl import Record
from r1kit.live import RunView, say
from r1kit.model import write_card
from r1kit.monitor import Monitor, note_on_loss
from r1kit.processes import gather
from r1kit.reward_spec import RewardPart
from r1kit.run_folder import LOG, SAMPLES, append_records, read_log
from r1kit.step_log import Line, log_line


class RunCallback(TrainerCallback):
    """Writes log.jsonl, feeds the live view, and ends the run after the step at Ctrl-C.

    Every process of a run has one; only that of the main process writes and shows.

    Args:
        line: makes a step's line of the log, from the step and the trainer's own log; called by each process.
        card: what r1kit.json says of the checkpoints.
        main: whether this is the main process.
    """

    def __init__(
        self, folder: Path, view: RunView, line: Callable[[int, Line], Line], card: dict[str, Any], main: bool = True
    ):
        self.folder, self.view, self.line, self.card, self.main = folder, view, line, card, main
        self.interrupted = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Show the run; take the first Ctrl-C as "stop after this step", leave the second as it is."""
        with self._stopping_after_step(), self.view.running() if self.main else nullcontext():
            yield

    @contextmanager
    def _stopping_after_step(self) -> Iterator[None]:
        def stop_after_step(*_: object) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, old)
            if self.main:
                say("stopping after this step, with a checkpoint; Ctrl-C again stops at once")

        old = signal.signal(signal.SIGINT, stop_after_step)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, old)

    def on_log(self, args, state, control, logs: dict[str, Any], **_: Any) -> None:
        """Write and show the line of a step."""
        if "loss" not in logs:  # the trainer's own closing line
            return
        line = self.line(state.global_step, logs)
        if self.main:
            append_records(self.folder / LOG, [line])
            self.view.show(line)

    def on_step_end(self, args, state, control, **_: Any) -> None:
        """Ask for a checkpoint and the end after Ctrl-C, in whichever process it came first."""
        self.interrupted = any(any(flags) for flags in gather([self.interrupted]))  # all stop at the same step
        if self.interrupted:
            control.should_save = control.should_training_stop = True

    def on_save(self, args, state, control, **_: Any) -> None:
        """Give a checkpoint its r1kit.json, so that it is a model like any other."""
        if self.main:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_card(checkpoint, {**self.card, "step": state.global_step})


class RewardedSteps:
    """Makes the log lines of a run that has rewards, keeps samples of its rollouts, and warns.

    Args:
        newest: returns the scored rollouts of the newest batch, all processes'.
        parts: of the sum of rewards.
        samples_every: steps between those whose rollouts are kept.
        words: of reflection, beside the known ones.
        main: whether this is the main process, which alone writes.
    """

    def __init__(
        self,
        folder: Path,
        newest: Callable[[], list[Record]],
        parts: Iterable[RewardPart],
        samples_every: int,
        words: Iterable[str] = (),
        main: bool = True,
    ):
        self.folder, self.newest, self.parts = folder, newest, list(parts)
        self.samples_every, self.words, self.main = samples_every, tuple(words), main
        self.monitor = Monitor(self.parts)
        for line in read_log(folder) if (folder / LOG).exists() else []:  # a run that goes on is told nothing twice
            self.monitor.read(line)

    def line(self, step: int, logs: Line) -> Line:
        """Return the line of a step."""
        newest = self.newest()
        if not self.main:
            return {}
        line = log_line(step, logs, newest, self.parts, self.words)
        note = note_on_loss(line)
        if note:
            say(f"note: {note}")
        warnings = self.monitor.read(line)
        say(*(f"warning: step {step}: {warning}" for warning in warnings))
        if step % self.samples_every == 1 or self.samples_every == 1:
            append_records(self.folder / SAMPLES, [{"step": step, **scored} for scored in newest])
        return line | ({"warnings": warnings} if warnings else {})
