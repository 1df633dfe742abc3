"""Scores that a reward model has given in a run: what is asked for again is not read again."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Generic, TypeVar

Score = TypeVar("Score")

MOST = 65_536  # scores that are kept, about 10 MB


class ScoreCache(Generic[Score]):
    """The scores of texts, by their hash; the oldest go where there are too many.

    The completions of a group are often the same, and those of a problem that is drawn again.
    """

    def __init__(self, most: int = MOST):
        self.most = most
        self.known: dict[bytes, Score] = {}

    def scores(self, texts: Sequence[tuple[str, ...]], score: Callable[[list[int]], list[Score]]) -> list[Score]:
        """Return the score of each text, in order.

        Args:
            texts: each in its parts, which are told apart.
            score: gives the scores of the texts at such places; asked once, for each text that is not known.
        """
        keys = [_hash(parts) for parts in texts]
        new = {key: place for place, key in reversed(list(enumerate(keys))) if key not in self.known}
        places = sorted(new.values())
        found = {key: self.known[key] for key in keys if key in self.known}
        found |= dict(zip((keys[place] for place in places), score(places) if places else [], strict=True))
        self.known |= found
        for key in list(islice(self.known, max(0, len(self.known) - self.most))):
            del self.known[key]
        return [found[key] for key in keys]


def _hash(parts: tuple[str, ...]) -> bytes:
    digest = blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.digest()
