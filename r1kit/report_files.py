"""The files that a report is made of: found in folders, and known by their fields."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from r1kit.errors import UserError
from r1kit.jsonl import Record, read_records
from r1kit.model import CARD
from r1kit.run_folder import CHECKPOINTS, LOG, SAMPLES, SETTINGS

Form = Literal[
    "log", "metrics", "policy", "votes", "scored", "rollouts", "pairs", "steps", "examples", "problems"
]  # fmt: skip

# what a record of each form holds; the first that fits is meant
FORMS: tuple[tuple[Form, frozenset[str]], ...] = (
    ("log", frozenset({"step", "loss", "learning_rate"})),
    ("metrics", frozenset({"problems", "samples", "pass@1"})),
    ("policy", frozenset({"difficulty", "method", "budget", "accuracy", "generated_tokens"})),
    ("votes", frozenset({"id", "votes", "prediction", "method"})),
    ("scored", frozenset({"completion", "rewards"})),
    ("rollouts", frozenset({"sample", "finish_reason"})),
    ("pairs", frozenset({"chosen", "rejected"})),
    ("steps", frozenset({"prompt", "completions", "labels"})),
    ("examples", frozenset({"messages"})),
    ("examples", frozenset({"prompt", "completion"})),
    *(("problems", frozenset({name})) for name in ("prompt", "problem", "question")),
)
NOT_ENTERED = (CHECKPOINTS, "model.part", "rows")  # folders


class Found(NamedTuple):
    """A JSON Lines file that a report can show."""

    path: Path
    form: Form
    label: str  # what the page calls it
    first: Record

    @property
    def is_training(self) -> bool:
        """Whether it holds rollouts that a run trained on, of several of its steps."""
        return self.path.name == SAMPLES and "step" in self.first


class Folder(NamedTuple):
    """The folder of a model, or of a run that has not ended."""

    path: Path
    label: str
    card: dict[str, Any]  # r1kit.json, {} where there is none yet
    settings: dict[str, Any]  # run.json, {} where it is no run's

    @property
    def log(self) -> Path:
        """Where its log would be."""
        return self.path / LOG


@dataclass
class Findings:
    """What was found: files, folders of models and runs, and what was passed over, with the reason."""

    files: list[Found] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    passed: dict[str, str] = field(default_factory=dict)

    def of(self, *forms: Form) -> list[Found]:
        """Return the files of some forms."""
        return [found for found in self.files if found.form in forms]


def form_of(record: Mapping[str, Any]) -> Form | None:
    """Return what a record is by its fields, None where it is nothing that r1kit writes."""
    return next((form for form, fields in FORMS if fields <= record.keys()), None)


def find_files(outs: list[str]) -> Findings:
    """Return what there is to show in folders and files.

    Raises:
        UserError: there is no such file or folder, a file that is named cannot be read or is of no known form, or there
            is nothing to show in all of them.
    """
    findings = Findings()
    for out in dict.fromkeys(outs):
        path = Path(out)
        if path.is_dir():
            _search(path, len(outs) == 1, findings)
        elif path.exists():
            findings.files.append(_named_file(path))
        else:
            raise UserError(out, "no such file or folder", "name folders of runs, or JSON Lines files")
    if not findings.files and not findings.folders:
        what = "nothing to show" + (f" ({len(findings.passed)} files passed over)" if findings.passed else "")
        raise UserError(" ".join(outs), what, "name folders or files that r1kit's commands wrote")
    return findings


def _named_file(path: Path) -> Found:
    first = next(read_records(str(path)), None)
    form = form_of(first) if first is not None else None
    if first is None or form is None:
        what = "holds no records" if first is None else f"records of no known form ({', '.join(list(first)[:6])})"
        raise UserError(str(path), what, "give problems, rollouts, votes, examples, metrics or a log")
    return Found(path, form, path.stem, first)


def label_of(path: Path, top: Path, alone: bool) -> str:
    """Return what the page calls a path in a folder that is searched: without that folder's name where it is alone."""
    inner, own = path.relative_to(top).as_posix().removesuffix(".jsonl"), top.resolve().name
    if inner == ".":
        return own
    return inner if alone else f"{own}/{inner}"


def _search(top: Path, alone: bool, findings: Findings) -> None:
    """Find what is in a folder and those within, in the order of names."""
    for place, folders, files in os.walk(top):
        folders[:] = sorted(one for one in folders if one not in NOT_ENTERED and not one.startswith("."))
        folder = Path(place)
        card, settings = (_read_object(folder / file, findings) for file in (CARD, SETTINGS))
        if "command" in card or "command" in settings:
            findings.folders.append(Folder(folder, label_of(folder, top, alone), card, settings))
        for file in sorted(files):
            if file.endswith(".jsonl"):
                _look_into(folder / file, label_of(folder / file, top, alone), findings)


def _look_into(path: Path, label: str, findings: Findings) -> None:
    try:
        first = next(read_records(str(path)), None)
    except UserError as error:
        findings.passed[str(path)] = str(error)
        return
    form = form_of(first) if first is not None else None
    if first is None or form is None:
        findings.passed[str(path)] = "holds no records" if first is None else "records of no known form"
    else:
        findings.files.append(Found(path, form, label, first))


def _read_object(path: Path, findings: Findings) -> dict[str, Any]:
    """Return the JSON object of a file, {} where there is none."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        findings.passed[str(path)] = "no JSON object"
        return {}
    return found


def read_while_whole(found: Found, findings: Findings) -> Iterator[Record]:
    """Yield the records of a file up to a line that cannot be read, which is noted: a run may be writing it."""
    try:
        yield from read_records(str(found.path))
    except UserError as error:
        findings.passed[str(found.path)] = f"read in part: {error}"
