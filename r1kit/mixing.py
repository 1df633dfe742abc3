"""Rows of other files, spread evenly among the rows of one: each file in the share of the whole that is asked for."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from r1kit.errors import UsageError, UserError
from r1kit.jsonl import Record
from r1kit.rows import read_rows
from r1kit.shuffled import shuffle_rows


class Share(NamedTuple):
    """A file, and the share of all rows that are to be its."""

    path: str
    share: float


@dataclass
class Mixed:
    """What came of a share."""

    wanted: Share
    rows: int = 0
    exhausted: bool = False  # the file had fewer rows than the share takes

    def line(self, total: int) -> str:
        """Return what came of it as text, of so many rows in all."""
        path, share = self.wanted
        reached = self.rows / total if total else 0.0
        short = f" of {share:.1%}: the file has no more, and none is taken twice" if self.exhausted else ""
        return f"  mixed in: {self.rows} rows of {path}, {reached:.1%}{short}"


def parse_mix(texts: Sequence[str]) -> list[Share]:
    """Return the shares of "FILE:SHARE" texts.

    Raises:
        UsageError: one is not of that form, or they leave nothing for the rest.
        UserError: a file is not there.
    """
    shares = [_parse_share(text) for text in texts]
    if sum(share for _, share in shares) >= 1:
        raise UsageError("--mix", "the shares add up to 1 or more", "leave a share for the rollouts")
    return shares


def _parse_share(text: str) -> Share:
    path, _, number = text.rpartition(":")
    try:
        share = float(number)
    except ValueError:
        share = 0.0
    if not (path and 0 < share < 1):
        what = f'"{text}" is not FILE:SHARE with 0 < SHARE < 1'
        raise UsageError("--mix", what, "write --mix general.jsonl:0.25, for instance")
    if not Path(path).exists():  # stdin neither
        raise UserError(path, "cannot be mixed in (no such file)", "name a file of examples")
    return Share(path, share)


def mix_rows(rows: Iterable[Record], mixed: Sequence[Mixed], seed: int) -> Iterator[tuple[Record, Mixed | None]]:
    """Yield rows, and among them the others', each with where it comes from (None: `rows`).

    Each file is shuffled by the seed, and gives a row as soon as its share of what has left falls behind by half a row.
    """
    files: list[Iterator[Record]] = [
        shuffle_rows(iter(read_rows(m.wanted.path)), seed + place) for place, m in enumerate(mixed)
    ]
    rest = 1 - sum(m.wanted.share for m in mixed)
    for count, row in enumerate(rows, start=1):
        yield row, None
        for file, source in zip(files, mixed, strict=True):
            while not source.exhausted and count * source.wanted.share / rest - source.rows >= 0.5:
                other: Any = next(file, None)
                if other is None:
                    source.exhausted = True
                    break
                source.rows += 1
                yield other, source
