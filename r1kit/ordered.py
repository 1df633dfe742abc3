"""Records that are made in any order and leave in the order of the input."""

import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from r1kit.jsonl import Record


class Placed(NamedTuple):
    """A record, and where it belongs: the number of its problem, and its place among that problem's `of` records."""

    problem: int
    sample: int
    of: int
    record: Record


def in_order(placed: Iterable[Placed]) -> Iterator[Record]:
    """Yield records by their places, each as soon as all before it have left."""
    waiting: list[Placed] = []
    problem = sample = 0
    for item in placed:
        heapq.heappush(waiting, item)
        while waiting and waiting[0][:2] == (problem, sample):
            _, _, of, record = heapq.heappop(waiting)
            yield record
            problem, sample = (problem, sample + 1) if sample + 1 < of else (problem + 1, 0)
    assert not waiting, "a record never came"
