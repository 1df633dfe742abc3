"""Where problems come from: the embedded sets, and JSON Lines files."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from r1kit.embedded.problems import FOLDER
from r1kit.errors import UsageError, UserError
from r1kit.jsonl import STDIO, Record, read_records
from r1kit.records import as_problem, unique_problems

EMBEDDED = ("arith", "facts", "functions")
SPLITS = ("train", "test")


def read_problems(source: str, split: str = "train") -> Iterator[Record]:
    """Yield the problems of an embedded set or of a JSON Lines file ("-" is stdin); `split` is for embedded sets.

    Raises:
        UserError: neither a set nor a file, or a record without a prompt.
    """
    if source in EMBEDDED:
        return map(as_problem, read_records(str(embedded_file(source, split))))
    if source != STDIO and not Path(source).exists():
        raise UserError(source, "no such file or embedded set", f"the sets are {', '.join(EMBEDDED)}")
    return map(as_problem, read_records(source))


def read_problem_list(source: str, split: str) -> list[Record]:
    """Return the problems of a source.

    Raises:
        UserError: there are none, or an id stands twice.
    """
    problems = list(unique_problems(read_problems(source, split)))
    if not problems:
        raise UserError(source, "holds no problems", "give at least one")
    return problems


def embedded_file(name: str, split: str) -> Path:
    """Return the file of an embedded set."""
    if split not in SPLITS:
        raise UsageError("--split", f'unknown split "{split}"', f"the splits are {', '.join(SPLITS)}")
    return FOLDER / f"{name}.{split}.jsonl"


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


def select_problems(source: str, split: str, renames: dict[str, str], limit: int | None) -> Iterator[Record]:
    """Yield at most `limit` problems of a source, fields renamed by {old: new} before anything else is read."""
    if source in EMBEDDED or not renames:
        problems = read_problems(source, split)
    else:
        problems = (as_problem(_rename(record, renames)) for record in read_records(source))
    return islice(problems, limit)


def _rename(record: Record, renames: dict[str, str]) -> Record:
    kept = {key: value for key, value in record.items() if key not in renames.values() or key in renames}
    return Record({renames.get(key, key): value for key, value in kept.items()}, record.place)
