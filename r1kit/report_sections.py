"""The sections of a report, each where there is something for it."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from r1kit.browsing import problem_key
from r1kit.ladder_plot import plot_ladder
from r1kit.measured_plots import plot_calibration, plot_cost, plot_forest, plot_lengths, plot_samples
from r1kit.plotting import Plot
from r1kit.report_files import Found
from r1kit.report_material import Material
from r1kit.report_page import BROWSER, Section, figure, figures, heading, note
from r1kit.report_sources import Source, identity_of, spread_reflections
from r1kit.report_tables import (
    accuracy_table,
    benchmarks_of,
    comparison_table,
    detail_table,
    html_table,
    measured_name,
    model_table,
    title_of,
)
from r1kit.run_plots import imitation_plots, plot_reflection, rl_plots
from r1kit.step_log import Line


def sections_of(material: Material) -> Iterator[Section]:
    """Yield the sections that there is something for, in the order of the page."""
    made = (stages, results, scaling, learning, reflection, lengths, rollouts, files)
    yield from (section for section in (make(material) for make in made) if section is not None)


def slug(text: str) -> str:
    """Return a text as part of a file name, and of an id: "out/a b" as "out--a-b"."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text.replace("/", "--")).strip("-.") or "x"


def stages(material: Material) -> Section | None:
    """Show the models and what each was made of."""
    folders = material.findings.folders
    if not folders:
        return None
    plot = plot_ladder(material.lineage.ordered())
    html = note("From top to bottom, what each model was made of; r1kit.json of its folder says so.")
    table = model_table(folders, material.lineage)
    return Section("stages", "Stages", html + figure(plot, "ladder") + table, (plot,))


def results(material: Material) -> Section | None:
    """Show the measurements as R1's paper does."""
    rows = material.rows
    if not rows:
        return None
    plots = [plot for name, own in _by_benchmark(rows).items() if (plot := _forest(name, own)) is not None]
    graded = [row for row in rows if row.get("pass@1")]
    named, others = ([row for row in graded if bool(row.get("benchmark")) == known] for known in (True, False))
    html = "".join(accuracy_table(some) for some in (named, others) if some) + figures(plots)
    html += comparison_table(rows) + detail_table(rows)
    return Section("results", "Results", html, tuple(plots))


def _by_benchmark(rows: Sequence[Line]) -> dict[str, list[Line]]:
    names = benchmarks_of(rows)
    return {name: [row for row in rows if str(row.get("benchmark", "")) == name] for name in names}


def _forest(benchmark: str, rows: Sequence[Line]) -> Plot | None:
    named = [(str(row["name"]), row["pass@1"]) for row in rows if row.get("pass@1")]
    title = title_of(benchmark) or "Accuracy"
    return plot_forest(f"pass1-{slug(title)}", title, named, "pass@1") if named else None


def scaling(material: Material) -> Section | None:
    """Show what more samples, and more tokens, buy."""
    plots = []
    for name, rows in _by_benchmark(material.rows).items():
        named = [(str(row["name"]), row) for row in rows]
        title = f"Samples, {title_of(name)}" if name else "Samples"
        plots.append(plot_samples(f"samples-{slug(title)}", title, named))
    for label, costs in material.costs.items():
        plots.append(plot_cost(f"cost-{slug(label)}", f"Accuracy by tokens, {label}", costs) if costs else None)
    drawn = [plot for plot in plots if plot is not None]
    text = "cons@k is the majority of k samples, pass@k one right among them; bands are 95 % intervals over problems."
    return Section("scaling", "Inference-time scaling", note(text) + figures(drawn), tuple(drawn)) if drawn else None


def learning(material: Material) -> Section | None:
    """Show the curves of each run."""
    html, drawn = "", []
    for found, log in material.logs:
        plots = _run_plots(found, log, material)
        html += heading(_run_label(found, material)) + figures(plots) if plots else ""
        drawn += plots
    return Section("learning", "Learning curves", html, tuple(drawn)) if drawn else None


def _run_plots(found: Found, log: Sequence[Line], material: Material) -> list[Plot]:
    folder, name = material.run_of(found), slug(found.label)
    metrics = (folder.card.get("metrics") or {}) if folder else {}
    plots = rl_plots(name, log, metrics) if _is_rl(log) else imitation_plots(name, log)
    bins = (metrics.get("held_out") or {}).get("calibration")
    return [*plots, plot_calibration(f"{name}-calibration", bins)] if bins else plots


def _is_rl(log: Sequence[Line]) -> bool:
    return "rewards" in log[0] and "length" in log[0]


def _run_label(found: Found, material: Material) -> str:
    folder = material.run_of(found)
    if folder is None:
        return found.label
    made = folder.card or folder.settings
    how = " ".join(filter(None, [made.get("command"), made.get("method")]))
    return f"{folder.label}: {how}" if how else folder.label


def reflection(material: Material) -> Section | None:
    """Show how often completions reflect, run by run, with samples."""
    logs = {_run_label(found, material): log for found, log in material.logs if _is_rl(log)}
    plot = plot_reflection(logs) if logs else None
    if plot is None:
        return None
    text = "The share of completions that hold a word of doubt or of checking (wait, check, however, 等等, 验算, …)."
    samples = '<div class="samples" id="samples"></div>' if reflections(material) else ""
    return Section("reflection", "Reflection", note(text) + figures([plot]) + samples, (plot,))


def reflections(material: Material) -> list[dict[str, Any]]:
    """Return samples of reflection as the page shows them."""
    return [
        {"run": source.label.removesuffix("/samples"), **sample._asdict()}
        for source in material.sources
        for sample in spread_reflections(source)
    ]


def lengths(material: Material) -> Section | None:
    """Show how long completions are, right against wrong, file by file."""
    plots = [
        plot_lengths(f"lengths-{slug(source.label)}", _title(source, material), source.lengths)
        for source in material.sources
        if source.lengths
    ]
    drawn = [plot for plot in plots if plot is not None]
    return Section("lengths", "Lengths", figures(drawn), tuple(drawn)) if drawn else None


def _title(source: Source, material: Material) -> str:
    """Return what the page calls a file: by the model and the benchmark where they were measured on it."""
    row = material.row_of.get(identity_of(source.about or {"file": source.found.path}))
    return source.label if row is None else measured_name(row)


def rollouts(material: Material) -> Section | None:
    """Show the records themselves."""
    browsed = material.browsed
    if not browsed:
        return None
    total, shown = sum(source.count for source in browsed), sum(source.sample.size for source in browsed)
    if shown < total:
        text = f"{shown:,} of {total:,} records, drawn by seed: the same problems from every file, each with all of its"
        text += " completions. r1kit report --rollouts N shows more."
    else:
        text = f"All {total:,} records."
    is_drawn = any(source.form in ("scored", "rollouts") for source in browsed)
    return Section("rollouts", "Rollouts" if is_drawn else "Records", note(text) + BROWSER)


def browser_data(material: Material) -> dict[str, Any]:
    """Return what the page's script browses."""
    problems: dict[tuple[str, str], int] = {}
    views: list[dict[str, Any]] = []
    records = []
    for number, source in enumerate(material.browsed):
        for group in source.sample.groups():
            for problem, view in group:
                key = problem_key(problem), problem["prompt"]
                if key not in problems:
                    problems[key] = len(views)
                    views.append(problem)
                records.append({"source": number, "problem": problems[key], **view})
    sources = [{"label": _title(source, material), "count": source.count} for source in material.browsed]
    return {"sources": sources, "problems": views, "records": records, "reflections": reflections(material)}


def files(material: Material) -> Section:
    """Say what was read."""
    shown = {id(source): source.sample.size for source in material.browsed}
    lines = [
        [source.label, source.form, f"{source.count:,}", f"{shown[id(source)]:,}" if id(source) in shown else "–"]
        for source in material.sources
    ]
    others = [found for found in material.findings.files if found.form in ("log", "metrics", "policy")]
    lines += [[found.label, found.form, "–", "–"] for found in others]
    return Section("files", "Files", html_table("What this page was made of", ["", "form", "records", "shown"], lines))
