"""A seeded sample of whole groups, the same problems from every file."""

import heapq
from typing import Generic, TypeVar

from r1kit.row_files import chance

Item = TypeVar("Item")


class GroupSample(Generic[Item]):
    """Keeps the groups whose keys draw the lowest numbers, until they hold `quota` items, in constant memory.

    The numbers depend on seed and key alone, so that samples of several files hold the same problems where these have
    them. A group is kept whole or not at all; the items of one need not come together.
    """

    def __init__(self, quota: int, seed: int):
        self.quota, self.seed, self.size = quota, seed, 0
        self._groups: dict[str, list[Item]] = {}
        self._worst: list[tuple[float, str]] = []  # a heap of the numbers drawn, negative: the largest is on top

    def takes(self, key: str) -> bool:
        """Tell whether items of a group would be kept, as far as is known by now."""
        return key in self._groups or self.size < self.quota or chance(self.seed, key) < -self._worst[0][0]

    def add(self, key: str, items: list[Item]) -> None:
        """Keep the items of a group that it takes, and drop groups that they take the place of."""
        if key not in self._groups:
            heapq.heappush(self._worst, (-chance(self.seed, key), key))
            self._groups[key] = []
        self._groups[key] += items
        self.size += len(items)
        while self.size - len(self._groups[self._worst[0][1]]) >= self.quota:
            _, dropped = heapq.heappop(self._worst)
            self.size -= len(self._groups.pop(dropped))

    def groups(self) -> list[list[Item]]:
        """Return what is kept, in the order in which the groups came."""
        return list(self._groups.values())


def share_out(total: int, wanted: list[int]) -> list[int]:
    """Return how many of `total` each gets: all it wants, where the others' equal share allows it."""
    given = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    for done, place in enumerate(order):
        given[place] = min(wanted[place], -(-total // (len(order) - done)))
        total -= given[place]
    return given
