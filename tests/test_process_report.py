"""The report on a process reward model, by hand."""

from math import log

import pytest

from r1kit.process_report import Scored, first_wrong, largest_fall, mean_loss, report_on

ROWS = [
    Scored([1, 1, 0, 0], [0.9, 0.7, 0.4, 0.6], 1),  # found at the third step; the fourth is told wrongly
    Scored([1, 0], [0.2, 0.1], 1),  # told to be wrong too early
    Scored([1, 1, 1], [0.9, 0.9, 0.9], 2),
    Scored([0.5, 1], [0.5, 0.9], 3),  # one half is not right
]


def test_the_first_step_that_is_not_right():
    assert [first_wrong(row.labels) for row in ROWS] == [2, 1, None, 0]
    assert [first_wrong(row.scores) for row in ROWS] == [2, 0, None, 0]


def test_the_step_at_which_the_score_falls_most():
    assert [largest_fall(row.scores) for row in ROWS] == [2, 0, 0, 0]
    assert largest_fall([0.9, 0.5, 0.6, 0.2]) == 1
    assert largest_fall([0.4]) == 0


def test_accuracy_and_the_first_wrong_step_are_means_over_prompts():
    report = report_on(ROWS)
    assert (report.rows, report.prompts, report.steps, report.wrong_rows) == (4, 3, 11, 3)
    assert report.accuracy.value == pytest.approx(((3 / 4 + 1 / 2) / 2 + 1 + 1) / 3)
    assert report.majority == pytest.approx(7 / 11)
    assert report.found.value == pytest.approx((1 / 2 + 1) / 2)
    assert report.by_fall.value == pytest.approx((1 / 2 + 1) / 2)
    assert report.by_chance == pytest.approx((1 / 4 + 1 / 2 + 1 / 2) / 3)
    assert "first wrong step found        75.0 %" in report.lines()[2]
    assert report.as_json()["first_wrong_step"]["value"] == 0.75


def test_rows_without_a_wrong_step_say_nothing_of_finding_it():
    report = report_on(ROWS[2:3])
    assert (report.found, report.by_fall, report.by_chance, len(report.lines())) == (None, None, None, 2)
    assert report.as_json()["first_wrong_step"] is None


def test_the_loss_of_a_step_is_its_cross_entropy():
    rows = [Scored([0.25], [0.5], 1), Scored([1.0, 0.0], [0.8, 1.0], 2)]
    assert mean_loss(rows) == pytest.approx((log(2) - log(0.8) - log(1e-12)) / 3)
