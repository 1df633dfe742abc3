import random
from math import sqrt
from statistics import fmean, stdev

import pytest

from r1kit.estimates import Z95, Estimate, RunningMean, estimate_mean, percent, with_interval


def test_an_interval_by_hand():
    """0, 1, 1, 1: mean 0.75, standard deviation (n - 1) 0.5, half width 1.96 * 0.5 / 2 = 0.49."""
    estimate = estimate_mean([0, 1, 1, 1])
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.75, 0.26, 1.24), abs=1e-4)
    assert estimate_mean([0, 1, 1, 1], 0, 1).high == 1
    assert estimate_mean([0, 0, 0, 1], 0, 1).low == 0


def test_one_value_has_no_interval_and_none_no_mean():
    assert estimate_mean([0.5]) == Estimate(0.5, None, None)
    assert estimate_mean([]) is None


def test_a_running_mean_is_that_of_the_list():
    draw = random.Random(0)
    values = [1e6 + draw.gauss() for _ in range(1000)]  # a sum of squares would lose the spread here
    running = RunningMean()
    for value in values:
        running.add(value)
    estimate = running.estimate()
    assert estimate.value == pytest.approx(fmean(values), rel=1e-12)
    assert estimate.high - estimate.low == pytest.approx(2 * Z95 * stdev(values) / sqrt(1000), rel=1e-9)


def test_an_estimate_as_text_and_as_json():
    assert with_interval(estimate_mean([0, 1, 1, 1])) == "0.8 [0.3, 1.2]"
    assert percent(estimate_mean([0.5, 0.5])) == "50.0 % [50.0, 50.0]"
    assert percent(estimate_mean([0.25])) == "25.0 %"
    assert percent(None) == "–"
    assert estimate_mean([1 / 3]).as_json() == {"value": 0.3333, "low": None, "high": None}
