"""Reads each file of a report once: a sample to browse, lengths, metrics, and what tells where data came from."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from r1kit.ballots import read_grade
from r1kit.browsing import problem_key, problem_view, prompt_of, text_views
from r1kit.errors import UserError
from r1kit.estimates import RunningMean
from r1kit.eval_run import read_card_of
from r1kit.group_sample import GroupSample, share_out
from r1kit.jsonl import Record, read_records
from r1kit.metrics import Metrics, measure
from r1kit.records import content_hash
from r1kit.reflection import first_reflection
from r1kit.report_files import Findings, Form, Found, read_while_whole
from r1kit.row_files import chance
from r1kit.step_rows import COLUMNS as STEP_COLUMNS

BROWSED: tuple[Form, ...] = ("scored", "rollouts", "examples", "pairs", "steps")
OTHERWISE: tuple[Form, ...] = ("votes", "problems")  # browsed where there is nothing else
ROWS: tuple[Form, ...] = ("problems", "examples", "pairs", "steps")  # what models are trained on
IDENTITY = ("model", "benchmark", "samples", "seed", "temperature", "top_p", "max_tokens", "prompt_hash", "data_hash")
TAGS = {"<think>", "</think>", "<answer>", "</answer>"}
MIXED_WITHIN = 1000  # examples of a file, in which those of each source of a mixture stand
SPANS, AROUND = 6, 160  # of a run's steps, each with one sample of reflection; characters on its either side
Grade = bool | None


class Reflection(NamedTuple):
    """A completion with a word of reflection: what stands before it, the word, and what follows."""

    step: int
    before: str
    word: str
    after: str
    verdict: str | None


@dataclass
class Source:
    """A file of records, and what its records come to.

    Attributes:
        model: whose completions they are, as eval's card or the records themselves say; None: not said.
        lengths: tokens of completions by grade, each with how many there are.
    """

    found: Found
    sample: GroupSample[tuple[dict[str, Any], dict[str, Any]]]
    model: str | None = None
    about: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    count: int = 0
    lengths: dict[Grade, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    reflections: dict[int, tuple[float, Reflection]] = field(default_factory=dict)
    metrics: Metrics | None = None  # of scored rollouts that were measured here
    accuracy: RunningMean = field(default_factory=RunningMean)  # of votes
    tokens: RunningMean = field(default_factory=RunningMean)
    hashes: tuple[str, ...] = ()  # as the commands that train call their data

    @property
    def label(self) -> str:
        """What the page calls it."""
        return self.found.label

    @property
    def form(self) -> Form:
        """What its records are."""
        return self.found.form


class DataHash:
    """The hashes that r1kit.json would have for a file of rows: as one list, and row by row."""

    def __init__(self, form: Form):
        self.form, self.count = form, 0
        self._list, self._rows = hashlib.blake2b(b"[", digest_size=8), hashlib.blake2b(digest_size=8)

    def add(self, record: Record) -> None:
        """Take the next row."""
        row: Any = [record[name] for name in STEP_COLUMNS] if self.form == "steps" else record
        self._rows.update(content_hash(row).encode())
        text = json.dumps(record, ensure_ascii=False, sort_keys=True)
        self._list.update(f"{', ' if self.count else ''}{text}".encode(errors="surrogatepass"))
        self.count += 1

    def digests(self) -> tuple[str, ...]:
        """Return the hashes of what was taken."""
        self._list.update(b"]")
        return self._list.hexdigest(), self._rows.hexdigest()


class Reader:
    """Reads the files of a report, each once.

    Args:
        rollouts: records to browse, of all files together.
        measured: the identities of measurements whose metrics are known.
    """

    def __init__(self, findings: Findings, rollouts: int, seed: int, measured: set[tuple[str, ...]]):
        self.findings, self.seed, self.measured = findings, seed, measured
        self._drop_ungraded_copies()
        browsed = findings.of(*BROWSED) or findings.of(*OTHERWISE)
        quotas = share_out(rollouts, [_lines_of(found.path) for found in browsed])
        self._quotas = {found.path: max(1, quota) for found, quota in zip(browsed, quotas, strict=True)}
        self.made_from: defaultdict[Path, list[str]] = defaultdict(list)  # of examples, the labels of their rollouts
        self._traced: defaultdict[Any, list[tuple[Path, Record]]] = defaultdict(list)
        for found in findings.of("examples", "steps"):
            for example in _one_of_each_kind(found.path):
                self._traced[example.get("id"), example.get("sample")].append((found.path, example))

    def sources(self) -> list[Source]:
        """Return what the files come to, in their order; those that only metrics or logs are in are not among them."""
        return [self._read(found) for found in self.findings.of(*BROWSED, *OTHERWISE)]

    def browsed(self, source: Source) -> bool:
        """Tell whether the page shows records of a source."""
        return source.found.path in self._quotas

    def _drop_ungraded_copies(self) -> None:
        """Pass over rollouts that stand graded in another file."""
        for found in self.findings.of("rollouts"):
            for graded in self.findings.of("scored"):
                alike = _identity(graded.first) == _identity(found.first)
                if alike and _lines_of(graded.path) == _lines_of(found.path) and _same_rollouts(graded, found):
                    self.findings.files.remove(found)
                    self.findings.passed[str(found.path)] = f"its rollouts stand graded in {graded.label}"
                    break

    def _read(self, found: Found) -> Source:
        about, seconds = read_card_of(found.path) or ({}, None)
        model = about.get("model", found.first.get("model"))
        source = Source(found, GroupSample(self._quotas.get(found.path, 1), self.seed), model, about, seconds)
        hashed = DataHash(found.form) if found.form in ROWS else None
        records = self._watch(source, read_while_whole(found, self.findings), hashed)
        if self._is_measured_here(source):
            try:
                source.metrics = measure(records)
            except UserError as error:
                self.findings.passed[str(found.path)] = f"not measured: {error}"
        for _ in records:  # what is left of them
            pass
        source.hashes = hashed.digests() if hashed else ()
        return source

    def _is_measured_here(self, source: Source) -> bool:
        """Tell whether scored rollouts are a measurement that no metrics record holds."""
        found = source.found
        in_run = any(folder.path == found.path.parent for folder in self.findings.folders)
        known = identity_of(source.about or {"file": found.path}) in self.measured
        return found.form == "scored" and not (in_run or known or "chain" in found.first)  # of beginnings: labels

    def _watch(self, source: Source, records: Iterator[Record], hashed: DataHash | None) -> Iterator[Record]:
        for record in records:
            source.count += 1
            if hashed:
                hashed.add(record)
            if source.form in ("scored", "rollouts"):
                self._see_rollout(source, record)
            elif source.form == "votes":
                _see_vote(source, record)
            if self.browsed(source):
                self._sample(source, record)
            yield record

    def _sample(self, source: Source, record: Record) -> None:
        key = problem_key(record)
        if source.sample.takes(key):
            problem = problem_view(record, source.form)
            source.sample.add(key, [(problem, view) for view in text_views(record, source.form)])

    def _see_rollout(self, source: Source, record: Record) -> None:
        if source.found.is_training:
            self._see_reflection(source, record)
            return
        if isinstance(tokens := record.get("completion_tokens"), int):
            source.lengths[read_grade(record)][tokens] += 1
        traced = self._traced.get((record.get("id"), record.get("sample")), ())
        for path, example in [one for one in traced if _is_chosen(record, one[1])]:
            self.made_from[path].append(source.label)
            self._traced[record["id"], record["sample"]].remove((path, example))

    def _see_reflection(self, source: Source, record: Record) -> None:
        """Keep one completion with a word of reflection of each span of steps, drawn by the seed."""
        found = first_reflection(str(record.get("completion", "")))
        if found is None:
            return
        text, (start, end) = record["completion"], found.span()
        step = int(record["step"])
        drawn = chance(self.seed, (step, record.get("id"), record.get("sample")))
        kept = source.reflections.get(step)
        if kept is None or drawn < kept[0]:
            before, after = text[max(0, start - AROUND) : start], text[end : end + AROUND]
            source.reflections[step] = drawn, Reflection(step, before, found.group(), after, record.get("verdict"))


def identity_of(about: Record | dict[str, Any]) -> tuple[str, ...]:
    """Return what tells a measurement from others, of its card or of its record of metrics."""
    if about.get("file"):
        return (str(Path(about["file"]).resolve()),)
    return tuple(str(about.get(name)) for name in IDENTITY)


def spread_reflections(source: Source) -> list[Reflection]:
    """Return a few samples of reflection, over the steps of a run."""
    steps = sorted(source.reflections)
    wanted = sorted({steps[(len(steps) - 1) * place // max(1, SPANS - 1)] for place in range(SPANS)}) if steps else []
    return [source.reflections[step][1] for step in wanted]


def _see_vote(source: Source, record: Record) -> None:
    if record.get("correct") is not None and isinstance(record.get("generated_tokens"), int | float):
        source.accuracy.add(float(record["correct"]))
        source.tokens.add(record["generated_tokens"])


def _one_of_each_kind(path: Path) -> Iterator[Record]:
    """Yield the first example of each kind among the first of a file."""
    kinds = set()
    try:
        for example in islice(read_records(str(path)), MIXED_WITHIN):
            if example.get("kind") not in kinds:
                kinds.add(example.get("kind"))
                yield example
    except UserError:
        return  # it is said when the file is read whole


def _is_chosen(rollout: Record, example: Record) -> bool:
    """Tell whether an example was made of the rollout of its id and sample: the same text, but for repaired tags."""
    steps = example.get("completions")
    text = " ".join(steps) if steps else next((str(view["text"]) for view in text_views(example, "examples")), "")
    words = set(text.split()) - TAGS
    return len(words - set(str(rollout.get("completion")).split())) <= len(words) // 10


def _identity(rollout: Record) -> tuple[Any, ...]:
    return prompt_of(rollout), rollout.get("id"), rollout.get("sample"), rollout.get("completion")


def _same_rollouts(one: Found, other: Found) -> bool:
    """Tell whether two files hold the same rollouts, also where a line cannot be read."""
    try:
        pairs = zip(read_records(str(one.path)), read_records(str(other.path)), strict=True)
        return all(_identity(a) == _identity(b) for a, b in pairs)
    except (UserError, ValueError):
        return False


def _lines_of(path: Path) -> int:
    """Return about how many records a file holds."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) + 1
