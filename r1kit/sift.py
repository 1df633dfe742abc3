"""Problems that are to go, of those that come: duplicates, and what benchmarks hold."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from r1kit.decontaminate import NGRAM, Benchmarks, drop_contaminated
from r1kit.dedup import DedupName, drop_duplicates
from r1kit.errors import UsageError, UserError
from r1kit.jsonl import Record, is_stream, open_output, to_line
from r1kit.removed import Removed
from r1kit.replay import open_replayed, refuse_resume

Write = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Sifting:
    """What is to go."""

    dedup: DedupName | None = None
    decontaminate: tuple[str, ...] = ()  # benchmarks
    ngram: int = NGRAM
    any_numbers: bool = False

    def __bool__(self) -> bool:
        return bool(self.dedup or self.decontaminate)

    def as_json(self) -> dict[str, Any]:
        """Return it as settings of a run."""
        return asdict(self)


@dataclass(frozen=True)
class Outputs:
    """Where problems go."""

    problems: str
    removed: str | None  # those that are taken out; None, where problems go to a stream: nowhere
    resume: bool = False
    overwrite: bool = False


def plan_outputs(output: str, removed: str | None, resume: bool, overwrite: bool) -> Outputs:
    """Return where problems go: those that are taken out to OUTPUT.removed.jsonl unless it is said.

    Raises:
        UsageError: both would go to one place, or a file of removed ones cannot be gone on with.
    """
    if is_stream(output):
        if removed == output:
            raise UsageError("--removed", "is where the others go", "name a file")
        return Outputs(output, removed, resume, overwrite)
    side = removed or str(Path(output).with_suffix(".removed.jsonl"))
    if is_stream(side) or Path(side).absolute() == Path(output).absolute():
        raise UsageError("--removed", "must be a file of its own where -o is one", "name another file")
    return Outputs(output, side, resume, overwrite)


def sift_problems(problems: Iterable[Record], sifting: Sifting, removed: Removed) -> Iterator[Record]:
    """Yield the problems that stay, each as it comes; what a benchmark holds goes first.

    Raises:
        UserError: a benchmark cannot be read, before any problem is.
    """
    kept = removed.count(problems)
    if sifting.decontaminate:
        benchmarks = Benchmarks(sifting.decontaminate, sifting.ngram, sifting.any_numbers)
        kept = drop_contaminated(kept, benchmarks, removed)
    if sifting.dedup:
        kept = drop_duplicates(kept, sifting.dedup, removed)
    return kept


def write_sifted(
    problems: Iterable[Record], sifting: Sifting, limit: int | None, outputs: Outputs, settings: dict[str, Any]
) -> Removed:
    """Write at most `limit` of the problems that stay, and those that go to a file of their own; return what went.

    Raises:
        UserError: as `open_replayed` and `sift_problems` do.
    """
    with ExitStack() as stack:
        write, write_removed = _open(outputs, {**settings, **sifting.as_json()}, stack)
        removed = Removed(write_removed)
        for problem in islice(sift_problems(problems, sifting, removed), limit):
            write(problem)
    return removed


def _open(outputs: Outputs, settings: dict[str, Any], stack: ExitStack) -> tuple[Write, Write | None]:
    """Open both files: as those of one run that can be resumed, or one by one where problems go to a stream."""
    side = outputs.removed
    if not is_stream(outputs.problems):
        assert side is not None, "plan_outputs names one"
        run = open_replayed([outputs.problems, side], settings, outputs.resume, outputs.overwrite)
        problems, removed = stack.enter_context(run)
        return problems.write, removed.write
    refuse_resume(outputs.resume)
    if side and Path(side).is_file() and not outputs.overwrite:
        raise UserError(side, "is there", "say --overwrite, or name another file with --removed")
    write_removed = _line_writer(stack.enter_context(open_output(side))) if side else None
    return _line_writer(stack.enter_context(open_output(outputs.problems))), write_removed


def _line_writer(file: TextIO) -> Write:
    def write(record: dict[str, Any]) -> None:
        file.write(to_line(record))
        file.flush()

    return write
