"""The plots of training runs in a report."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from r1kit.curves import POINTS, Panel, draw_panel, imitation_panels, points_of, reading, rl_panels, smoothed
from r1kit.inline_svg import COLOURS
from r1kit.plotting import SERIES, Plot, add_legend, draw_estimate, label_text, new_plot
from r1kit.step_log import Line


def plot_panels(name: str, panels: Iterable[Panel], log: Sequence[Line]) -> Iterator[Plot]:
    """Yield a plot of each panel that a log has two values for."""
    for panel in panels:
        plot, axes = new_plot(f"{name}-{panel.name}", panel.title, "step", panel.unit)
        if draw_panel(axes, panel, log):
            add_legend(plot)
            yield plot


def rl_plots(name: str, log: Sequence[Line], metrics: dict[str, Any]) -> list[Plot]:
    """Draw what a run with rewards did, with its held-out accuracy before and after where it was measured."""
    plots = list(plot_panels(name, rl_panels(log[0]), log))
    for plot in plots:
        if plot.name == f"{name}-accuracy":
            _mark_held_out(plot, log, metrics)
    return plots


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
    return list(plot_panels(name, imitation_panels(), log))


def plot_reflection(logs: Mapping[str, Sequence[Line]]) -> Plot | None:
    """Draw the share of completions that reflect, a curve a run: each the mean of some neighbouring steps."""
    plot, axes = new_plot("reflection", "Completions that reflect", "step", "share of completions")
    for place, (label, log) in enumerate(logs.items()):
        points = points_of(log, reading("reflection", "", ""))
        if len(points) > 1:
            steps, values = zip(*points, strict=True)
            every, line = -(-len(points) // POINTS), "-" if place < len(SERIES) else "--"
            means = smoothed(values, max(1, len(points) // 20))
            colour = COLOURS[SERIES[place % len(SERIES)]]
            axes.plot(steps[::every], means[::every], line, color=colour, label=label_text(label))
    axes.set_ylim(bottom=0)
    add_legend(plot)
    return plot if axes.lines else None
