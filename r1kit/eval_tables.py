"""The tables of measurements, as text: those of a training run, and those of `eval` in the layout of R1's paper."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from r1kit.benchmarks import BENCHMARKS
from r1kit.estimates import Estimate, percent, with_interval
from r1kit.live import clock
from r1kit.paper import published

if TYPE_CHECKING:
    from r1kit.comparison import Comparison
    from r1kit.evaluate import Row
    from r1kit.metrics import Metrics

WIDTH = 120  # characters of a line; benchmarks that do not fit stand in a table below
EQUAL = 1e-4  # rewards that differ by less are the same but for rounding
CONSENSUS = 16  # samples from which on the majority's accuracy has a column, as in R1's tables


def format_table(rows: "dict[str, Metrics]") -> list[str]:
    """Return a table of metrics as text: a line a row, with the name first."""
    k = next(iter(rows.values())).samples
    titles = ["", "pass@1", f"cons@{k}", "format", "length"]
    cells = [
        [name, percent(m.pass_at_1), percent(m.cons_at.get(k)), percent(m.format_rate), _length(m)]
        for name, m in rows.items()
    ]
    return _aligned([titles, *cells])


def _length(metrics: "Metrics") -> str:
    return "–" if metrics.mean_length is None else with_interval(metrics.mean_length)


def result_tables(rows: "list[Row]", paper: bool = False) -> list[str]:
    """Return the measurements as text: accuracy by model and benchmark, what lies behind it, and the comparisons."""
    if not rows:
        return []
    lines = _accuracy_tables(rows, paper)
    rewarded = (
        ["reward"]
        if any(is_rewarded(_value(row.metrics.reward), _value(row.metrics.pass_at_1)) for row in rows)
        else []
    )
    titles = ["", "k", *rewarded, "format", "language", "truncated", "length", "right", "wrong", "tokens", "time"]
    lines += ["", *_aligned([titles, *(_detail(row, bool(rewarded)) for row in rows)])]
    compared = [line for row in rows for line in _comparison(row)]
    return [*lines, "", *compared] if compared else lines


def _accuracy_tables(rows: "list[Row]", paper: bool) -> list[str]:
    """Return a line for each model, and columns for each benchmark, in as many tables as the width needs."""
    models = list(dict.fromkeys(row.model for row in rows))
    columns = [column for name in dict.fromkeys(row.benchmark for row in rows) for column in _columns(rows, name)]
    found = {(row.model, row.benchmark): row for row in rows}
    names = [line for model in models for line in [model, *(["  published"] if paper and _is_published(model) else [])]]
    left = max(map(len, ["", *names]))
    tables: list[list[list[str]]] = []
    width = WIDTH + 1
    for benchmark, metric in columns:
        column = [f"{_title(benchmark)} {metric}".strip()]
        for model in models:
            column.append(percent(_estimate(found.get((model, benchmark)), metric)))
            if paper and _is_published(model):
                value = published(model, benchmark).get(metric)
                column.append("–" if value is None else f"{value:.1f} %")
        needed = max(map(len, column)) + 2
        if width + needed > WIDTH:
            tables.append([["", *names]])
            width = left
        tables[-1].append(column)
        width += needed
    return [line for table in tables for line in ["", *_aligned(list(zip(*table, strict=True)))]][1:]


def _columns(rows: "list[Row]", benchmark: str) -> list[tuple[str, str]]:
    """Return the metrics of a benchmark that have columns: pass@1, and cons@k where there are samples enough."""
    k = max(row.metrics.samples for row in rows if row.benchmark == benchmark)
    voted = any(k in row.metrics.cons_at for row in rows if row.benchmark == benchmark)
    return [(benchmark, "pass@1"), *([(benchmark, f"cons@{k}")] if voted and k >= CONSENSUS else [])]


def _estimate(row: "Row | None", metric: str) -> Estimate | None:
    if row is None:
        return None
    return row.metrics.pass_at_1 if metric == "pass@1" else row.metrics.cons_at.get(int(metric.removeprefix("cons@")))


def _is_published(model: str) -> bool:
    return any(published(model, benchmark) for benchmark in BENCHMARKS)


def _title(benchmark: str) -> str:
    return BENCHMARKS[benchmark].title if benchmark in BENCHMARKS else benchmark


def is_rewarded(reward: float | None, accuracy: float | None) -> bool:
    """Tell whether the mean reward of rollouts is another than their accuracy."""
    return reward is not None and (accuracy is None or abs(reward - accuracy) > EQUAL)


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _detail(row: "Row", rewarded: bool) -> list[str]:
    """Return the cells of what lies behind a row's accuracy."""
    metrics = row.metrics
    name = f"{row.model} on {_title(row.benchmark)}" if row.benchmark else row.model
    shares = [_plain_percent(e) for e in (metrics.format_rate, metrics.language, metrics.truncated)]
    mean = metrics.mean_length.value if metrics.mean_length else None
    lengths = [_number(value) for value in (mean, metrics.length_right, metrics.length_wrong)]
    return [
        name,
        str(metrics.samples),
        *(["–" if metrics.reward is None else f"{metrics.reward.value:.2f}"] if rewarded else []),
        *shares,
        *lengths,
        f"{metrics.generated_tokens:,}",
        "–" if row.seconds is None else clock(row.seconds),
    ]


def _comparison(row: "Row") -> list[str]:
    """Return what a row's comparison says, and what of its rollouts could not be graded."""
    metrics, said = row.metrics, []
    name = f"{row.model} on {_title(row.benchmark)}" if row.benchmark else row.model
    if row.comparison is not None:
        said.append(f"{name}, against {row.against}: {_difference(row.comparison)}")
    not_counted = {
        "could not be graded": metrics.ungraded,
        "ended in an error": metrics.errors,
        "took too long to grade and count as wrong": metrics.timeouts,
    }
    counts = [f"{count:,} {what}" for what, count in not_counted.items() if count]
    return [*said, *([f"{name}: of the rollouts, {', '.join(counts)}"] if counts else [])]


def _difference(comparison: "Comparison") -> str:
    difference, p = comparison.difference, comparison.p
    text = f"{100 * difference.value:+.1f} points"
    if difference.low is not None and difference.high is not None:
        text += f" [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"
    chance = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    counts = f"better on {comparison.better}, worse on {comparison.worse} of {comparison.problems} problems"
    return f"{text}, {chance}; {counts}"


def _plain_percent(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:.1%}".replace("%", " %")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def _aligned(rows: Iterable[Iterable[str]]) -> list[str]:
    """Return rows of cells as lines: the first cell on the left, the others on the right of their columns."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in table
    ]
