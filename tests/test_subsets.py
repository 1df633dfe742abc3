"""The formulas against what they stand for: every subset in every order, voted on one by one."""

import random
from itertools import permutations
from math import comb
from statistics import fmean

import pytest

from r1kit import subsets
from r1kit.subsets import best_of_n_accuracy, majority_accuracy, sizes_up_to, weighted_accuracy


def orders(rollouts):
    """Return the ordered samples of m rollouts, for m = 1, 2, 4, … up to all."""
    return [list(permutations(range(rollouts), m)) for m in sizes_up_to(rollouts)]


def weighted_winner(sample, groups, weights):
    """Return the group that leads, the one seen first where several do; None where nobody votes."""
    sums = {}
    for rollout in sample:
        if groups[rollout] is not None:
            sums[groups[rollout]] = sums.get(groups[rollout], 0) + weights[rollout]
    return max(sums, key=sums.__getitem__, default=None)


def by_enumeration(rollouts, is_right):
    return [fmean(map(is_right, samples)) for samples in orders(rollouts)]


@pytest.mark.parametrize("seed", range(40))
def test_majority_is_what_all_subsets_in_all_orders_say(seed):
    draw = random.Random(seed)
    rollouts = draw.randint(1, 8)
    groups = [draw.choice([None, 0, 1, 2, 3]) for _ in range(rollouts)]
    right = tuple(draw.random() < 0.4 for _ in range(4))
    counts = tuple(groups.count(group) for group in range(4))
    expected = by_enumeration(
        rollouts, lambda s: (g := weighted_winner(s, groups, [1] * rollouts)) is not None and right[g]
    )
    assert majority_accuracy(counts, right, rollouts) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_weighted_is_what_all_subsets_in_all_orders_say(seed):
    draw = random.Random(seed)
    rollouts = draw.randint(1, 7)
    groups = [draw.choice([None, 0, 1, 2]) for _ in range(rollouts)]
    weights = [draw.choice([0, 1, 2, 3]) for _ in range(rollouts)]  # sums that often tie
    right = [True, False, draw.random() < 0.3]
    expected = by_enumeration(rollouts, lambda s: (g := weighted_winner(s, groups, weights)) is not None and right[g])
    assert weighted_accuracy(groups, weights, right) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_best_of_n_is_what_all_subsets_in_all_orders_say(seed):
    draw = random.Random(seed)
    rollouts = draw.randint(1, 7)
    scores = [draw.choice([None, 0.1, 0.2, 0.3]) for _ in range(rollouts)]
    right = [draw.random() < 0.5 for _ in range(rollouts)]

    def is_right(sample):
        ranked = [rollout for rollout in sample if scores[rollout] is not None]
        return bool(ranked) and right[max(ranked, key=scores.__getitem__)]

    assert best_of_n_accuracy(scores, right) == pytest.approx(by_enumeration(rollouts, is_right), abs=1e-12)


def test_sizes_may_be_any():
    counts, right, groups = (3, 2, 1), (True, False, False), [0, 0, 0, 1, 1, 2]
    every = tuple(range(1, 7))
    expected = [
        fmean(right[weighted_winner(s, groups, [1] * 6)] for s in permutations(range(6), size)) for size in every
    ]
    good = [right[group] for group in groups]
    assert majority_accuracy(counts, right, 6, every) == pytest.approx(expected)
    assert weighted_accuracy(groups, [1.0] * 6, right, every) == pytest.approx(expected)
    assert best_of_n_accuracy([float(g) for g in good], good, every) == [
        pytest.approx(1 - comb(3, size) / comb(6, size)) for size in every
    ]
    assert majority_accuracy(counts, right, 6, (6,)) == majority_accuracy(counts, right, 6, every)[-1:]


def test_a_majority_by_hand():
    """Of 3 right and 1 wrong: one drawn is right 3 of 4 times; of pairs half are right, half tie; all 4: right."""
    assert majority_accuracy((3, 1), (True, False), 4) == pytest.approx([0.75, 0.75, 1.0])
    assert majority_accuracy((1, 1), (True, False), 2) == pytest.approx([0.5, 0.5])  # a tie is split
    assert majority_accuracy((1,), (True,), 4) == pytest.approx([0.25, 0.5, 1.0])  # three without an answer
    assert majority_accuracy((), (), 2) == [0.0, 0.0]


def test_best_of_n_under_a_perfect_score_is_pass_at_n():
    right = [True] * 5 + [False] * 27
    passes = [1 - comb(27, m) / comb(32, m) for m in sizes_up_to(32)]
    assert best_of_n_accuracy([float(good) for good in right], right) == pytest.approx(passes)


def test_best_of_n_under_a_score_that_says_nothing_is_chance():
    assert best_of_n_accuracy([0.5] * 32, [True] * 5 + [False] * 27) == pytest.approx([5 / 32] * 6)
    assert best_of_n_accuracy([None, None], [True, True]) == [0.0, 0.0]


def test_the_accuracy_of_one_is_the_share_that_is_right_at_any_size():
    counts = (60, 50, 40, 30, 20, 10, 5, *[1] * 30)
    for winner in range(len(counts)):
        right = tuple(group == winner for group in range(len(counts)))
        assert majority_accuracy(counts, right, 256)[0] == pytest.approx(counts[winner] / 256)


def test_somebody_wins():
    """The groups' chances add up to 1 where all rollouts vote, for 256 of them as well: nothing is lost to rounding."""
    for counts in ((128, 128), (16,) * 16, (1,) * 256, (100, 90, 30, 20, 10, 6)):
        assert sum(counts) == 256
        wins = [majority_accuracy(counts, tuple(g == w for g in range(len(counts))), 256) for w in range(len(counts))]
        assert [sum(column) for column in zip(*wins, strict=True)] == pytest.approx([1.0] * 9, abs=1e-9)


def test_drawn_subsets_come_near_to_the_exact_majority():
    counts, right = (30, 20, 10, 4), (False, True, False, False)
    groups = [group for group, count in enumerate(counts) for _ in range(count)]
    drawn = weighted_accuracy(groups, [1.0] * 64, right)
    assert drawn == weighted_accuracy(groups, [1.0] * 64, right)
    assert drawn == pytest.approx(majority_accuracy(counts, right, 64), abs=0.09)  # four standard deviations
    assert drawn[:2] == pytest.approx(majority_accuracy(counts, right, 64)[:2])  # those are enumerated


def test_many_rollouts_are_drawn_from():
    rollouts = subsets.EXACT_ROLLOUTS + 100
    accuracy = majority_accuracy((600, 300), (True, False), rollouts)
    assert accuracy[0] == pytest.approx(600 / rollouts, abs=0.09)
    assert accuracy[-1] == 1.0
    assert len(accuracy) == 11
