import json
from math import sqrt

import pytest
from conftest import r1kit, write_jsonl

from r1kit.errors import UserError
from r1kit.evaluate import estimate_mean, format_table, measure
from r1kit.jsonl import Record


def scored(problem_id, accuracy, extracted="7", tokens=10, **fields):
    return Record(
        {
            "id": problem_id, "answer": "7", "completion": "", "completion_tokens": tokens, "extracted": extracted,
            "rewards": {"accuracy": accuracy, "format": 1.0}, **fields,
        },
        "f:1",
    )  # fmt: skip


ROWS = [
    scored("a", 1.0),
    scored("a", 1.0),
    scored("a", 0.0, "8", 40),
    scored("b", 0.0, "8"),
    scored("b", 0.0, "9"),
    scored("b", 1.0),
]


def test_an_interval_by_hand():
    """0, 1, 1, 1: mean 0.75, standard deviation (n - 1) 0.5, half width 1.96 * 0.5 / 2 = 0.49."""
    estimate = estimate_mean([0, 1, 1, 1])
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.75, 0.26, 1.24), abs=1e-4)
    assert estimate_mean([0, 1, 1, 1], 0, 1).high == 1
    assert estimate_mean([0.5]).low is None
    assert estimate_mean([]) is None


def test_metrics_are_means_over_problems():
    metrics = measure(ROWS)
    assert (metrics.problems, metrics.samples) == (2, 3)
    assert metrics.pass_at_1.value == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert metrics.pass_at_1.high - metrics.pass_at_1.value == pytest.approx(1.959964 * sqrt(2) / 6 / sqrt(2), abs=1e-6)
    assert metrics.cons_at_k.value == 0.5  # a: 7, 7, 8 is right; b: 8, 9, 7 is led by 8
    assert metrics.mean_length.value == 15


def test_what_cannot_be_graded_is_left_out():
    metrics = measure([*ROWS, scored("c", None, answer=None)])
    assert metrics.pass_at_1.value == 0.5
    assert metrics.problems == 3


def test_the_interval_covers_the_truth_95_times_in_100():
    import random

    random.seed(0)
    hits = 0
    for _ in range(2000):
        rates = [random.random() for _ in range(60)]  # problems differ: the mean of their rates is 0.5
        values = [sum(random.random() < rate for _ in range(4)) / 4 for rate in rates]
        estimate = estimate_mean(values)
        hits += estimate.low <= 0.5 <= estimate.high
    assert 0.93 <= hits / 2000 <= 0.97


def test_nothing_to_measure_is_said():
    with pytest.raises(UserError, match="no rollouts to measure"):
        measure([])
    with pytest.raises(UserError, match='no "rewards"; run r1kit reward first'):
        measure([Record({"id": "1", "completion_tokens": 1}, "f:1")])
    with pytest.raises(UserError, match="do not stand together"):
        measure([*ROWS, ROWS[0]])


def test_the_table_has_a_line_a_row():
    table = format_table({"before": measure(ROWS), "after": measure(ROWS)})
    assert "cons@3" in table[0]
    assert table[1].startswith("before")
    assert "50.0 %" in table[2]


def test_saved_rollouts_give_the_same_numbers_again(tmp_path):
    path = write_jsonl(tmp_path / "scored.jsonl", [dict(r) for r in ROWS])
    run = r1kit("eval", path)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"file": str(path), **measure(ROWS).as_json()}


def test_a_model_is_measured_on_a_file(tmp_path):
    path = write_jsonl(
        tmp_path / "p.jsonl",
        [{"prompt": "What is 2 + 3 + 4?", "answer": "9"}, {"prompt": "2 + 2 + 2 = ?", "answer": "6"}],
    )
    run = r1kit("eval", "--model", "base", "--on", path, "--samples", 4, "--max-tokens", 48)
    assert run.returncode == 0, run.stderr
    row = json.loads(run.stdout)
    assert (row["model"], row["benchmark"], row["problems"], row["samples"]) == ("base", str(path), 2, 4)
    assert row["versions"]["r1kit"]


def test_eval_without_anything_to_measure_is_a_usage_error():
    assert r1kit("eval").returncode == 2
    assert r1kit("eval", "--model", "base").returncode == 2
