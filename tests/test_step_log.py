import json

import pytest

from r1kit.jsonl import to_line
from r1kit.reward_spec import parse_rewards
from r1kit.step_log import log_line, zero_signal_share

LOGS = {
    "reward": 99.0,  # the trainer's own readings of the rollouts are passed over
    "completions/mean_length": 99.0,
    "entropy": 0.5,
    "loss": -0.25,
    "grad_norm": 2.0,
    "learning_rate": 1e-6,
    "tokens/generate": 60.0,
    "tokens/train": 45.0,
    "seconds/generate": 0.50004,
    "seconds/grade": 0.1,
    "seconds/train": 2.0,
}
PARTS = parse_rewards("accuracy,format:0.2")


def rollout(problem, sample, verdict, form, tokens, completion="It is 5.", **fields):
    accuracy = {"correct": 1.0, "wrong": 0.0}.get(verdict)
    return {
        "id": problem,
        "sample": sample,
        "completion": completion,
        "finish_reason": "stop",
        "completion_tokens": tokens,
        "rewards": {"accuracy": accuracy, "format": form},
        "reward": (accuracy or 0.0) + 0.2 * form,
        "verdict": verdict,
        **fields,
    }


ROLLOUTS = [
    rollout("a", 0, "correct", 1.0, 10),
    rollout("a", 1, "correct", 1.0, 20, "Wait, it is 5."),
    rollout("b", 0, "wrong", 0.0, 8, finish_reason="length"),
    rollout("b", 1, "wrong", 1.0, 4),
    rollout("c", 0, "correct", 0.0, 6),
    rollout("c", 1, "wrong", 0.0, 3),
    rollout("d", 0, None, 1.0, 5),
    rollout("d", 1, "gold_unparseable", 1.0, 4),
]


def test_a_line_holds_what_is_worked_out_by_hand():
    assert log_line(7, LOGS, ROLLOUTS, PARTS) == {
        "step": 7,
        "reward": pytest.approx((1.2 + 1.2 + 0 + 0.2 + 1 + 0 + 0.2 + 0.2) / 8),
        "rewards": {"accuracy": 0.5, "format": 0.625},
        "accuracy": 0.5,
        "accuracies": {"math": 0.5},
        "length": 7.5,
        "length_right": 12.0,
        "length_wrong": 5.0,
        "truncated": 0.125,
        "entropy": 0.5,
        "zero_signal": 0.5,  # a and d
        "always_right": ["a"],
        "never_right": ["b"],
        "resampled": 0,
        "reflection": 0.125,
        "loss": -0.25,
        "grad_norm": 2.0,
        "learning_rate": 1e-6,
        "tokens": {"generate": 60, "train": 45},
        "tokens_per_second": {"generate": 120.0, "train": 22.5},
        "seconds": {"generate": 0.5, "grade": 0.1, "score": 0.0, "train": 2.0},
    }


def test_what_an_algorithm_has_more_of_is_in_the_line():
    more = {
        "kl": 0.125,
        "clip_ratio/low_mean": 0.25,
        "clip_ratio/high_mean": 0.5,
        "sampling/importance_sampling_ratio/mean": 1.5,
        "logprob_difference": 0.01,
        "rows/trained": 0.75,
        "resampled": 3.0,
    }
    line = log_line(1, {**LOGS, **more}, ROLLOUTS, PARTS)
    readings = ("kl", "clip_low", "clip_high", "importance_ratio", "logprob_difference", "trained", "resampled")
    assert [line[name] for name in readings] == [0.125, 0.25, 0.5, 1.5, 0.01, 0.75, 3]
    assert log_line(1, {**LOGS, "cispo_clip_ratio": 0.5}, ROLLOUTS, PARTS)["clip_high"] == 0.5


def test_what_cannot_be_judged_is_null():
    line = log_line(1, LOGS, ROLLOUTS[6:], PARTS)
    assert [line[name] for name in ("accuracy", "length_right", "length_wrong")] == [None] * 3
    assert line["rewards"] == {"accuracy": None, "format": 1.0}
    assert (line["length"], line["always_right"], line["never_right"]) == (4.5, [], [])


def test_parts_of_one_kind_are_the_mean_over_that_kind():
    parts = parse_rewards("math=accuracy code=accuracy:2,overlong")
    code = {"kind": "code", "rewards": {"accuracy": 0.0, "overlong": -0.5}}
    rollouts = [rollout("a", 0, "correct", 0.0, 5), rollout("b", 0, "wrong", 0.0, 5, **code)]
    rewards = {"math=accuracy": 1.0, "code=accuracy": 0.0, "code=overlong": -0.5}
    assert log_line(1, LOGS, rollouts, parts)["rewards"] == rewards
    assert log_line(1, LOGS, rollouts[:1], parts)["rewards"] == {
        **rewards,
        "code=accuracy": None,
        "code=overlong": None,
    }


def test_what_is_not_finite_is_null_and_the_line_is_json():
    line = log_line(1, {**LOGS, "loss": float("nan"), "grad_norm": float("inf"), "entropy": None}, ROLLOUTS, PARTS)
    assert (line["loss"], line["grad_norm"], line["entropy"]) == (None, None, None)
    assert json.loads(to_line(line)) == line


def test_the_callers_words_of_reflection_count():
    assert log_line(1, LOGS, ROLLOUTS, PARTS, ["5"])["reflection"] == 1


def test_a_problem_that_stands_twice_in_a_step_is_named_once():
    assert log_line(1, LOGS, ROLLOUTS[:2] * 2, PARTS)["always_right"] == ["a"]


def test_groups_of_equal_rewards_carry_no_signal():
    groups = ([1.2, 1.2 + 1e-9, 1.2], [1.2, 0.2, 1.2], [None, None, None], [0.0, None, 0.0])
    rows = [{"sample": i, "reward": reward} for group in groups for i, reward in enumerate(group)]
    assert zero_signal_share(rows) == 0.75
