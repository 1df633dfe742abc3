"""What a report is made of: the files that were found, read and brought together."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1kit.comparison import compare
from r1kit.compute_optimal import Choice
from r1kit.lineage import Lineage
from r1kit.report_files import Findings, Folder, Found, find_files, read_while_whole
from r1kit.report_sources import Reader, Source, identity_of
from r1kit.step_log import Line

Costs = dict[str, list[tuple[float, dict[str, Any]]]]  # of each method its (mean tokens, accuracy)


@dataclass(frozen=True)
class Material:
    """What was read of all files.

    Attributes:
        browsed: the sources whose records are on the page.
        logs: the lines of each log.
        rows: metrics, as `eval` writes them.
        row_of: the row of each measurement, by its identity.
        costs: by the label of a policy, or of a folder of votes.
    """

    findings: Findings
    sources: list[Source]
    browsed: list[Source]
    lineage: Lineage
    logs: list[tuple[Found, list[Line]]]
    rows: list[Line]
    row_of: dict[tuple[str, ...], Line]
    costs: dict[str, Costs]

    def run_of(self, log: Found) -> Folder | None:
        """Return the folder of the run that a log is of."""
        return next((folder for folder in self.findings.folders if folder.path == log.path.parent), None)


def read_material(outs: list[str], count: int, seed: int) -> Material:
    """Return what folders and files hold, with a sample of `count` records to browse.

    Raises:
        UserError: there is nothing to show, or a file that is named cannot be read.
    """
    findings = find_files(outs)
    rows = [(found.label, dict(row)) for found in findings.of("metrics") for row in read_while_whole(found, findings)]
    reader = Reader(findings, count, seed, {identity_of(row) for _, row in rows})
    sources = reader.sources()
    logs = [(found, [dict(line) for line in read_while_whole(found, findings)]) for found in findings.of("log")]
    lineage = Lineage(findings.folders, sources, reader.made_from)
    measured = list(_named([*_with_seconds(rows, sources), *_measured_rows(sources, lineage)], lineage, sources))
    return Material(
        findings,
        sources,
        [source for source in sources if reader.browsed(source)],
        lineage,
        [(found, lines) for found, lines in logs if lines],
        measured,
        {identity_of(row): row for row in reversed(measured)},
        dict(_costs(findings, sources)),
    )


def model_of(row: Line) -> str:
    """Return the model of a record of metrics, or its file."""
    return str(row.get("model", row.get("file", "")))


def _named(rows: list[tuple[str, Line]], lineage: Lineage, sources: list[Source]) -> Iterator[Line]:
    """Yield records of metrics with the names that the page gives to their models, or files.

    A model that an earlier file measured on the same benchmark has the label of its record's file in its name.
    """
    labels = {source.found.path.resolve(): source.label for source in sources}
    firsts: dict[tuple[str, str], str] = {}

    def name(model: str, benchmark: str, label: str) -> str:
        first = firsts.setdefault((model, benchmark), label)
        return labels.get(Path(model).resolve(), lineage.name_of(model)) + ("" if first == label else f" · {label}")

    for label, row in rows:
        benchmark, against = str(row.get("benchmark")), row.get("against")
        named = {"against": {**against, "name": name(against["model"], benchmark, label)}} if against else {}
        yield {**row, "name": name(model_of(row), benchmark, label), **named}


def _with_seconds(rows: list[tuple[str, Line]], sources: list[Source]) -> Iterator[tuple[str, Line]]:
    """Yield records of metrics with the time that the card beside their rollouts states."""
    seconds = {identity_of(source.about): source.seconds for source in sources if source.about}
    for label, row in rows:
        yield label, {"seconds": seconds.get(identity_of(row)), **row}


def _measured_rows(sources: list[Source], lineage: Lineage) -> Iterator[tuple[str, Line]]:
    """Yield the metrics that were taken here, in the ladder's order, each compared with the first of its benchmark.

    They come with the name of the folder that `eval` keeps models in; other files, with "", are of one folder.
    """
    rank = {node.label: place for place, node in enumerate(lineage.ordered()) if node.is_model}
    firsts: dict[Any, Source] = {}
    for source in sorted(
        sources, key=lambda one: rank.get(lineage.name_of(str(one.model)), len(rank) + len(lineage.nodes))
    ):
        if source.metrics is None:
            continue
        about = source.about or {"file": source.label}
        row = {**about, **source.metrics.as_json(), "seconds": source.seconds}
        folder = source.found.path.resolve().parents[1].name if source.about else ""
        first = firsts.setdefault((folder, source.about.get("benchmark")), source)
        found = compare(first.metrics.by_problem, source.metrics.by_problem) if first.metrics else None
        if first is not source and found is not None:
            row["against"] = {"model": str(first.about.get("model", first.label)), **found.as_json()}
        yield folder, row


def _costs(findings: Findings, sources: list[Source]) -> Iterator[tuple[str, Costs]]:
    """Yield accuracy against tokens by method: of each policy, and of votes where their folder has none."""
    folders = set()
    for found in findings.of("policy"):
        costs: Costs = defaultdict(list)
        for row in read_while_whole(found, findings):
            if row.get("difficulty") == "all":
                choice = Choice(row.get("search"), str(row["method"]), int(row["budget"]), row.get("by"))
                costs[choice.name].append((float(row["generated_tokens"]), row["accuracy"]))
        folders.add(found.path.parent)
        yield found.label.rpartition("/")[0] or found.label, costs
    by_folder: dict[Any, Costs] = defaultdict(lambda: defaultdict(list))
    for source in sources:
        folder, first = source.found.path.parent, source.found.first
        if source.form != "votes" or folder in folders or not source.tokens.mean:
            continue
        budget = int(first.get("budget", first.get("n", 0)))
        choice = Choice(first.get("search"), str(first["method"]), budget, first.get("by"))
        share = source.accuracy.share()
        if share is not None:
            by_folder[folder][choice.name].append((source.tokens.mean, share.as_json()))
    for folder, costs in by_folder.items():
        yield f"votes of {folder.resolve().name}", costs
