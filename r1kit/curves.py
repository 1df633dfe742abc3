"""The curves of a training run: readings of log.jsonl over its steps, and all of them in one PNG."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from r1kit.inline_svg import COLOURS
from r1kit.plotting import SERIES, label_text, plotting
from r1kit.step_log import PHASES, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = "curves.png"  # in the folder of a run
LONG = 200  # steps, from which on curves are smoothed and their points stand pale behind
POINTS = 400  # of a curve at most
ROWS, COLUMNS = 2, 4  # panels of the picture


class Curve(NamedTuple):
    """A reading of a log: its label, its colour, where it is, and whether it is drawn dashed."""

    label: str
    colour: str
    read: Callable[[Line], float | None]
    dashed: bool = False


class Panel(NamedTuple):
    """Curves that stand on the same axes, or one upon the other."""

    name: str
    title: str
    unit: str
    curves: Sequence[Curve]
    stacked: bool = False


def reading(name: str, colour: str, label: str, dashed: bool = False) -> Curve:
    """Return the curve of a field of the log."""
    return Curve(label, colour, lambda line: line.get(name), dashed)


def part_of(field: str, key: str, colour: str, dashed: bool = True) -> Curve:
    """Return the curve of one value of a field that holds several."""
    return Curve(key, colour, lambda line: (line.get(field) or {}).get(key), dashed)


def rl_panels(first: Line) -> Iterator[Panel]:
    """Yield what there is to see of a run with rewards, by the first line of its log."""
    parts = [part for part in (first.get("rewards") or {}) if part != "accuracy"]
    kinds = list(first.get("accuracies") or {})
    by_kind = [part_of("accuracies", kind, colour) for kind, colour in zip(kinds, SERIES, strict=False)]
    accuracy = reading("accuracy", "green", "in training")
    yield Panel("accuracy", "Accuracy", "share of completions", [accuracy, *(by_kind if len(by_kind) > 1 else [])])
    rewards = [part_of("rewards", part, colour) for part, colour in zip(parts, SERIES, strict=False)]
    yield Panel("reward", "Reward and its parts", "mean of a step", [reading("reward", "ink", "reward"), *rewards])
    right, wrong = reading("length_right", "green", "right"), reading("length_wrong", "red", "wrong", True)
    yield Panel("length", "Length of completions", "tokens", [reading("length", "ink", "all"), right, wrong])
    kl = reading("kl", "orange", "KL from the reference", True)
    yield Panel("entropy", "Entropy", "nats a token", [reading("entropy", "blue", "entropy"), kl])
    shares = [reading("reflection", "blue", "with words of reflection"), reading("truncated", "orange", "cut off")]
    yield Panel("shares", "Reflection, and truncation", "share of completions", shares)
    learnt = [reading("trained", "green", "trained on"), reading("zero_signal", "red", "groups without signal", True)]
    yield Panel("signal", "What is learned from", "share", learnt)
    phases = [part_of("seconds", phase, colour, False) for phase, colour in zip(PHASES, SERIES, strict=False)]
    yield Panel("seconds", "Time of a step", "seconds", phases, stacked=True)


def imitation_panels() -> Iterator[Panel]:
    """Yield what there is to see of a run of SFT, distillation, or of a reward model."""
    loss, held_out = reading("loss", "blue", "training"), reading("held_out_loss", "red", "held out", True)
    yield Panel("loss", "Loss", "nats", [loss, held_out])
    of_tokens, in_training = reading("token_accuracy", "blue", "of tokens"), reading("accuracy", "blue", "in training")
    held_out = reading("held_out_accuracy", "red", "held out", True)
    yield Panel("accuracy", "Accuracy", "share", [of_tokens, in_training, held_out])
    yield Panel("margin", "Preferred minus rejected", "reward", [reading("margin", "green", "margin")])


def draw_panel(axes: "Axes", panel: Panel, log: Sequence[Line]) -> bool:
    """Draw the curves that are there, and say whether one has two values at least, without which nothing is drawn."""
    found = {curve: points for curve in panel.curves if (points := points_of(log, curve))}
    if max(map(len, found.values()), default=0) < 2:
        return False
    if panel.stacked:
        _stack(axes, found)
    else:
        for curve, points in found.items():
            _draw_curve(axes, curve, points)
    axes.locator_params(axis="x", integer=True)
    low, high = axes.get_ylim()
    axes.set_ylim(0 if 0 <= low < 0.4 * high else low, high)
    return True


def points_of(log: Sequence[Line], curve: Curve) -> list[tuple[float, float]]:
    """Return the (step, value) that a log holds of a curve."""
    return [(line["step"], value) for line in log if isinstance(value := curve.read(line), int | float)]


def smoothed(values: Sequence[float], reach: int) -> list[float]:
    """Return the mean of each value and of as many as `reach` on either side of it."""
    return [fmean(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]


def _draw_curve(axes: "Axes", curve: Curve, points: Sequence[tuple[float, float]]) -> None:
    colour, line = COLOURS[curve.colour], "--" if curve.dashed else "-"
    steps, values = zip(*points, strict=True)
    every = -(-len(points) // POINTS)
    if len(points) >= LONG:
        axes.plot(steps[::every], values[::every], color=colour, linewidth=0.6, alpha=0.25)
        values = tuple(smoothed(values, len(points) // 100))
    marker = "." if len(points) < 30 else ""
    axes.plot(steps[::every], values[::every], line, color=colour, marker=marker, label=label_text(curve.label))


def _stack(axes: "Axes", found: Mapping[Curve, Sequence[tuple[float, float]]]) -> None:
    """Draw curves one upon the other, over the steps that any of them has."""
    steps = sorted({step for points in found.values() for step, _ in points})
    every = -(-len(steps) // POINTS)
    rows = [[dict(points).get(step, 0.0) for step in steps] for points in found.values()]
    if len(steps) >= LONG:
        rows = [smoothed(row, len(steps) // 100) for row in rows]
    labels, colours = [curve.label for curve in found], [COLOURS[curve.colour] for curve in found]
    axes.stackplot(steps[::every], *(row[::every] for row in rows), labels=labels, colors=colours, linewidth=0)


def draw_png(log: Sequence[Line], path: Path) -> None:
    """Draw the curves of a run with rewards into a PNG, of two steps at least."""
    if len(log) < 2:
        return
    from matplotlib.figure import Figure

    with plotting():
        figure = Figure(figsize=(4 * COLUMNS, 3.5 * ROWS), dpi=120, layout="constrained")
        places = iter(figure.subplots(ROWS, COLUMNS).flat)
        for panel in rl_panels(log[0]):
            axes = next(places)
            axes.set(title=panel.title, xlabel="step", ylabel=panel.unit)
            if draw_panel(axes, panel, log):
                axes.legend()
        for axes in places:
            axes.set_axis_off()
        figure.savefig(path)
