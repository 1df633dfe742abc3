"""What a training run writes and shows at each step, and how it stops at Ctrl-C."""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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
from r1kit.step_log import log_line


class RunCallback(TrainerCallback):
    """Writes log.jsonl and samples.jsonl, feeds the live view, warns, and ends the run after the step at Ctrl-C.

    Every process of a run has one; only that of the main process writes and shows.

    Args:
        newest: returns the scored rollouts of the newest batch, all processes'; called at each step by each process.
        parts: of the sum of rewards.
        samples_every: steps between those whose rollouts are kept.
        card: what r1kit.json says of the checkpoints.
        words: of reflection, beside the known ones.
        main: whether this is the main process.
    """

    def __init__(
        self,
        folder: Path,
        view: RunView,
        newest: Callable[[], list[Record]],
        parts: Iterable[RewardPart],
        samples_every: int,
        card: dict[str, Any],
        words: Iterable[str] = (),
        main: bool = True,
    ):
        self.folder, self.view, self.newest, self.parts = folder, view, newest, list(parts)
        self.samples_every, self.card, self.words, self.main = samples_every, card, tuple(words), main
        self.monitor = Monitor(self.parts)
        self.interrupted = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Show the run; take the first Ctrl-C as "stop after this step", leave the second as it is.

        A run that goes on is watched from where it stopped, and told nothing twice.
        """
        if not self.main:
            with self._stopping_after_step():
                yield
            return
        for line in read_log(self.folder) if (self.folder / LOG).exists() else []:
            self.monitor.read(line)
        with self._stopping_after_step(), self.view.running():
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
        newest = self.newest()
        if not self.main:
            return
        line = log_line(state.global_step, logs, newest, self.parts, self.words)
        note = note_on_loss(line)
        if note:
            say(f"note: {note}")
        warnings = self.monitor.read(line)
        say(*(f"warning: step {state.global_step}: {warning}" for warning in warnings))
        line |= {"warnings": warnings} if warnings else {}
        append_records(self.folder / LOG, [line])
        if state.global_step % self.samples_every == 1 or self.samples_every == 1:
            samples = [{"step": state.global_step, **scored} for scored in newest]
            append_records(self.folder / SAMPLES, samples)
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
