import pytest

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.vote import VoteSummary, count_votes, majority_votes


def rollouts(problem_id, *completions, **fields):
    return [
        Record({"id": problem_id, "prompt": "p", "completion": c, **fields}, f"f:{i}")
        for i, c in enumerate(completions)
    ]


def vote(members):
    return list(majority_votes(members, VoteSummary()))


def test_the_majority_wins():
    [record] = vote(rollouts("1", "7", "8", "8", "none", answer="8"))
    assert record == {
        "id": "1", "prompt": "p", "answer": "8", "prediction": "8", "votes": {"7": 1, "8": 2}, "n": 4, "correct": True,
    }  # fmt: skip


def test_an_answer_written_in_five_ways_is_one_group():
    assert count_votes(["0.5", "\\frac{1}{2}", "1/2", "0.50", ".5", "2"]) == {"0.5": 5, "2": 1}


def test_of_equal_counts_the_one_seen_first_wins():
    assert vote(rollouts("1", "7", "8", "8", "7"))[0]["prediction"] == "7"


def test_nobody_has_an_answer():
    [record] = vote(rollouts("1", "none", "neither", answer="8"))
    assert (record["prediction"], record["votes"], record["correct"]) == (None, {}, False)


def test_without_a_gold_answer_nothing_is_correct_or_wrong():
    assert vote(rollouts("1", "7"))[0]["correct"] is None
    assert vote(rollouts("1", "7", answer="nobody knows"))[0]["correct"] is None


def test_what_reward_extracted_is_used():
    assert (
        vote([Record({"id": "1", "prompt": "p", "completion": "7", "extracted": "9"}, "f:1")])[0]["prediction"] == "9"
    )


def test_a_problem_leaves_before_the_next_is_complete():
    def stream():
        yield from rollouts("1", "7")
        yield from rollouts("2", "7")
        raise AssertionError("read too far")

    assert next(majority_votes(stream(), VoteSummary()))["id"] == "1"


def test_rollouts_of_a_problem_that_stand_apart_are_refused():
    with pytest.raises(UserError, match='the rollouts of "1" do not stand together'):
        vote(rollouts("1", "7") + rollouts("2", "7") + rollouts("1", "8"))


def test_the_summary_counts_what_can_be_graded():
    summary = VoteSummary()
    list(majority_votes(rollouts("1", "7", answer="7") + rollouts("2", "7", answer="8") + rollouts("3", "7"), summary))
    assert summary.lines() == ["3 problems, 50.0% of 2 right"]
