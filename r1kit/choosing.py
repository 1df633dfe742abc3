"""Which of a problem's rollouts are kept: the best, the shortest, some at random, or those that differ most."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from r1kit.jsonl import Record
from r1kit.prose import reasoning_of, words_of
from r1kit.records import SelectName

NGRAM = 3  # words, by whose sets two chains of thought are compared


def length_of(rollout: Mapping[str, Any]) -> int:
    """Return the tokens of a completion; its characters where they were not counted."""
    tokens = rollout.get("completion_tokens")
    return len(rollout["completion"]) if tokens is None else tokens


def best_first(pool: Sequence[Record]) -> list[Record]:
    """Return rollouts by reward, then the shortest first; of equals the first sample."""
    return sorted(pool, key=lambda rollout: (-(rollout["reward"] or 0.0), length_of(rollout), rollout["sample"]))


def choose(
    pool: Sequence[Record], keep: int | None, select: SelectName, seed: int, accept: Callable[[Record], bool]
) -> list[Record]:
    """Return up to `keep` (None: all) rollouts of one problem that `accept` takes; it is asked for no more than needed.

    best: by reward, then length. shortest, longest: by length. random: in an order that belongs to the seed and the
    problem's id. diverse: the best, then always the one that is farthest from what is kept, by the Jaccard distance of
    the sets of 3-grams of words of their chains of thought. Ties go to the better one, then to the first sample.
    """
    kept: list[Record] = []
    for rollout in _in_order(pool, select, seed, kept):
        if keep is not None and len(kept) >= keep:
            break
        if accept(rollout):
            kept.append(rollout)
    return kept


def _in_order(pool: Sequence[Record], select: SelectName, seed: int, kept: list[Record]) -> Iterator[Record]:
    """Yield rollouts in the order in which they are tried; `kept` grows meanwhile."""
    best = best_first(pool)
    match select:
        case "random":
            best.sort(key=lambda rollout: rollout["sample"])
            Random(f"{seed} {best[0]['id'] if best else ''}").shuffle(best)
        case "shortest":
            best.sort(key=length_of)
        case "longest":
            best.sort(key=length_of, reverse=True)
        case "diverse":
            return _farthest_first(best, kept)
    return iter(best)


def _farthest_first(best: list[Record], kept: list[Record]) -> Iterator[Record]:
    left = [(rollout, _ngrams(reasoning_of(rollout))) for rollout in best]
    distances, measured = [1.0] * len(left), 0
    while left:
        place = max(range(len(left)), key=distances.__getitem__)
        (rollout, ngrams), _ = left.pop(place), distances.pop(place)
        yield rollout
        if len(kept) > measured:  # it was accepted
            measured = len(kept)
            distances = [
                min(distance, jaccard_distance(ngrams, other))
                for distance, (_, other) in zip(distances, left, strict=True)
            ]


def _ngrams(text: str) -> frozenset[tuple[str, ...]]:
    words = words_of(text.lower())
    size = min(NGRAM, len(words))
    return frozenset(zip(*(words[start:] for start in range(size)), strict=False))


def jaccard_distance(a: frozenset[Any], b: frozenset[Any]) -> float:
    """Return 1 minus the share of what either has that both have; 0 of two empty sets."""
    either = len(a | b)
    return 1 - len(a & b) / either if either else 0.0
