"""What held-out pairs say of a reward model, by hand."""

from math import log

import pytest

from r1kit.reward_report import Scores, calibrate, report_on


def scores(difference, chosen=5, rejected=5, prompt=0):
    return Scores(difference, 0.0, chosen, rejected, prompt)


def test_accuracy_is_a_mean_over_prompts():
    pairs = [scores(1.0, prompt=0), scores(1.0, prompt=0), scores(-1.0, prompt=1)]
    assert report_on(pairs, "longer").accuracy.value == 0.5
    assert report_on(pairs, "longer").prompts == 2
    assert report_on([scores(0.0), scores(1.0)], "longer").accuracy.value == 0.75


def test_the_rule_of_length_is_measured_beside_the_model():
    pairs = [
        scores(1.0, 9, 2, prompt=0),
        scores(1.0, 2, 9, prompt=1),
        scores(-1.0, 2, 9, prompt=2),
        scores(1.0, prompt=3),
    ]
    longer, shorter = (report_on(pairs, rule) for rule in ("longer", "shorter"))
    assert (longer.length_only.value, shorter.length_only.value) == (0.375, 0.625)
    assert (longer.against, longer.against_length.value) == (2, 0.5)
    assert (shorter.against, shorter.against_length.value) == (1, 1.0)
    assert report_on(pairs[:1], "longer").against_length is None


def test_what_is_predicted_is_held_to_what_came_true():
    sure, unsure = log(0.95 / 0.05), log(0.6 / 0.4) - 1e-9
    pairs = [*[scores(sure)] * 3, scores(-sure), scores(unsure), scores(-unsure)]
    low, high = calibrate(pairs)
    assert (low.low, low.pairs, low.observed) == (0.5, 2, 0.5)
    assert low.predicted == pytest.approx(0.6)
    assert (high.high, high.pairs, high.observed) == (1.0, 4, 0.75)
    assert high.predicted == pytest.approx(0.95)
    report = report_on(pairs, "longer")
    assert report.calibration_error == pytest.approx((2 * 0.1 + 4 * 0.2) / 6)
    assert report.lines()[-1] == "expected calibration error: 16.7 points"
    assert report.as_json()["calibration"][0]["pairs"] == 2


def test_a_certain_pair_is_in_the_last_bin():
    assert calibrate([scores(800.0), scores(-800.0)])[0][:3] == (0.9, 1.0, 2)
