"""The tables of a report as HTML: in the layout of R1's paper, and what lies behind their numbers."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from r1kit.benchmarks import BENCHMARKS
from r1kit.eval_tables import CONSENSUS, is_rewarded
from r1kit.lineage import Lineage, Node
from r1kit.live import clock
from r1kit.paper import published
from r1kit.report_files import Folder
from r1kit.report_material import model_of

Metrics = dict[str, Any]  # a record of `eval`
Cell = str | tuple[str, str]  # text, or text with its interval


def html_table(caption: str, titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a table: the first cell of a row is its heading."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    body = "".join(f'<tr><th scope="row">{_cell(first)}</th>{_cells(rest)}</tr>' for first, *rest in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(cells: Iterable[Cell]) -> str:
    return "".join(f"<td>{_cell(cell)}</td>" for cell in cells)


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape(cell)
    text, interval = cell
    return escape(text) + (f" <small>{escape(interval)}</small>" if interval else "")


def percent_cell(estimate: dict[str, Any] | None) -> Cell:
    """Return a share in percent with its interval."""
    if not estimate:
        return "–"
    return _with_interval(estimate, 100, " %")


def _with_interval(estimate: dict[str, Any], scale: float = 1, unit: str = "", digits: int = 1) -> Cell:
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    interval = "" if low is None or high is None else f"[{scale * low:.{digits}f}, {scale * high:.{digits}f}]"
    return f"{scale * value:.{digits}f}{unit}", interval


def title_of(benchmark: str) -> str:
    """Return what a benchmark is called in tables."""
    return BENCHMARKS[benchmark].title if benchmark in BENCHMARKS else benchmark


def benchmarks_of(rows: Sequence[Metrics]) -> list[str]:
    """Return the benchmarks of records of metrics: the known ones in their order, others after them."""
    known = list(BENCHMARKS)
    names = dict.fromkeys(str(row.get("benchmark", "")) for row in rows)
    return sorted(names, key=lambda name: known.index(name) if name in BENCHMARKS else len(known))


def accuracy_table(rows: Sequence[Metrics]) -> str:
    """Return a line for each model, and columns for each benchmark; published values below the models that have any."""
    columns = [(name, metric) for name in benchmarks_of(rows) for metric in _metrics_of(rows, name)]
    found = {(row["name"], str(row.get("benchmark", ""))): row for row in rows}
    lines: list[list[Cell]] = []
    for name, model in {row["name"]: model_of(row) for row in rows}.items():
        lines.append([name, *(percent_cell(found.get((name, on), {}).get(metric)) for on, metric in columns)])
        values = [published(model, on).get(metric) for on, metric in columns]
        if any(value is not None for value in values):
            lines.append(["  published", *("–" if value is None else f"{value:.1f} %" for value in values)])
    titles = ["", *(f"{title_of(on)} {metric}".strip() for on, metric in columns)]
    of_files = "" if any(on for on, _ in columns) else " of files"
    return html_table(f"Accuracy{of_files}, with 95 % intervals over problems", titles, lines)


def _metrics_of(rows: Sequence[Metrics], benchmark: str) -> list[str]:
    """Return the metrics of a benchmark that have columns: pass@1, and cons@k where there are samples enough."""
    own = [row for row in rows if str(row.get("benchmark", "")) == benchmark]
    k = max(int(row["samples"]) for row in own)
    voted = k >= CONSENSUS and any(row.get(f"cons@{k}") for row in own)
    return ["pass@1", *([f"cons@{k}"] if voted else [])]


def detail_table(rows: Sequence[Metrics]) -> str:
    """Return what lies behind the accuracy of each model on each benchmark."""
    rewarded = ["reward"] if any(is_rewarded(_value(row, "mean_reward"), _value(row, "pass@1")) for row in rows) else []
    titles = [
        "", "problems", "k", *rewarded, "format", "language", "cut off", "length", "right", "wrong", "tokens", "time",
    ]  # fmt: skip
    lines = [_detail(row, bool(rewarded)) for row in rows]
    return html_table("Format, language, length and cost", titles, lines)


def _value(row: Metrics, name: str) -> float | None:
    return (row.get(name) or {}).get("value")


def _detail(row: Metrics, rewarded: bool) -> list[Cell]:
    length, reward = row.get("mean_length"), row.get("mean_reward")
    return [
        measured_name(row),
        f"{row['problems']:,}",
        str(row["samples"]),
        *([_with_interval(reward, digits=2) if reward else "–"] if rewarded else []),
        *(percent_cell(row.get(metric)) for metric in ("format", "language", "truncated")),
        _with_interval(length) if length else "–",
        *(_number(row.get(f"mean_length_{grade}")) for grade in ("right", "wrong")),
        f"{row['generated_tokens']:,}" if row.get("generated_tokens") is not None else "–",
        clock(row["seconds"]) if row.get("seconds") is not None else "–",
    ]


def measured_name(row: Metrics) -> str:
    """Return what a record of metrics is called: "01-zero on MATH-500"."""
    return f"{row['name']} on {title_of(row['benchmark'])}" if row.get("benchmark") else str(row["name"])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def comparison_table(rows: Sequence[Metrics]) -> str:
    """Return how models differ from the first one of the same benchmark, "" where nothing was compared."""
    lines: list[list[Cell]] = []
    for row in rows:
        if against := row.get("against"):
            difference, p = against["difference"], against["p"]
            low, high = difference["low"], difference["high"]
            interval = "" if low is None or high is None else f"[{100 * low:+.1f}, {100 * high:+.1f}]"
            lines.append([
                measured_name(row),
                against["name"],
                (f"{100 * difference['value']:+.1f} points", interval),
                "< 0.001" if p < 0.001 else f"{p:.3f}",
                f"{against['better']} of {against['problems']}",
                f"{against['worse']} of {against['problems']}",
            ])  # fmt: skip
    titles = ["", "against", "pass@1", "p", "better on", "worse on"]
    return html_table("Differences on the same problems", titles, lines) if lines else ""


def model_table(folders: Sequence[Folder], lineage: Lineage) -> str:
    """Return a line for each model: what made it, and what it came to on the problems that were held out."""
    titles = ["", "command", "from", "data", "seed", "held out", "before", "after", "length before", "after"]
    lines = [_model_line(folder, lineage.nodes[f"model {folder.label}"], lineage) for folder in folders]
    return html_table("Models, and what each was made of", titles, lines)


def _model_line(folder: Folder, node: Node, lineage: Lineage) -> list[Cell]:
    made, metrics = folder.card or folder.settings, folder.card.get("metrics") or {}
    came = {link: lineage.nodes[key].label for key, link in node.came}
    before, after = (metrics.get(when) or {} for when in ("before", "after"))
    held_out = (metrics.get("held_out") or {}).get("accuracy")
    lengths = [row.get("mean_length") for row in (before, after)]
    return [
        node.label,
        " ".join(filter(None, [made.get("command"), made.get("method")])),
        came.get("weights", "–"),
        came.get("data", "–"),
        str(made.get("seed", "–")),
        f"{after['problems']} problems" if after else f"{metrics['held_out']['prompts']} prompts" if held_out else "–",
        percent_cell(before.get("pass@1")),
        percent_cell(after.get("pass@1") or held_out),
        *(_with_interval(length) if length else "–" for length in lengths),
    ]
