"""Problems that are to go, of those that come: duplicates, and what benchmarks hold."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from r1kit.decontaminate import NGRAM, Benchmarks, drop_contaminated
from r1kit.dedup import DedupName, drop_duplicates
from r1kit.errors import UsageError, UserError
from r1kit.jsonl import Record, ending, is_stream, open_output, to_line, write_records
from r1kit.removed import Removed
from r1kit.replay import open_replayed, refuse_resume


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
