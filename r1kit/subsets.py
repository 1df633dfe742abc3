"""What fewer rollouts would have decided: how often a vote is right, over all subsets of a problem's rollouts.

m of the N rollouts are drawn without replacement, in random order; of answers that tie, the one seen first wins. The
mean over all subsets and orders estimates the accuracy of a vote of m rollouts without bias, as Chen et al. 2021 (arXiv
2107.03374, section 2.1) do for pass@k. Majority and best-of-n are computed exactly; for weighted votes the subsets are
enumerated where they are few, else drawn.

Each function returns a list: the accuracy for each m of `sizes`, none of which is above N; without them for 1, 2, 4, …
up to N. G is the number of groups of equal answers; a rollout that does not vote is in none of them. A subset in which
nobody votes is wrong.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np

EXACT_ROLLOUTS = 1000  # of more, the number of subsets passes the range of a float
EXACT_SUBSETS = 13_000  # enough for any of 16 rollouts
DRAWS = 500  # of subsets, where there are more; a problem's estimate then errs by 0.022 (standard deviation) at most
EQUAL = 1e-9  # sums of weights that differ by a smaller share tie


def sizes_up_to(rollouts: int) -> list[int]:
    """Return the powers of two from 1 up to a number of rollouts."""
    return [1 << power for power in range(rollouts.bit_length())]


@lru_cache(maxsize=4096)
def majority_accuracy(
    counts: tuple[int, ...], right: tuple[bool, ...], rollouts: int, sizes: tuple[int, ...] | None = None
) -> list[float]:
    """Return how often the majority of m of N = `rollouts` is right, exactly up to `EXACT_ROLLOUTS`.

    A right group wins with k votes where no other has more, and where of those that have k it is seen first, which is
    as likely for each of them. Such subsets are counted by dynamic programming over the groups, for all m at once.

    Args:
        counts: the rollouts of each group (G,).
        right: whether its answer is right (G,).
    """
    if rollouts > EXACT_ROLLOUTS:
        groups = [group for group, count in enumerate(counts) for _ in range(count)]
        return weighted_accuracy([*groups, *[None] * (rollouts - len(groups))], [1.0] * rollouts, right, sizes)
    ways = np.zeros(rollouts + 1)
    for winner in np.flatnonzero(right):
        others = counts[:winner] + counts[winner + 1 :]
        for votes in range(1, counts[winner] + 1):
            ways += comb(counts[winner], votes) * _ways_to_lead(votes, others, rollouts - counts[winner], rollouts)
    return [float(ways[m]) / comb(rollouts, m) for m in sizes or sizes_up_to(rollouts)]


def _ways_to_lead(votes: int, others: Sequence[int], pool: int, rollouts: int) -> np.ndarray:
    """Return how many ways there are to lead with `votes`, by the number of rollouts drawn (N + 1,).

    A way in which t others have as many counts 1 / (t + 1). Only groups of at least `votes` are rivals; the rest of the
    `pool`, which is all rollouts but the leader's, may be drawn freely.
    """
    rivals = [count for count in others if count >= votes]
    stride = len(rivals) * (votes - 1) + 1
    ways = np.zeros(stride)  # with t rivals that tie and b rollouts of those behind: at t * stride + b
    ways[0] = 1.0
    for count in rivals:
        behind = np.convolve(ways, _binomials(count)[:votes])[: len(ways)]  # what is cut off is 0
        ties = comb(count, votes) * ways
        ways = np.append(behind, np.zeros(stride))
        ways[stride:] += ties
    tied, below = np.divmod(np.arange(len(ways)), stride)
    led = np.bincount(votes * (1 + tied) + below, ways / (1 + tied))
    return np.convolve(np.append(led, np.zeros(rollouts)), _binomials(pool - sum(rivals)))[: rollouts + 1]


@lru_cache(maxsize=EXACT_ROLLOUTS)
def _binomials(n: int) -> np.ndarray:
    return np.array([comb(n, k) for k in range(n + 1)], dtype=float)


def best_of_n_accuracy(
    scores: Sequence[float | None], right: Sequence[bool], sizes: Sequence[int] | None = None
) -> list[float]:
    """Return how often the rollout with the highest score is right; of equal scores each is as likely to come first.

    Args:
        scores: of each rollout (N,); one of None is never chosen.
        right: whether its answer is right (N,).
    """
    scored = [(score, good) for score, good in zip(scores, right, strict=True) if score is not None]
    values = np.array([score for score, _ in scored])
    _, blocks = np.unique(-values, return_inverse=True)  # of equal score, the best first
    size = np.bincount(blocks)
    share = np.bincount(blocks, [good for _, good in scored]) / size
    end = np.cumsum(size)
    passed_over = [_passed_over(len(scores), m) for m in sizes or sizes_up_to(len(scores))]
    return [float((none[end - size] - none[end]) @ share) for none in passed_over]


def _passed_over(rollouts: int, drawn: int) -> np.ndarray:
    """Return the probability (N + 1,) that none of the first 0, 1, 2, … N rollouts is among those drawn."""
    before = np.arange(rollouts)
    return np.append(1.0, np.cumprod(np.maximum(0, rollouts - drawn - before) / (rollouts - before)))


def weighted_accuracy(
    groups: Sequence[int | None],
    weights: Sequence[float],
    right: Sequence[bool],
    sizes: Sequence[int] | None = None,
) -> list[float]:
    """Return how often the group with the largest sum of weights is right.

    Of groups that tie, the one seen first wins: one with two rollouts is so twice as likely as one with one.

    Args:
        groups: of each rollout (N,), an index into `right`; None does not vote.
        weights: of each rollout (N,), 0 or more.
        right: whether a group's answer is right (G,).
    """
    sizes = sizes or sizes_up_to(len(groups))
    if not any(right):
        return [0.0] * len(sizes)
    members = np.zeros((len(groups), len(right)))
    for rollout, group in enumerate(groups):
        if group is not None:
            members[rollout, group] = 1.0
    weighed = members * np.array(weights)[:, None]
    return [_share_right(_subsets(len(groups), m), members, weighed, np.array(right)) for m in sizes]


def _share_right(subsets: np.ndarray, members: np.ndarray, weighed: np.ndarray, right: np.ndarray) -> float:
    """Return the share of subsets (S, N) whose winner is right; members and weights are (N, G)."""
    seen = subsets @ members
    sums = np.where(seen > 0, subsets @ weighed, -1.0)
    first = seen * (sums >= sums.max(axis=1, keepdims=True) * (1 - EQUAL))
    return float(np.mean((first @ right) / np.maximum(1, first.sum(axis=1))))


@lru_cache(maxsize=16)
def _subsets(rollouts: int, drawn: int) -> np.ndarray:
    """Return subsets of m rollouts, as rows (S, N) of 0 and 1: all, or `DRAWS` that are always the same."""
    if comb(rollouts, drawn) <= EXACT_SUBSETS:
        rows = np.array(list(combinations(range(rollouts), drawn)))
    else:
        random = np.random.default_rng(drawn)
        rows = random.permuted(np.tile(np.arange(rollouts), (DRAWS, 1)), axis=1)[:, :drawn]
    subsets = np.zeros((len(rows), rollouts))
    np.put_along_axis(subsets, rows, 1.0, axis=1)
    return subsets
