import pytest

from r1kit.errors import UsageError, UserError
from r1kit.jsonl import Record
from r1kit.reward import RewardSummary, parse_rewards, score_rollout, score_rollouts


def rollout(**fields):
    return Record({"id": "1", "completion": "<think>a</think><answer>7</answer>", "answer": "7", **fields}, "f:1")


def test_weights_are_parsed():
    assert parse_rewards("accuracy, format:0.2") == {"accuracy": 1.0, "format": 0.2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acuracy", 'unknown reward "acuracy"; the known ones are accuracy, format'),
        ("format,format", '"format" stands twice'),
        ("format:x", '"x" is no weight'),
        ("format:nan", '"nan" is no weight'),
        ("", "unknown reward"),
    ],
)
def test_bad_rewards_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_rewards(text)


def test_the_reward_is_the_weighted_sum():
    scored = score_rollout(rollout(), {"accuracy": 1.0, "format": 0.2})
    assert (scored["rewards"], scored["reward"], scored["extracted"]) == ({"accuracy": 1.0, "format": 1.0}, 1.2, "7")


def test_what_cannot_be_graded_is_left_out_of_the_sum():
    scored = score_rollout(rollout(answer="nobody knows"), {"accuracy": 1.0, "format": 0.2})
    assert (scored["rewards"]["accuracy"], scored["reward"]) == (None, 0.2)
    assert score_rollout(rollout(answer=None), {"accuracy": 1.0})["reward"] is None


def test_the_summary_counts_nulls_and_means_the_rest():
    summary = RewardSummary()
    list(score_rollouts([rollout(), rollout(answer=None), rollout(answer="8")], {"accuracy": 1.0}, summary))
    assert summary.lines() == [
        "3 rollouts: 1 correct, 1 no gold answer, 1 wrong",
        "  accuracy: mean 0.500, 1 could not be graded (null)",
    ]


def test_a_rollout_without_a_completion_is_named():
    with pytest.raises(UserError, match='f:1: no "completion"; run r1kit rollout first'):
        list(score_rollouts([Record({"id": "1"}, "f:1")], {"format": 1.0}, RewardSummary()))
