import random
from math import exp, lgamma, log, sqrt
from statistics import fmean, stdev

import numpy as np
import pytest

from r1kit.estimates import Estimate, RunningMean, estimate_mean, estimate_share, percent, student_t95, with_interval


def test_a_mean_by_hand():
    """0, 1, 1, 1: mean 0.75, standard deviation (n - 1) 0.5, half width 3.1824 * 0.5 / 2 = 0.7956."""
    estimate = estimate_mean([0, 1, 1, 1])
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.75, -0.0456, 1.5456), abs=1e-4)
    assert estimate_mean([0, 1, 1, 1], low=0).low == 0


def test_a_share_by_hand():
    """0, 1, 1, 1: standard error 0.25, so 0.75 * 0.25 / 0.25^2 = 3 trials; t^2 = 10.128.

    Centre (0.75 + 10.128 / 6) / (1 + 10.128 / 3) = 0.5571, half width 3.1824 * sqrt(0.0625 + 10.128 / 36) / 4.376.
    """
    estimate = estimate_share([0, 1, 1, 1])
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.75, 0.1306, 0.9835), abs=1e-4)


def test_problems_that_are_all_right_leave_room_for_doubt():
    """Each is one trial then: 30 / (30 + 2.0452^2) = 0.8776."""
    estimate = estimate_share([1.0] * 30)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1, 0.8776, 1), abs=1e-4)
    zero = estimate_share([0.0] * 30)
    assert (zero.low, zero.high) == pytest.approx((0, 0.1224), abs=1e-4)
    assert zero.low == 0
    same = estimate_share([0.5] * 30)
    assert same.low < 0.35


def test_rounding_is_no_spread():
    noisy = estimate_share([1.0] * 29 + [1 - 2e-16])
    assert noisy.low == pytest.approx(estimate_share([1.0] * 30).low)
    above = estimate_share([1 + 2e-16] * 30)
    assert (above.value, above.high) == (1, 1)


def test_an_interval_is_within_0_and_1_and_holds_the_value():
    draw = random.Random(0)
    for _ in range(500):
        problems, samples, rate = draw.randint(2, 40), draw.randint(1, 8), draw.random()
        values = [sum(draw.random() < rate for _ in range(samples)) / samples for _ in range(problems)]
        estimate = estimate_share(values)
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        mirrored = estimate_share([1 - value for value in values])
        assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((estimate.low, estimate.high), abs=1e-9)


def test_one_value_has_no_interval_and_none_no_mean():
    for estimate in (estimate_mean, estimate_share):
        assert estimate([0.5]) == Estimate(0.5, None, None)
        assert estimate([]) is None


def test_students_t_is_that_of_tables():
    """Values as scipy.stats.t.ppf(0.975, freedom) gives them, to the digits shown."""
    table = {
        1: 12.706205, 2: 4.302653, 3: 3.182446, 4: 2.776445, 5: 2.570582, 6: 2.446912, 7: 2.364624, 8: 2.306004,
        9: 2.262157, 10: 2.228139, 15: 2.131450, 30: 2.042272, 100: 1.983972, 1000: 1.962339,
    }  # fmt: skip
    assert {freedom: student_t95(freedom) for freedom in table} == pytest.approx(table, rel=2.5e-5)
    assert student_t95(10**9) == pytest.approx(1.959964)


def covered(values: np.ndarray, truth: float) -> float:
    """Return the share of rows of values (S, P) whose interval holds the truth."""
    hits = 0
    for mean, squares in zip(values.mean(axis=1), values.var(axis=1) * values.shape[1], strict=True):
        estimate = RunningMean(values.shape[1], mean, squares).share()
        hits += estimate.low <= truth <= estimate.high
    return hits / len(values)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (2, 1), (1, 2), (9, 1), (0.3, 0.1)])
@pytest.mark.parametrize(("problems", "samples"), [(30, 64), (30, 16), (198, 8), (500, 4)])
def test_the_interval_covers_the_truth_95_times_in_100_where_problems_differ(problems, samples, a, b):
    """The rates of problems are drawn from a Beta distribution; the truth is its mean."""
    draw = np.random.default_rng(0)
    rates = draw.beta(a, b, size=(4000, problems))
    assert 0.93 <= covered(draw.binomial(samples, rates) / samples, a / (a + b)) <= 0.97


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5, 2 / 3, 0.9, 0.98])
@pytest.mark.parametrize("problems", [30, 200, 500, 1319])
def test_the_interval_covers_the_truth_95_times_in_100_of_one_sample(problems, rate):
    """Exact, over all numbers of right problems. Of 30 problems those possible are so few that it covers up to 98 %."""
    coverage = 0.0
    for right in range(problems + 1):
        estimate = RunningMean(problems, right / problems, right * (problems - right) / problems).share()
        if estimate.low <= rate <= estimate.high:
            ways = lgamma(problems + 1) - lgamma(right + 1) - lgamma(problems - right + 1)
            coverage += exp(ways + right * log(rate) + (problems - right) * log(1 - rate))
    assert 0.93 <= coverage <= (0.98 if problems == 30 else 0.97)


def test_students_interval_covers_the_truth_95_times_in_100_of_lengths():
    draw = np.random.default_rng(0)
    lengths = draw.gamma(4, 100, size=(3000, 30))
    estimates = [estimate_mean(row, low=0) for row in lengths]
    assert 0.93 <= fmean(e.low <= 400 <= e.high for e in estimates) <= 0.97


def test_a_running_mean_is_that_of_the_list():
    draw = random.Random(0)
    values = [1e6 + draw.gauss() for _ in range(1000)]  # a sum of squares would lose the spread here
    running = RunningMean()
    for value in values:
        running.add(value)
    estimate = running.estimate()
    assert estimate.value == pytest.approx(fmean(values), rel=1e-12)
    assert estimate.high - estimate.low == pytest.approx(2 * student_t95(999) * stdev(values) / sqrt(1000), rel=1e-9)


def test_an_estimate_as_text_and_as_json():
    assert with_interval(estimate_mean([0, 1, 1, 1])) == "0.8 [-0.0, 1.5]"
    assert percent(estimate_share([0, 1, 1, 1])) == "75.0 % [13.1, 98.4]"
    assert percent(estimate_share([0.25])) == "25.0 %"
    assert percent(None) == "–"
    assert estimate_mean([1 / 3]).as_json() == {"value": 0.3333, "low": None, "high": None}
