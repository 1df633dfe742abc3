import json
import random
import re
import subprocess
import sys
from itertools import islice, product
from math import exp, log

import pytest
from conftest import lines, r1kit, write_jsonl

from r1kit.ballots import vote_groups
from r1kit.errors import UsageError, UserError
from r1kit.estimates import estimate_share, percent
from r1kit.jsonl import Record
from r1kit.records import groups_of_rollouts
from r1kit.subsets import majority_accuracy
from r1kit.vote import AnswerGroups, Poll, VotePlan, VoteSummary, count_votes, hold_votes

TABLE_ROW = r"^ +(\d+)  [\d.]+ % \[([\d.]+), ([\d.]+)\]"  # n, and the interval


def rollouts(problem_id, *completions, **fields):
    return [
        Record({"id": problem_id, "prompt": "p", "completion": c, **fields}, f"f:{i}")
        for i, c in enumerate(completions, start=1)
    ]


def weighed(field, *pairs, **fields):
    """Return the rollouts of a problem that give an answer and a field each."""
    return [
        Record({"id": "1", "prompt": "p", "extracted": answer, field: value, **fields}, f"f:{i}")
        for i, (answer, value) in enumerate(pairs, start=1)
    ]


def vote(members, *plan):
    return list(hold_votes(members, VotePlan(*plan), VoteSummary()))


def table(members, *plan):
    summary = VoteSummary()
    list(hold_votes(members, VotePlan(*plan), summary))
    return summary


def test_the_majority_wins():
    [record] = vote(rollouts("1", "7", "8", "8", "none", answer="8", completion_tokens=5, language="en", x=1))
    assert record == {
        "id": "1", "prompt": "p", "answer": "8", "language": "en", "prediction": "8", "votes": {"7": 1, "8": 2}, "n": 4,
        "correct": True, "method": "majority", "decided_at": 4, "generated_tokens": 20,
    }  # fmt: skip


def test_a_policy_votes_as_the_rollouts_say():
    members = rollouts("1", "7", "8", "8", answer="7", score=1.0, vote={"method": "weighted", "by": "score"})
    for member, score in zip(members, (3.0, 1.0, 1.0), strict=True):
        member["score"] = score
    members += rollouts("2", "7", "8", "8", answer="7", vote={"method": "majority", "by": None})
    votes = list(hold_votes(members, VotePlan("policy"), VoteSummary()))
    assert [(v["prediction"], v["method"]) for v in votes] == [("7", "policy"), ("8", "policy")]
    with pytest.raises(UserError, match='f:1: no "vote"; say another --method, or run r1kit rollout --search auto'):
        list(hold_votes(rollouts("1", "7"), VotePlan("policy"), VoteSummary()))


def test_an_answer_written_in_five_ways_is_one_group():
    ways = ["0.5", "\\frac{1}{2}", "1/2", "0.50", ".5"]
    assert count_votes([*ways, "2"]) == {"0.5": 5, "2": 1}
    boxed = [f"So it is \\boxed{{{way}}}." for way in ways]
    [record] = vote(rollouts("1", *boxed, "\\boxed{2}", answer="\\frac{2}{4}"))
    assert record["votes"] == {"0.5": 5, "2": 1}
    assert record["correct"] is True


def test_a_new_answer_is_compared_with_leaders_alone_and_a_known_one_with_none():
    asked = []

    def equal(leader, answer):
        asked.append((leader, answer))
        return int(leader) % 10 == int(answer) % 10

    groups = AnswerGroups(equal)
    assert [groups.leader(a) for a in ("1", "11", "2", "21", "11", "2", "21")] == ["1", "1", "2", "1", "1", "2", "1"]
    assert asked == [("1", "11"), ("1", "2"), ("1", "21")]
    assert groups.leader("12") == "2"
    assert asked[3:] == [("1", "12"), ("2", "12")]


def test_of_equal_counts_the_one_seen_first_wins():
    assert vote(rollouts("1", "7", "8", "8", "7"))[0]["prediction"] == "7"


def test_nobody_has_an_answer():
    for plan in (("majority",), ("weighted", "w"), ("best-of-n", "w")):
        [record] = vote(rollouts("1", "none", "neither", answer="8", w=1), *plan)
        assert (record["prediction"], record["votes"], record["correct"]) == (None, {}, False)


def test_without_a_gold_answer_nothing_is_correct_or_wrong():
    assert vote(rollouts("1", "7"))[0]["correct"] is None
    assert vote(rollouts("1", "7", answer="nobody knows"))[0]["correct"] is None


def test_what_reward_extracted_is_used():
    [record] = vote([Record({"id": "1", "prompt": "p", "completion": "7", "extracted": "9"}, "f:1")])
    assert record["prediction"] == "9"


def test_an_error_is_no_answer_but_one_of_n():
    members = [*rollouts("1", "8"), *rollouts("1", "7", "7", finish_reason="error")]
    [record] = vote(members)
    assert (record["prediction"], record["votes"], record["n"]) == ("8", {"8": 1}, 3)
    members[0]["reward"] = -1
    assert vote(members, "best-of-n")[0]["prediction"] == "8"  # what has no weight because of it is not missed


def test_the_largest_weight_wins():
    members = weighed("reward", ("7", 0.5), ("7", 0.25), ("8", 1.0), (None, 9.0), answer="8")
    [record] = vote(members, "weighted")
    assert (record["prediction"], record["votes"]) == ("8", {"7": 0.75, "8": 1.0})
    assert (record["method"], record["by"], record["correct"], record["decided_at"]) == (
        "weighted", "reward", True, None,
    )  # fmt: skip


def test_equal_answers_add_their_weights():
    [record] = vote(weighed("score", ("1/2", 0.3), ("2", 0.5), ("0.5", 0.3)), "weighted", "score")
    assert (record["prediction"], record["votes"]) == ("1/2", {"1/2": 0.6, "2": 0.5})


def test_sums_that_differ_by_rounding_tie():
    assert 0.1 + 0.2 > 0.3
    assert vote(weighed("w", ("8", 0.3), ("7", 0.1), ("7", 0.2)), "weighted", "w")[0]["prediction"] == "8"


def test_log_probability_weighs_by_the_mean_of_the_tokens():
    members = weighed("logprobs", ("7", [log(0.5)] * 9), ("8", [log(0.4)]), ("8", [log(0.2), log(0.05)]))
    [record] = vote(members, "weighted", "logprob")
    assert record["votes"] == pytest.approx({"7": 0.5, "8": 0.4 + exp((log(0.2) + log(0.05)) / 2)})
    assert record["prediction"] == "7"
    members[2]["logprobs"] = [-0.1]
    assert vote(members, "best-of-n", "logprob")[0]["prediction"] == "8"
    assert vote(members, "best-of-n", "logprob")[0]["votes"] == pytest.approx({"7": log(0.5), "8": -0.1})


def test_the_best_of_n_wins_and_of_equals_the_first():
    members = weighed("reward", ("7", -2), ("8", -1), ("9", -1), ("7", -3), ("9", None))
    [record] = vote(members, "best-of-n")
    assert (record["prediction"], record["votes"]) == ("8", {"7": -2, "8": -1, "9": -1})


def test_the_best_of_n_may_have_no_answer():
    [record] = vote(weighed("reward", ("7", 1), (None, 2), answer="7"), "best-of-n")
    assert (record["prediction"], record["correct"]) == (None, False)


def test_a_field_in_a_field_weighs():
    for name in ("accuracy", "mine.py:my_reward"):
        members = weighed("rewards", ("7", {name: 0}), ("8", {name: 1}))
        assert vote(members, "best-of-n", f"rewards.{name}")[0]["prediction"] == "8"


def test_null_does_not_vote_and_is_counted():
    members = weighed("reward", ("7", None), ("7", None), ("8", 0.1), answer="8")
    summary = table(members, "weighted")
    assert summary.lines()[:2] == ["1 problems, 100.0% of 1 right", "2 rollouts did not vote: what weighs them is null"]
    assert vote(members, "weighted")[0]["n"] == 3
    assert vote(weighed("logprobs", ("7", [])), "weighted", "logprob")[0]["votes"] == {}


@pytest.mark.parametrize(
    ("plan", "fields", "message"),
    [
        (("weighted",), {}, 'f:1: no "reward"; run r1kit reward first'),
        (("best-of-n", "logprob"), {}, 'f:1: no "logprobs"; run r1kit rollout --logprobs'),
        (("weighted", "score"), {}, 'f:1: no "score"; name a number field of the rollouts, as in --by score'),
        (("weighted", "rewards.x"), {"rewards": {"y": 1}}, 'f:1: no "rewards.x"; name a number field'),
        (("weighted", "completion"), {}, 'f:1: "completion" is no number'),
        (("weighted", "w"), {"w": 10**400}, 'f:1: "w" is no number'),
        (("weighted",), {"reward": -0.5}, 'f:1: "reward" is -0.5, and a vote cannot weigh less than nothing; say --me'),
    ],
)
def test_what_cannot_weigh_is_named(plan, fields, message):
    with pytest.raises(UserError) as error:
        vote(rollouts("1", "7", **fields), *plan)
    assert str(error.value).startswith(message)


def code(source, **fields):
    completion = f"```python\n{source}\n```"
    return Record({"id": "c", "prompt": "p", "kind": "code", "completion": completion, **fields}, "f:1")


def test_programs_are_equal_where_they_are_the_same_text():
    members = [code("1/2"), code("0.5"), code("0.5"), Record({**code(""), "completion": "no block"}, "f:1")]
    [record] = vote(members)
    assert (record["prediction"], record["votes"]) == ("0.5\n", {"1/2\n": 1, "0.5\n": 2})
    assert record["correct"] is None


def test_a_program_is_as_right_as_reward_found_it():
    members = [code("a", verdict="wrong", w=1), code("b", verdict="correct", w=2), code("a", verdict="wrong", w=0)]
    assert vote(members)[0]["correct"] is False
    assert vote(members, "best-of-n", "w")[0]["correct"] is True
    assert "33.3 %" in table(members, "best-of-n", "w").lines()[2]  # of one rollout: one of three is right
    parts = [code(source, rewards={"accuracy": value}) for source, value in (("a", 0.5), ("b", 1.0), ("b", 1.0))]
    assert vote(parts)[0]["correct"] is True
    assert vote(parts[:1])[0]["correct"] is False  # half of its tests


def test_general_answers_vote_too():
    members = rollouts("g", "Paris", "Rome", "Paris", kind="general", answer="Paris", reward=0.1)
    assert vote(members)[0]["votes"] == {"Paris": 2, "Rome": 1}
    members[1]["reward"] = 0.9
    assert vote(members, "best-of-n")[0]["prediction"] == "Rome"


def test_texts_vote_as_exact_match_has_them_and_are_right_by_the_gold_answer():
    members = rollouts("g", "Rome", "Paris", "The answer is paris.", "**Paris!**", kind="general", answer="the Paris")
    [record] = vote(members)
    assert (record["prediction"], record["votes"], record["correct"]) == ("Paris", {"Rome": 1, "Paris": 3}, True)
    assert vote(rollouts("g", "Paris", kind="general"))[0]["correct"] is None
    assert vote(rollouts("g", "Paris", kind="general", answer="Paris " * 20))[0]["correct"] is None
    assert vote(rollouts("g", "<think>x</think>", kind="general", answer="Paris"))[0]["correct"] is False


def test_options_vote_by_their_letter():
    said = ("The answer is (B).", "\\boxed{B}", "\\boxed{A}", "A photon")
    [record] = vote(rollouts("c", *said, choices=["1", "2", "3"], answer="B"))
    assert (record["prediction"], record["votes"], record["correct"]) == ("B", {"B": 2, "A": 1}, True)
    assert vote(rollouts("c", *said, choices=["1", "2", "3"], answer="D"))[0]["correct"] is None


@pytest.mark.parametrize(
    ("members", "groups"),
    [
        (rollouts("1", "1/2", "7", "0.5", "none", answer="0.50"), ((2, 1), (True, False))),
        (rollouts("1", "none", answer="7"), ((), ())),
        (rollouts("1", "7", answer="nobody knows"), None),
        (rollouts("1", "none", answer="nobody knows"), None),
        (rollouts("1", "7"), None),
        (rollouts("1", "B", "(B)", "\\boxed{A}", choices=["1", "2"], answer="A"), ((2, 1), (False, True))),
        (rollouts("1", "B", choices=["1", "2"], answer="E"), None),
        (rollouts("1", "Rome", "paris", "Paris.", kind="general", answer="Paris"), ((1, 2), (False, True))),
        (rollouts("1", "Paris", kind="general"), None),
        ([code("a", verdict="correct")], None),
        (rollouts("1", "2 + 2", "4", kind="general", reasoning_gym={}, verdict="correct"), ((1, 1), (True, True))),
        (rollouts("1", "2 + 2", kind="general", reasoning_gym={}), None),
    ],
)
def test_groups_of_equal_answers_are_counted_and_judged(members, groups):
    assert vote_groups(members) == groups


def test_a_vote_is_decided_when_no_other_can_change_it():
    """Every continuation of every prefix is voted on: before decided_at some change the winner, after it none does."""
    answers = ("7", "8", "none")
    winners = {run: vote(rollouts("1", *run))[0]["prediction"] for run in product(answers, repeat=5)}
    for run in winners:
        decided = vote(rollouts("1", *run))[0]["decided_at"]
        open_at = [k for k in range(6) if len({w for other, w in winners.items() if other[:k] == run[:k]}) > 1]
        expected = max(open_at, default=-1) + 1
        assert decided == (expected if winners[run] is not None else 5), run


def test_a_new_answer_is_reckoned_with():
    assert vote(rollouts("1", "7", "7", "8", "8", "9"))[0]["decided_at"] == 5
    assert vote(rollouts("1", "7", "7", "1", "2", "3"))[0]["decided_at"] == 4  # "1" could still have had three
    assert vote(rollouts("1", "7", "7", "none", "none"))[0]["decided_at"] == 2  # two others tie and come later


def test_an_early_vote_leaves_before_the_next_rollout_is_read():
    def stream():
        yield from rollouts("1", "7", "7", "8", "7", completion_tokens=3)
        raise AssertionError("read too far")

    [record] = islice(hold_votes(stream(), VotePlan(early=6), VoteSummary()), 1)
    assert (record["prediction"], record["n"], record["decided_at"]) == ("7", 6, 4)
    assert record["generated_tokens"] == 12


def test_early_votes_decide_what_whole_ones_do():
    draw = random.Random(0)
    members = [r for i in range(60) for r in rollouts(str(i), *draw.choices("12345", k=8), answer="1")]
    whole, early = vote(members), vote(members, "majority", None, 8)
    assert [(v["id"], v["prediction"], v["decided_at"]) for v in early] == [
        (v["id"], v["prediction"], v["decided_at"]) for v in whole
    ]
    assert [v["decided_at"] for v in early] != [8] * 60
    assert table(members, "majority", None, 8).lines()[0].endswith(" rollouts on average")
    assert len(table(members, "majority", None, 8).lines()) == 1  # no table


def test_an_early_vote_of_a_smaller_group_is_decided_at_its_end():
    [record] = vote(rollouts("1", "7", "8"), "majority", None, 8)
    assert (record["prediction"], record["n"], record["decided_at"]) == ("7", 2, 2)


def test_more_rollouts_than_early_says_are_refused():
    with pytest.raises(UserError, match='f:1: "1" has 3 rollouts; give --early the number'):
        vote(rollouts("1", "7", "7", "8"), "majority", None, 2)


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(UsageError, match="--early: a weighted vote is open to the end"):
        VotePlan("weighted", "reward", 4)
    with pytest.raises(UsageError, match="--by: in a majority all votes count the same"):
        VotePlan("majority", "reward")
    assert r1kit("vote", "--method", "nonsense").returncode == 2
    assert r1kit("vote", "--early", "0").returncode == 2


def test_a_search_is_named_and_its_cost_is_that_of_the_problem():
    members = rollouts("1", "7", "8", search="beam", budget=64, generated_tokens=900, completion_tokens=5, score=0.5)
    [record] = vote(members, "weighted", "score")
    assert (record["search"], record["budget"], record["generated_tokens"]) == ("beam", 64, 900)
    assert "generated_tokens" not in vote(rollouts("1", "7"))[0]


def test_a_problem_leaves_before_the_next_is_complete():
    def stream():
        yield from rollouts("1", "7")
        yield from rollouts("2", "7")
        raise AssertionError("read too far")

    assert next(hold_votes(stream(), VotePlan(), VoteSummary()))["id"] == "1"


def test_rollouts_of_a_problem_that_stand_apart_are_refused():
    with pytest.raises(UserError, match='f:1: the rollouts of "1" do not stand together; sort the file by id'):
        vote(rollouts("1", "7") + rollouts("2", "7") + rollouts("1", "8"))


def test_ids_are_told_apart_among_many():
    stream = (Record({"id": i}, "f:1") for i in [*range(5000), "17", 17])
    groups = groups_of_rollouts(stream)
    assert len(list(islice(groups, 5001))) == 5001
    with pytest.raises(UserError, match='"17" do not stand together'):
        next(groups)


def test_the_summary_counts_what_can_be_graded():
    members = rollouts("1", "7", answer="7") + rollouts("2", "7", answer="8") + rollouts("3", "7")
    assert table(members).lines() == ["3 problems, 50.0% of 2 right, decided after 1.0 rollouts on average"]


def test_the_table_is_the_mean_over_problems_of_the_mean_over_subsets():
    members = rollouts("1", "7", "7", "8", "none", answer="7") + rollouts("2", "7", "8", "8", "8", answer="7")
    for running, *each in zip(
        table(members).accuracies,
        majority_accuracy((2, 1), (True, False), 4),
        majority_accuracy((1, 3), (True, False), 4),
        strict=True,
    ):
        assert running.mean == pytest.approx(sum(each) / 2)
    rows = table(members).lines()[2:]
    assert [row.split()[0] for row in rows] == ["1", "2", "4"]
    assert rows[0].split(maxsplit=1)[1] == percent(estimate_share([0.5, 0.25])) == "37.5 % [1.2, 96.6]"


def test_ragged_groups_go_up_to_the_most_common_size():
    members = [r for i in range(3) for r in rollouts(str(i), *"7778", answer="7")]
    members += rollouts("short", "7", "8", answer="7") + rollouts("long", *["7"] * 9, answer="7")
    rows = table(members).lines()[2:]
    assert [row.split()[0] for row in rows] == ["1", "2", "4"]
    assert not rows[0].endswith("problems)")
    assert rows[2].endswith("(4 of 5 problems)")


@pytest.mark.parametrize("plan", [("majority",), ("weighted", "w"), ("best-of-n", "w")])
def test_the_last_row_is_the_vote_itself_where_nothing_ties(plan):
    draw = random.Random(1)
    members = [
        Record({"id": str(i), "prompt": "p", "extracted": draw.choice("123"), "w": draw.random(), "answer": "1"}, "f:1")
        for i in range(40)
        for _ in range(8)
    ]
    for group in groups_of_rollouts(members):
        poll = Poll(group[0], VotePlan(*plan), 8)
        for rollout in group:
            poll.cast(rollout)
        totals = sorted(poll.totals().values())
        if len(totals) == 1 or totals[-1] > totals[-2]:
            assert poll.accuracies()[-1] == pytest.approx(float(poll.record()["correct"]))


def test_the_command_writes_votes_and_says_the_table(tmp_path):
    path = write_jsonl(tmp_path / "r.jsonl", [dict(r) for r in rollouts("1", *"7787", answer="7", reward=1)])
    run = r1kit("vote", "--method", "weighted", path)
    assert run.returncode == 0, run.stderr
    [record] = lines(run.stdout)
    assert (record["votes"], record["by"]) == ({"7": 3.0, "8": 1.0}, "reward")
    assert [line.split()[0] for line in run.stderr.splitlines()] == ["1", "n", "1", "2", "4"]


def test_a_majority_of_16_is_right_more_often_than_one_beyond_the_interval():
    problems = r1kit("data", "arith", "--split", "test").stdout
    flags = ("--model", "base", "-n", 16, "--max-tokens", 64, "--engine", "transformers")
    run = r1kit("vote", stdin=r1kit("rollout", *flags, stdin=problems).stdout)
    table = {int(n): (float(low), float(high)) for n, low, high in re.findall(TABLE_ROW, run.stderr, re.MULTILINE)}
    assert list(table) == [1, 2, 4, 8, 16]
    assert table[16][0] > table[1][1] + 20


def test_an_early_vote_of_the_command_leaves_while_rollouts_come():
    process = subprocess.Popen(
        [sys.executable, "-m", "r1kit", "vote", "--early", "100"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdin.write("".join(json.dumps(r) + "\n" for r in rollouts("1", *["7"] * 50)))
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["decided_at"] == 50
    assert process.poll() is None
    process.stdin.close()
    assert process.wait() == 0


PEAK = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "r1kit", "vote", sys.argv[1], "-o", sys.argv[2]], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)  # KiB
"""


def peak_memory(folder, count):
    """Return the peak memory in MiB of a vote on a file of so many rollouts, 16 of each problem."""
    path = folder / f"{count}.jsonl"
    with path.open("w") as file:
        for i in range(count):
            file.write(f'{{"id":"{i // 16}","prompt":"p","extracted":"{i * i % 7}","answer":"2"}}\n')
    command = [sys.executable, "-c", PEAK, path, folder / "votes.jsonl"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{-(-count // 16)} problems" in run.stderr
    return int(run.stdout) / 1024


@pytest.mark.slow
def test_a_million_rollouts_take_the_memory_of_a_tenth_of_them(tmp_path):
    assert peak_memory(tmp_path, 1_000_000) < peak_memory(tmp_path, 100_000) + 8
