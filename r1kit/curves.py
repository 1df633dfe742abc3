"""The picture of a training run: its curves, as small multiples in one PNG."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from r1kit.step_log import PHASES, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = "curves.png"  # in the folder of a run
LONG = 200  # steps, from which on curves are smoothed and their points stand pale behind

# the colours of Okabe and Ito, which readers of all kinds of sight can tell apart
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PINK = "#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7"
SIDE_COLOURS = (ORANGE, SKY, PINK, RED, BLUE)  # of the parts of the reward beside accuracy
PHASE_COLOURS = dict(zip(PHASES, (SKY, PINK, ORANGE, BLUE), strict=True))


class Curve(NamedTuple):
    """A reading of the log, as it is drawn."""

    label: str
    colour: str
    read: Callable[[Line], float | None]


def draw_png(log: Sequence[Line], path: Path) -> None:
    """Draw the curves of a run's log into a PNG, of two steps at least."""
    if len(log) < 2:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), dpi=120, layout="constrained")  # drawn without a screen, since pyplot is not used
    reward, length, entropy, signal, words, seconds = figure.subplots(2, 3, sharex=True).flat
    _draw_curves(reward, "Reward, its parts, and accuracy", "mean of a step", log, _reward_curves(log[0]))
    right, wrong = _curve("length_right", GREEN, "right"), _curve("length_wrong", RED, "wrong")
    _draw_curves(length, "Length of completions", "tokens", log, [_curve("length", BLACK, "all"), right, wrong])
    has_kl = any("kl" in line for line in log)
    title = "Entropy, and KL from the reference" if has_kl else "Entropy"
    _draw_curves(entropy, title, "nats a token", log, [_curve("entropy", BLUE), _curve("kl", ORANGE, "KL")])
    shares = [_curve("trained", GREEN, "rollouts trained on"), _curve("zero_signal", RED, "groups without signal")]
    _draw_curves(signal, "What is learned from", "share", log, shares)
    signal.set_ylim(-0.02, 1.02)
    shares = [_curve("reflection", BLUE, "with reflection words"), _curve("truncated", ORANGE, "cut at the limit")]
    _draw_curves(words, "Completions that reflect, and that are cut", "share", log, shares)
    words.set_ylim(0, max(0.1, words.get_ylim()[1]))
    _draw_seconds(seconds, log)
    for axes in (length, entropy):
        axes.set_ylim(bottom=0)
    for axes in (signal, words, seconds):
        axes.set_xlabel("step")
    figure.savefig(path)


def smoothed(values: Sequence[float], reach: int) -> list[float]:
    """Return the mean of each value and of as many as `reach` on either side of it."""
    return [fmean(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]


def _curve(name: str, colour: str, label: str | None = None) -> Curve:
    return Curve(label or name, colour, lambda line: line.get(name))


def _reward_curves(first: Line) -> list[Curve]:
    sides = [name for name in first["rewards"] if name != "accuracy"]
    parts = [
        Curve(name, SIDE_COLOURS[place % len(SIDE_COLOURS)], lambda line, name=name: line["rewards"][name])  # type: ignore[misc]
        for place, name in enumerate(sides)
    ]
    return [_curve("reward", BLACK), _curve("accuracy", GREEN), *parts]


def _draw_curves(axes: "Axes", title: str, unit: str, log: Sequence[Line], curves: Sequence[Curve]) -> None:
    for curve in curves:
        points = [(line["step"], value) for line in log if (value := curve.read(line)) is not None]
        if not points:
            continue
        steps, values = [step for step, _ in points], [value for _, value in points]
        if len(log) >= LONG:
            axes.plot(steps, values, color=curve.colour, linewidth=0.8, alpha=0.2)
            values = smoothed(values, len(log) // 100)
        marker = "." if len(log) < 30 else ""
        axes.plot(steps, values, color=curve.colour, linewidth=1.4, marker=marker, label=curve.label)
    _dress(axes, title, unit)


def _draw_seconds(axes: "Axes", log: Sequence[Line]) -> None:
    """Stack the seconds of each step by phase."""
    phases = {phase: [line["seconds"].get(phase, 0.0) for line in log] for phase in PHASES}
    if len(log) >= LONG:
        phases = {phase: smoothed(values, len(log) // 100) for phase, values in phases.items()}
    steps = [line["step"] for line in log]
    axes.stackplot(steps, *phases.values(), labels=phases, colors=PHASE_COLOURS.values(), linewidth=0)
    axes.set_ylim(0, 1.3 * max(map(sum, zip(*phases.values(), strict=True))))  # room for the legend
    _dress(axes, "Time of a step", "seconds")


def _dress(axes: "Axes", title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_ylabel(unit)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.locator_params(axis="x", integer=True)
    axes.legend(edgecolor="none", framealpha=0.8, fontsize=9)
