"""The plots of training runs: readings of log.jsonl over the steps."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from r1kit.curves import LONG, smoothed
from r1kit.inline_svg import COLOURS
from r1kit.plotting import SERIES, Plot, add_legend, draw_estimate, label_text, new_plot
from r1kit.step_log import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 400  # of a curve at most


class Curve(NamedTuple):
    """A reading of a log: its label, its colour, where it is, and whether it is drawn dashed."""

    label: str
    colour: str
    read: Callable[[Line], float | None]
    dashed: bool = False


def plot_log(name: str, title: str, y: str, log: Sequence[Line], curves: Iterable[Curve]) -> Plot | None:
    """Draw readings of a log over its steps, those that are there; None where none has two values."""
    found = [(curve, points) for curve in curves if (points := _points(log, curve))]
    if max((len(points) for _, points in found), default=0) < 2:
        return None
    plot, axes = new_plot(name, title, "step", y)
    for curve, points in found:
        _draw_curve(axes, curve, points)
    axes.locator_params(axis="x", integer=True)
    low, high = axes.get_ylim()
    axes.set_ylim(0 if 0 <= low < 0.4 * high else low, high)
    add_legend(plot)
    return plot


def _points(log: Sequence[Line], curve: Curve) -> list[tuple[float, float]]:
    return [(line["step"], value) for line in log if isinstance(value := curve.read(line), int | float)]


def _draw_curve(axes: "Axes", curve: Curve, points: list[tuple[float, float]]) -> None:
    colour, line = COLOURS[curve.colour], "--" if curve.dashed else "-"
    steps, values = zip(*points, strict=True)
    every = -(-len(points) // POINTS)
    if len(points) >= LONG:
        axes.plot(steps[::every], values[::every], color=colour, linewidth=0.6, alpha=0.25)
        values = tuple(smoothed(values, len(points) // 100))
    marker = "." if len(points) < 30 else ""
    label = label_text(curve.label)
    axes.plot(steps[::every], values[::every], line, color=colour, marker=marker, label=label)


def reading(name: str, colour: str, label: str, dashed: bool = False) -> Curve:
    """Return the curve of a field of the log."""
    return Curve(label, colour, lambda line: line.get(name), dashed)


def part_of(field: str, key: str, colour: str) -> Curve:
    """Return the curve of one value of a field that holds several."""
    return Curve(key, colour, lambda line: (line.get(field) or {}).get(key), True)


def rl_plots(name: str, log: Sequence[Line], metrics: dict[str, Any]) -> list[Plot]:
    """Draw what a run with rewards did, with its held-out accuracy before and after where it was measured."""
    parts = [part for part in (log[0].get("rewards") or {}) if part != "accuracy"]
    kinds = list(log[0].get("accuracies") or {})
    by_kind = [part_of("accuracies", kind, colour) for kind, colour in zip(kinds, SERIES, strict=False)]
    shares = [reading("reflection", "blue", "with words of reflection"), reading("truncated", "orange", "cut off")]
    learnt = [reading("trained", "green", "trained on"), reading("zero_signal", "red", "groups without signal", True)]
    accuracy = plot_log(
        f"{name}-accuracy", "Accuracy", "share of completions", log,
        [reading("accuracy", "green", "in training"), *(by_kind if len(by_kind) > 1 else [])],
    )  # fmt: skip
    if accuracy is not None:
        _mark_held_out(accuracy, log, metrics)
    plots = [
        accuracy,
        plot_log(
            f"{name}-reward", "Reward and its parts", "mean of a step", log,
            [reading("reward", "ink", "reward"),
             *(part_of("rewards", part, colour) for part, colour in zip(parts, SERIES, strict=False))],
        ),
        plot_log(
            f"{name}-length", "Length of completions", "tokens", log,
            [reading("length", "ink", "all"), reading("length_right", "green", "right"),
             reading("length_wrong", "red", "wrong", True)],
        ),
        plot_log(
            f"{name}-entropy", "Entropy", "nats a token", log,
            [reading("entropy", "blue", "entropy"), reading("kl", "orange", "KL from the reference", True)],
        ),
        plot_log(f"{name}-shares", "Reflection, and truncation", "share of completions", log, shares),
        plot_log(f"{name}-signal", "What is learned from", "share", log, learnt),
    ]  # fmt: skip
    return [plot for plot in plots if plot is not None]


def _mark_held_out(plot: Plot, log: Sequence[Line], metrics: dict[str, Any]) -> None:
    """Mark held-out pass@1 with its interval at the beginning and at the end of a run."""
    [axes] = plot.figure.axes
    for when, step in (("before", log[0]["step"] - 1), ("after", log[-1]["step"])):
        estimate = (metrics.get(when) or {}).get("pass@1")
        if estimate:
            label = "held out, 95 % interval" if when == "before" else None
            draw_estimate(axes, step, estimate, "ink", label)
    axes.set_ylim(-0.02, 1.04)
    add_legend(plot)


def imitation_plots(name: str, log: Sequence[Line]) -> list[Plot]:
    """Draw what a run of SFT, distillation, or of a reward model did."""
    plots = [
        plot_log(
            f"{name}-loss", "Loss", "nats", log,
            [reading("loss", "blue", "training"), reading("held_out_loss", "red", "held out", True)],
        ),
        plot_log(
            f"{name}-accuracy", "Accuracy", "share", log,
            [reading("token_accuracy", "blue", "of tokens"), reading("accuracy", "blue", "in training"),
             reading("held_out_accuracy", "red", "held out", True)],
        ),
        plot_log(f"{name}-margin", "Preferred minus rejected", "reward", log, [reading("margin", "green", "margin")]),
    ]  # fmt: skip
    return [plot for plot in plots if plot is not None]


def plot_reflection(logs: Mapping[str, Sequence[Line]]) -> Plot | None:
    """Draw the share of completions that reflect, a curve a run: each the mean of some neighbouring steps."""
    plot, axes = new_plot("reflection", "Completions that reflect", "step", "share of completions")
    for place, (label, log) in enumerate(logs.items()):
        points = _points(log, reading("reflection", "", ""))
        if len(points) > 1:
            steps, values = zip(*points, strict=True)
            every, line = -(-len(points) // POINTS), "-" if place < len(SERIES) else "--"
            means = smoothed(values, max(1, len(points) // 20))
            colour = COLOURS[SERIES[place % len(SERIES)]]
            axes.plot(steps[::every], means[::every], line, color=colour, label=label_text(label))
    axes.set_ylim(bottom=0)
    add_legend(plot)
    return plot if axes.lines else None
