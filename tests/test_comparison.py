import random
from itertools import product
from statistics import fmean

import numpy as np
import pytest

from r1kit.comparison import EXACT_PATTERNS, compare, estimate_difference, permutation_p


def named(values):
    return {f"p{number}": value for number, value in enumerate(values)}


def test_a_comparison_by_hand():
    """Differences 0.5, 0, 1, -0.5: mean 0.25, standard deviation 0.6455, half width 3.1824 * 0.6455 / 2 = 1.0271.

    Of the 8 patterns of three signs the sum is 1 or more, either way, in +++, +-+ twice (0.5 + 1 - 0.5), and mirrored.
    """
    comparison = compare(named([0, 1, 0, 0.5]), named([0.5, 1, 1, 0]))
    assert (comparison.problems, comparison.better, comparison.worse) == (4, 2, 1)
    assert comparison.difference.value == 0.25
    assert comparison.difference.low == pytest.approx(0.25 - 1.0271, abs=1e-4)
    assert comparison.difference.high == 1
    assert comparison.p == 6 / 8
    assert comparison.as_json() == {
        "problems": 4,
        "difference": {"value": 0.25, "low": -0.7771, "high": 1.0},
        "p": 0.75,
        "better": 2,
        "worse": 1,
    }


def test_only_problems_that_both_have_count():
    comparison = compare({"a": 0.0, "b": 0.5, "c": 1.0}, {"c": 0.0, "b": 1.0, "d": 1.0})
    assert (comparison.problems, comparison.better, comparison.worse) == (2, 1, 1)
    assert compare({"a": 1.0}, {"b": 1.0}) is None
    assert compare({}, {}) is None


def test_a_comparison_turned_round_is_its_negative():
    draw = random.Random(0)
    first, second = (named(draw.randint(0, 4) / 4 for _ in range(40)) for _ in range(2))
    there, back = compare(first, second), compare(dict(reversed(second.items())), first)
    assert there.difference.value == pytest.approx(-back.difference.value)
    assert there.difference.low == pytest.approx(-back.difference.high)
    assert (there.better, there.worse) == (back.worse, back.better)
    assert there.p == pytest.approx(back.p, abs=0.02)


def test_models_that_never_differ_might_still_differ_elsewhere():
    """30 problems without a difference: one on up to 2.0452^2 / (30 + 2.0452^2) = 12.2 % of others is possible."""
    comparison = compare(named([0.5] * 30), named([0.5] * 30))
    assert comparison.p == 1
    assert (comparison.difference.value, comparison.difference.low) == (0, pytest.approx(-0.1224, abs=1e-4))
    assert comparison.difference.high == -comparison.difference.low


def test_one_problem_says_nothing():
    comparison = compare({"a": 0.0}, {"a": 1.0})
    assert (comparison.difference.value, comparison.difference.low, comparison.p) == (1, None, 1)


@pytest.mark.parametrize("seed", range(20))
def test_p_is_that_of_all_patterns_of_signs(seed):
    draw = random.Random(seed)
    differences = [draw.randint(-4, 4) / 4 for _ in range(draw.randint(1, 9))]
    observed = abs(sum(differences))
    patterns = product((-1, 1), repeat=len(differences))
    sums = [abs(sum(sign * size for sign, size in zip(signs, differences, strict=True))) for signs in patterns]
    assert permutation_p(np.array(differences)) == pytest.approx(fmean(s >= observed for s in sums))


def test_sums_that_tie_up_to_rounding_tie():
    """0.1 + 0.2 is not 0.3: the observed sum 0.1 + 0.2 - 0.3 is 0, as small as a sum can be."""
    assert permutation_p(np.round([0.1, 0.2, -0.3], 12)) == 1
    thirds = np.round([1 / 3, 1 / 3, 1 / 3, -1.0], 12)
    assert permutation_p(thirds) == 1


def test_drawn_patterns_come_near_to_all_of_them():
    draw = np.random.default_rng(1)
    differences = np.round(draw.integers(-8, 11, size=14) / 8, 12)
    differences[differences == 0] = 0.5
    exact = permutation_p(differences)
    assert 0.02 < exact < 0.98
    assert 2 ** len(differences) == EXACT_PATTERNS
    tiny = np.append(differences, 1e-8)  # one sign more, which changes no sum that matters: now they are drawn
    drawn = permutation_p(tiny)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=0.02)  # four standard deviations
    assert drawn == permutation_p(tiny)


def test_a_sure_difference_has_the_smallest_p_there_is():
    assert permutation_p(np.full(1_000_000, 0.25)) == pytest.approx(1 / 10_001)
    assert permutation_p(np.full(10, 0.25)) == 2 / 2**10


@pytest.mark.parametrize("problems", [12, 40])
def test_p_is_uniform_where_the_models_are_the_same(problems):
    draw = np.random.default_rng(0)
    rates = draw.beta(2, 1, size=(200, problems))
    samples = draw.binomial(64, rates, size=(2, 200, problems)) / 64
    values = [permutation_p(np.round(difference, 12)) for difference in samples[1] - samples[0]]
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        assert fmean(p <= level for p in values) == pytest.approx(level, abs=4 * (level * (1 - level) / 200) ** 0.5)


def test_the_interval_of_a_difference_covers_the_truth_95_times_in_100():
    """The second model is right as often as the first, and on a tenth of the rest."""
    draw, hits = np.random.default_rng(0), 0
    rates = draw.beta(1, 1, size=(3000, 30))
    first, second = draw.binomial(16, rates) / 16, draw.binomial(16, rates + 0.1 * (1 - rates)) / 16
    for differences in second - first:
        estimate = estimate_difference(differences)
        hits += estimate.low <= 0.05 <= estimate.high
    assert 0.93 <= hits / 3000 <= 0.97
