import pytest

from r1kit.errors import UsageError, UserError
from r1kit.jsonl import Record
from r1kit.thresholds import parse_threshold


def meets(text, **fields):
    record = Record({"rewards": {"accuracy": 1.0, "format": 0.0, "language": None}, "reward": 1.0, **fields}, "f:1")
    return [condition.meets(record) for condition in parse_threshold(text)]


def test_correct_is_what_the_verdict_says_else_the_accuracy():
    assert meets("correct", verdict="correct") == [True]
    assert meets("correct", verdict="wrong") == [False]
    assert meets("correct", verdict=None) == [True]
    assert meets("correct", verdict=None, rewards={"format": 1.0}) == [None]
    assert meets("correct", verdict="gold_unparseable") == [None]


def test_a_number_is_of_the_reward_and_a_name_of_one_of_the_rewards_or_a_field():
    assert meets("1,1.1,format=0,format=0.5,score=2,language=0", score=2.5) == [True, False, True, False, True, None]


def test_a_weighted_sum_is_not_missed_by_rounding():
    assert meets("0.3", reward=0.1 + 0.2 - 1e-16) == [True]


@pytest.mark.parametrize("text", ["right", "=1", "format=", "", "correct,", "nan", "format=nan"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(UsageError, match="is neither correct, nor a number, nor NAME=NUMBER; write --threshold"):
        parse_threshold(text)


def test_a_reward_that_was_not_given_is_named_with_its_remedy():
    with pytest.raises(UserError, match='f:1: no "tags" among its rewards; run r1kit reward --reward tags first, or'):
        meets("tags=1")
