"""A training run to look at: one live view on a terminal, plain lines elsewhere; curves and tables at the end."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from r1kit.processes import is_main

console = Console(stderr=True, highlight=False)

Readings = dict[str, Callable[[dict[str, Any]], str]]  # title in the view: the reading of a log line
GRPO_READINGS: Readings = {
    "reward": lambda line: _number(line["reward"]),
    "accuracy": lambda line: _percent(line["accuracy"]),
    "length": lambda line: _number(line["length"], 1),
    "  right": lambda line: _number(line["length_right"], 1),
    "  wrong": lambda line: _number(line["length_wrong"], 1),
    "entropy": lambda line: _number(line["entropy"]),
    "zero-signal groups": lambda line: _percent(line["zero_signal"]),
    "generation": lambda line: _speed(line, "generate"),
    "training": lambda line: _speed(line, "train"),
}
SFT_READINGS: Readings = {
    "epoch": lambda line: _number(line["epoch"], 2),
    "loss": lambda line: _number(line["loss"]),
    "held-out loss": lambda line: _number(line.get("held_out_loss")),
    "held-out accuracy": lambda line: _percent(line.get("held_out_accuracy")),
    "entropy": lambda line: _number(line["entropy"]),
    "training": lambda line: _speed(line, "train"),
}
REWARD_READINGS: Readings = {
    "epoch": lambda line: _number(line["epoch"], 2),
    "loss": lambda line: _number(line["loss"]),
    "accuracy": lambda line: _percent(line.get("accuracy")),
    "margin": lambda line: _number(line.get("margin")),
    "held-out loss": lambda line: _number(line.get("held_out_loss")),
    "held-out accuracy": lambda line: _percent(line.get("held_out_accuracy")),
    "training": lambda line: _speed(line, "train"),
}
PLAIN_EVERY = 10  # seconds between plain lines
COUNT_EVERY = 60  # seconds between plain lines of what is counted
TELLING = 0.05  # share that must be done for the time left to be told


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _speed(line: dict[str, Any], phase: str) -> str:
    speed = line["tokens_per_second"][phase]
    return "–" if speed is None else f"{speed:,.0f} tokens/s"


class RunView:
    """Shows the log lines of a run as they come."""

    def __init__(self, title: str, steps: int, readings: Readings):
        self.title, self.steps, self.readings = title, steps, readings
        self.done_before: int | None = None  # the step that this process began after
        self.started = self.printed = time.monotonic()
        self.live: Live | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show the view while the block runs."""
        self.started = time.monotonic()
        if not console.is_terminal:
            yield
            return
        with Live(console=console, refresh_per_second=4) as self.live:
            yield
        self.live = None

    def show(self, line: dict[str, Any]) -> None:
        """Show a line of the log."""
        if self.done_before is None:
            self.done_before = line["step"] - 1
        if self.live is not None:
            self.live.update(self._table(line))
        elif line["step"] == self.steps or time.monotonic() - self.printed > PLAIN_EVERY:
            self.printed = time.monotonic()
            readings = [f"{title} {read(line)}" for title, read in self.readings.items() if title[0] != " "]
            say(f"step {line['step']}/{self.steps}  " + "  ".join(readings) + f"  left {self._left(line)}")

    def _table(self, line: dict[str, Any]) -> Table:
        table = Table(
            title=f"{self.title}   step {line['step']}/{self.steps}   left {self._left(line)}", show_header=False
        )
        for title, read in self.readings.items():
            table.add_row(title, read(line))
            if title == "reward":
                for name, value in line["rewards"].items():
                    table.add_row(f"  {name}", _number(value))
        return table

    def _left(self, line: dict[str, Any]) -> str:
        assert self.done_before is not None
        per_step = (time.monotonic() - self.started) / (line["step"] - self.done_before)
        return clock(per_step * (self.steps - line["step"]))


@contextmanager
def counting(title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Give a function that counts one item and its tokens, and show how many there are, how fast, and the time left.

    On a terminal all the time; elsewhere a plain line now and then, where the total is known.
    """
    started, items, drawn = time.monotonic(), 0, 0
    printed = started

    def reading() -> str:
        passed = max(time.monotonic() - started, 1e-9)
        speed = f"{drawn / passed:,.0f} tokens/s"
        if total is None:
            return f"{title}: {items:,}, {speed}"
        left = f", left {clock(passed * (total / items - 1))}" if items >= total * TELLING else ""
        return f"{title}: {items:,} of {total:,}, {speed}{left}"

    def count(tokens: int) -> None:
        nonlocal items, drawn, printed
        items, drawn = items + 1, drawn + tokens
        if status is not None:
            status.update(reading())
        elif total is not None and time.monotonic() - printed > COUNT_EVERY:
            printed = time.monotonic()
            say(reading())

    if not console.is_terminal:
        status = None
        yield count
        return
    with console.status(title) as status:
        yield count


def clock(seconds: float) -> str:
    """Return a time as text, "1:02:03" or "2:03"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def draw_curves(log: list[dict[str, Any]], title: str, curves: dict[str, tuple[str, ...]]) -> None:
    """Draw curves over the steps of a run: of each its label, and the keys that lead to its value in a log line."""
    if len(log) < 2:
        return
    import plotext

    plotext.clear_figure()
    plotext.plot_size(min(console.width, 100), 14)
    plotext.title(title)
    for label, keys in curves.items():
        points = [(line["step"], value) for line in log if (value := _look_up(line, keys)) is not None]
        if points:
            plotext.plot(*zip(*points, strict=True), label=label)
    drawing = plotext.build()
    say(drawing if console.is_terminal else plotext.uncolorize(drawing))


def _look_up(line: dict[str, Any], keys: tuple[str, ...]) -> float | None:
    value: Any = line
    for key in keys:
        value = value.get(key)
    return value


def say(*lines: str) -> None:
    """Print lines on stderr, in the main process of a run."""
    for line in lines if is_main() else ():
        print(line, file=sys.stderr, flush=True)  # noqa: T201
