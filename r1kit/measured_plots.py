"""The plots of measurements: accuracy by model, by samples and by tokens, lengths, calibration."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from math import log10
from typing import TYPE_CHECKING, Any

from r1kit.inline_svg import COLOURS
from r1kit.plotting import SERIES, Plot, add_legend, label_text, new_plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = {"cons": "-", "pass": "--"}  # of metrics over k


def plot_forest(name: str, title: str, rows: Sequence[tuple[str, dict[str, Any]]], metric: str) -> Plot:
    """Draw an estimate a row, each with its interval; the first is on top."""
    labels = [label_text(label, 22) for label, _ in rows]
    left = 0.2 + 0.075 * max(map(len, labels))
    plot, axes = new_plot(name, title, f"{metric}, percent", "", left, 0.1 + 0.24 * len(rows))
    for place, (_, estimate) in enumerate(rows):
        value, low, high = (estimate[part] for part in ("value", "low", "high"))
        spread = None if low is None else [[100 * max(0, value - low)], [100 * max(0, high - value)]]
        label = f"{metric}, 95 % interval" if place == 0 else None
        axes.errorbar(
            [100 * value], [place], xerr=spread, fmt="o", markersize=4.5, color=COLOURS["blue"], capsize=0,
            elinewidth=2.2, label=label,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), labels, color=COLOURS["ink"])
    axes.set(xlim=(-2, 102), ylim=(len(rows) - 0.5, -0.5))
    axes.grid(False, axis="y")
    add_legend(plot)
    return plot


def plot_samples(name: str, title: str, rows: Sequence[tuple[str, dict[str, Any]]]) -> Plot | None:
    """Draw pass@k (dashed) and cons@k over k with their intervals as bands, a colour a model."""
    plot, axes = new_plot(name, title, "k, samples of a problem", "share of problems")
    drawn: dict[str, str] = {}  # of the metrics: their line
    for place, (label, row) in enumerate(rows):
        colour = COLOURS[SERIES[place % len(SERIES)]]
        curves = {metric: points for metric in LINES if len(points := _by_k(row, metric)) > 1}
        for metric, points in curves.items():
            sizes, estimates = zip(*points, strict=True)
            values = [e["value"] for e in estimates]
            axes.plot(sizes, values, LINES[metric], color=colour, marker=".", markersize=4)
            draw_band(axes, sizes, estimates, colour)
            drawn[f"{metric}@k"] = LINES[metric]
        if curves:
            axes.plot([], [], color=colour, label=label_text(label))
    if not drawn:
        return None
    for metric, line in drawn.items():
        axes.plot([], [], line, color=COLOURS["muted"], label=metric)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_ylim(-0.02, 1.04)
    add_legend(plot)
    return plot


def _by_k(row: dict[str, Any], metric: str) -> list[tuple[int, dict[str, Any]]]:
    named = {key.removeprefix(f"{metric}@"): value for key, value in row.items() if key.startswith(f"{metric}@")}
    found = {int(k): value for k, value in named.items() if k.isdigit() and value}
    if metric == "cons" and found and row.get("pass@1"):
        found[1] = row["pass@1"]
    return sorted(found.items())


def draw_band(axes: "Axes", x: Sequence[float], estimates: Sequence[dict[str, Any]], colour: str) -> None:
    """Draw the intervals of estimates as a band, where all have one."""
    if all(e["low"] is not None and e["high"] is not None for e in estimates):
        lows, highs = [e["low"] for e in estimates], [e["high"] for e in estimates]
        axes.fill_between(x, lows, highs, color=colour, alpha=0.13, linewidth=0)


def plot_cost(name: str, title: str, lines: dict[str, list[tuple[float, dict[str, Any]]]]) -> Plot:
    """Draw accuracy against generated tokens, a curve a method, its points (tokens, estimate) by budget."""
    plot, axes = new_plot(name, title, "generated tokens of a problem", "accuracy, share of problems")
    for place, (label, points) in enumerate(lines.items()):
        colour = COLOURS[SERIES[place % len(SERIES)]]
        tokens, estimates = zip(*sorted(points, key=lambda point: point[0]), strict=True)
        dash = "-" if place < len(SERIES) else "--"
        values = [e["value"] for e in estimates]
        axes.plot(tokens, values, dash, color=colour, marker="o", markersize=3.5, label=label_text(label))
        draw_band(axes, tokens, estimates, colour)
    _log_axis(axes)
    axes.set_ylim(-0.02, 1.04)
    add_legend(plot)
    return plot


def _log_axis(axes: "Axes") -> None:
    """Make the axis of tokens logarithmic, with plain numbers: 10, 20, 50, 100, …"""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def plot_lengths(name: str, title: str, lengths: dict[bool | None, Counter[int]]) -> Plot | None:
    """Draw how many completions are how long, right against wrong."""
    longest = max((max(counter) for counter in lengths.values() if counter), default=0)
    if not longest:
        return None
    plot, axes = new_plot(name, title, "tokens of a completion", "share of completions")
    shortest = max(1, min(min(counter) for counter in lengths.values() if counter))
    spread = longest / shortest > 30
    edges = _log_edges(shortest, longest) if spread else _even_edges(longest)
    total = sum(counter.total() for counter in lengths.values())
    looks = ((True, "right", "green", "-"), (False, "wrong", "red", "--"), (None, "not judged", "muted", ":"))
    for grade, label, colour, line in looks:
        counter = lengths.get(grade)
        if counter:
            tokens, counts = list(counter), [count / total for count in counter.values()]
            whole = f"{label}, {counter.total():,}"
            hist = partial(axes.hist, tokens, edges, weights=counts, color=COLOURS[colour])
            hist(histtype="stepfilled", alpha=0.16, linewidth=0)
            hist(histtype="step", linewidth=1.3, linestyle=line, label=whole)
    if spread:
        _log_axis(axes)
    add_legend(plot)
    return plot


def _even_edges(longest: int) -> list[float]:
    width = max(1, -(-longest // 40))
    return [width * place for place in range(longest // width + 2)]


def _log_edges(shortest: int, longest: int) -> list[float]:
    low, high = log10(shortest), log10(longest + 1)
    return [10 ** (low + (high - low) * place / 36) for place in range(37)]


def plot_calibration(name: str, bins: Sequence[dict[str, Any]]) -> Plot:
    """Draw how often the preferred side was the right one, against the probability that was predicted."""
    plot, axes = new_plot(name, "Calibration on held-out pairs", "predicted probability", "share that came true")
    axes.plot([0.5, 1], [0.5, 1], ":", color=COLOURS["muted"], label="perfect")
    points = [(b["predicted"], b["observed"]) for b in bins]
    axes.plot(*zip(*points, strict=True), "-", color=COLOURS["blue"], marker="o", markersize=4, label="this model")
    axes.set(xlim=(0.48, 1.02), ylim=(min(0.48, *(y for _, y in points)) - 0.02, 1.04))
    add_legend(plot)
    return plot
