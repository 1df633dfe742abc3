"""Problems that do not go on: why, in a report and in a file."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from r1kit.jsonl import Record

SHOWN = 3  # examples of each reason


class Reason(NamedTuple):
    """Why a problem goes, or is only spoken of."""

    why: str
    of: str  # the id of what it equals
    similarity: float | None = None
    ngram: str | None = None
    benchmark: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what is known of it."""
        return {name: value for name, value in self._asdict().items() if value is not None}

    def line(self, problem_id: str) -> str:
        """Return it as a line of the report."""
        of = f"{self.of} of {self.benchmark}" if self.benchmark else self.of
        similarity = "" if self.similarity is None else f" ({self.similarity:.2f})"
        return f"{problem_id} ~ {of}{similarity}" + (f': "{self.ngram}"' if self.ngram else "")


class Removed:
    """What was taken out so far: counts, first examples, and where the records go."""

    def __init__(self, write: Callable[[dict[str, Any]], None] | None = None):
        self._write, self._problems = write, 0
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}
        self._mentioned: Counter[str] = Counter()

    def count(self, problems: Iterable[Record]) -> Iterator[Record]:
        """Yield problems, and count them."""
        for problem in problems:
            self._problems += 1
            yield problem

    def add(self, problem: Record, reason: Reason) -> None:
        """Take a problem out."""
        self._note(self._counts, problem, reason)
        if self._write:
            self._write(problem.derive(removed=reason.as_json()))

    def mention(self, problem: Record, reason: Reason) -> None:
        """Speak of a problem that stays."""
        self._note(self._mentioned, problem, reason)

    def lines(self) -> list[str]:
        """Return the report as text."""
        counts = ", ".join(f"{count:,} {why}" for why, count in self._counts.items())
        total = f"{self._counts.total():,} of {self._problems:,} problems"
        lines = [f"removed: {total} ({counts})" if counts else f"removed: {total}"]
        for why in self._counts:
            lines += [f"  {why}: {example}" for example in self._examples[why]]
        for why, count in self._mentioned.items():
            lines += [f"kept: {count:,} with {why}", *(f"  {example}" for example in self._examples[why])]
        return lines

    def _note(self, counts: Counter[str], problem: Record, reason: Reason) -> None:
        counts[reason.why] += 1
        examples = self._examples.setdefault(reason.why, [])
        if len(examples) < SHOWN:
            examples.append(reason.line(problem["id"]))
