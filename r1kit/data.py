"""Where problems come from: embedded sets, known sets, files, the Hugging Face hub, reasoning-gym."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from r1kit.embedded.problems import FOLDER
from r1kit.errors import UsageError, UserError
from r1kit.jsonl import STDIO, Record, read_records
from r1kit.known_sets import KNOWN_SETS, KnownSet, find_known_set
from r1kit.records import unique_problems
from r1kit.row_forms import problem_of_row
from r1kit.rows import read_rows
from r1kit.shuffled import shuffle_rows

EMBEDDED = ("arith", "facts", "functions")
EMBEDDED_PAIRS = ("preferences",)  # rows for r1kit reward-model
SPLITS = ("train", "test")
GYM = "reasoning-gym:"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class UnknownSourceError(UserError):
    """There is no source of this name."""


@dataclass(frozen=True)
class Request:
    """Which rows are asked for."""

    source: str  # as `r1kit data` takes it
    split: str | None = None
    config: str | None = None  # of a hub's data set
    seed: int = 0
    shuffle: bool = False
    n: int | None = None  # problems that reasoning-gym makes, 1000 unless said
    task_args: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the request as settings of a run."""
        return asdict(self)


def select_problems(
    request: Request,
    renames: Mapping[str, str] | None = None,
    limit: int | None = None,
    kind: str | None = None,
    language: str | None = None,
) -> Iterator[Record]:
    """Yield at most `limit` problems of a source.

    Args:
        renames: {old: new}, of fields, before anything else is read; an old one may be a path ("extra_info.answer").
        kind: of the problems that do not say theirs, and
        language: in the same way; "auto": as their prompt is.

    Raises:
        UserError: the source is unknown or cannot be read, or a record holds no prompt.
    """
    known, rows = open_rows(request)
    problems = (problem_of_row(_rename(row, renames or {}), known, request.seed, kind) for row in rows)
    chosen = islice(problems, limit)
    return chosen if language is None else (_with_language(problem, language) for problem in chosen)


def read_problems(source: str, split: str = "train") -> Iterator[Record]:
    """Yield the problems of a source; `split` is of those that have splits, a known set's own where it lacks that one.

    Raises:
        UserError: as `select_problems` does.
    """
    name, _, copy = source.partition("=")
    known = find_known_set(name)
    if known and not copy:
        has_it = split in known.splits
    else:
        embedded = source in EMBEDDED + EMBEDDED_PAIRS
        has_it = embedded or bool(HUB_NAME.fullmatch(source)) or Path(copy if known else source).is_dir()
    return select_problems(Request(source, split if has_it else None))


def read_problem_list(source: str, split: str) -> list[Record]:
    """Return the problems of a source.

    Raises:
        UserError: there are none, or an id stands twice.
    """
    problems = list(unique_problems(read_problems(source, split)))
    if not problems:
        raise UserError(source, "holds no problems", "give at least one")
    return problems


def open_rows(request: Request) -> tuple[KnownSet | None, Iterator[Record]]:
    """Return the set that a source is known as, if it is, and the source's rows.

    Raises:
        UserError: there is no such source; names the nearest.
    """
    source = request.source
    name, is_copy, file = source.partition("=")
    known = find_known_set(name if is_copy else source)
    _refuse_idle_flags(request, file if known and is_copy else source)
    if source in EMBEDDED + EMBEDDED_PAIRS:
        return None, _shuffled(read_records(str(embedded_file(source, request.split or "train"))), request)
    if source.startswith(GYM):
        from r1kit.reasoning_gym_tasks import make_problems

        task = source.removeprefix(GYM)
        return None, _shuffled(make_problems(task, request.n or 1000, request.seed, request.task_args), request)
    if known and is_copy:
        return known, _file_rows(file, request)
    if source == STDIO or Path(source).exists():
        return None, _file_rows(source, request)
    if known or HUB_NAME.fullmatch(source):
        from r1kit.hub import read_hub

        return known, read_hub(source, known, request)
    raise _unknown(source)


def _refuse_idle_flags(request: Request, path: str) -> None:
    """Refuse flags that a source has no use for.

    Raises:
        UsageError: names the flag.
    """
    made, is_file = path.startswith(GYM), path == STDIO or Path(path).is_file()
    embedded = path in EMBEDDED + EMBEDDED_PAIRS
    if request.split and (made or (is_file and not embedded)):
        raise UsageError("--split", f"{path} has no splits", "leave it out")
    if request.config and (made or embedded or Path(path).exists() or path == STDIO):
        raise UsageError("--config", f"{path} has no configurations", "leave it out")
    if request.n and not made:
        raise UsageError("--n", "is for problems that reasoning-gym makes", "say --limit for at most so many")
    if request.task_args and not made:
        raise UsageError("--task-arg", "is for tasks of reasoning-gym", f"name one as {GYM}TASK")


def _file_rows(path: str, request: Request) -> Iterator[Record]:
    return _shuffled(read_rows(path, request.split), request)


def _shuffled(rows: Iterator[Record], request: Request) -> Iterator[Record]:
    return shuffle_rows(rows, request.seed) if request.shuffle else rows


def _unknown(source: str) -> UnknownSourceError:
    names = [
        *EMBEDDED,
        *EMBEDDED_PAIRS,
        *KNOWN_SETS,
        *(f"{name}={source.partition('=')[2]}" for name in KNOWN_SETS if "=" in source),
    ]
    near = get_close_matches(source, names, 3)
    what = "no such file or known set"
    remedy = f"the nearest is {' or '.join(near)}" if near else f"the embedded sets are {', '.join(EMBEDDED)}"
    return UnknownSourceError(source, what, f"{remedy}; r1kit data --list names them all")


def embedded_file(name: str, split: str) -> Path:
    """Return the file of an embedded set."""
    if split not in SPLITS:
        raise UsageError("--split", f'unknown split "{split}"', f"the splits are {', '.join(SPLITS)}")
    return FOLDER / f"{name}.{split}.jsonl"


def known_sources() -> list[str]:
    """Return what there is to name as a source, as lines of text."""
    from r1kit.reasoning_gym_tasks import task_names

    lines = ["embedded (train, test):"]
    lines += [f"  {name:<14} {_count(name)}" for name in EMBEDDED + EMBEDDED_PAIRS]
    lines += ["", "of the Hugging Face hub, or a copy of it as NAME=FILE:"]
    lines += [f"  {name:<14} {known.line()}" for name, known in KNOWN_SETS.items()]
    tasks = task_names()
    lines += ["", f"made by reasoning-gym, as {GYM}TASK: " + (", ".join(tasks) or "pip install 'r1kit[reasoning-gym]'")]
    return lines


def _count(name: str) -> str:
    counts = [sum(1 for _ in embedded_file(name, split).open(encoding="utf-8")) for split in SPLITS]
    first = next(read_records(str(embedded_file(name, "train"))))
    what = "pairs" if name in EMBEDDED_PAIRS else "problems"
    return f"{first.get('kind', ''):<8}{counts[0]:,} and {counts[1]:,} {what}"


def parse_renames(pairs: Iterable[str]) -> dict[str, str]:
    """Return {old: new} of "new=old" pairs.

    Raises:
        UsageError: a pair that is not of that form.
    """
    renames = {}
    for pair in pairs:
        new, separator, old = pair.partition("=")
        if not (new and separator and old):
            raise UsageError("--map", f'"{pair}" is not NEW=OLD', "write --map prompt=question, for instance")
        renames[old] = new
    return renames


def parse_task_args(pairs: Iterable[str]) -> dict[str, Any]:
    """Return {key: value} of "key=value" pairs; a value is read as JSON where it is JSON, else as text.

    Raises:
        UsageError: a pair that is not of that form.
    """
    settings = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not (key and separator):
            raise UsageError("--task-arg", f'"{pair}" is not KEY=VALUE', "write --task-arg max_terms=4, for instance")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


def _rename(record: Record, renames: Mapping[str, str]) -> Record:
    """Return a record with fields renamed; one that is a path is copied from where it is."""
    if not renames:
        return record
    kept = {key: value for key, value in record.items() if key not in renames.values() or key in renames}
    found = {
        new: value for old, new in renames.items() if old not in record and (value := _at(record, old)) is not None
    }
    return Record({renames.get(key, key): value for key, value in kept.items()} | found, record.place)


def _at(record: Any, path: str) -> Any:
    """Return what stands at a path of a record ("extra_info.answer"; of a list by number), None where nothing does."""
    for step in path.split("."):
        if isinstance(record, list) and step.isdecimal() and int(step) < len(record):
            record = record[int(step)]
        elif isinstance(record, dict):
            record = record.get(step)
        else:
            return None
    return record


def _with_language(problem: Record, language: str) -> Record:
    """Return a problem with the language that it lacks; "auto": that of its prompt, if it can be told."""
    if problem.get("language") is not None:
        return problem
    if language == "auto":
        from r1kit.rewards.language import language_of

        prompt = problem["prompt"]
        text = prompt if isinstance(prompt, str) else "\n".join(str(message.get("content")) for message in prompt)
        return problem.derive(language=found) if (found := language_of(text)) else problem
    return problem.derive(language=language)
