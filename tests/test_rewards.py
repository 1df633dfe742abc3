import time
from math import cos, pi

import pytest
from trl.rewards import get_repetition_penalty_reward, get_soft_overlong_punishment

from r1kit.rewards import REWARDS
from r1kit.rewards.accuracy import accuracy_reward
from r1kit.rewards.format import boxed_format_reward, format_reward, think_format_reward
from r1kit.rewards.length import cosine_length_reward, overlong_reward
from r1kit.rewards.repetition import repetition_reward
from r1kit.rewards.tags import tag_count_reward


@pytest.mark.parametrize(
    ("verdict", "passed", "partial", "reward"),
    [
        ("correct", None, False, 1.0),
        ("wrong", None, False, 0.0),
        ("no_answer", None, False, 0.0),
        ("timeout", None, False, 0.0),
        ("gold_unparseable", None, False, None),
        (None, None, False, None),
        ("wrong", 0.75, False, 0.0),
        ("wrong", 0.75, True, 0.75),
        ("correct", 1.0, True, 1.0),
        ("wrong", None, True, 0.0),
    ],
)
def test_accuracy_is_one_or_zero_or_the_share_of_tests(verdict, passed, partial, reward):
    assert accuracy_reward(verdict, passed, partial=partial) == reward


GOOD = "<think>a</think><answer>b</answer>"


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        (GOOD, 1.0),
        (" \n<think>\na\n</think>\n<answer>\nb\n</answer>\n", 1.0),
        (GOOD + " junk", 0.0),
        ("junk " + GOOD, 0.0),
        (GOOD + GOOD, 0.0),
        ("<think>a</think>", 0.0),
        ("<answer>b</answer>", 0.0),
        ("<think>a</think></think><answer>b</answer>", 0.0),
        ("<think>a</think> then <answer>b</answer>", 0.0),
        ("<think>a<think>b</think><answer>c</answer>", 0.0),
        ("<think>a</think><answer>b<answer>c</answer>", 0.0),
        ("<think> </think><answer>b</answer>", 0.0),
        ("<think>a</think><answer>\n</answer>", 0.0),
        ("<answer>b</answer><think>a</think>", 0.0),
        ("<think><answer>b</answer></think><answer>b</answer>", 0.0),
        ("", 0.0),
    ],
)
def test_format_is_strict(completion, reward):
    assert format_reward(completion) == reward


def test_format_takes_linear_time():
    """Every </think> with every </answer> would be four hundred million pairs."""
    started = time.perf_counter()
    assert format_reward("<think>a" + "</think><answer>b" * 20_000) == 0.0
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("<think>a</think> so \\boxed{b}", 1.0),
        ("a</think> \\boxed{\\frac{1}{2}}.", 1.0),  # <think> was the prompt's
        ("<think>\\boxed{1} or</think>\\boxed{2}", 1.0),  # a box in the reasoning is no answer
        ("<think>a</think> b", 0.0),
        ("<think>\\boxed{1}</think> b", 0.0),
        ("<think>a</think> \\boxed{1} or \\boxed{2}", 0.0),
        ("<think>a</think> \\boxed{ }", 0.0),
        ("<think>a</think> \\boxed{b", 0.0),
        ("<think>a</think> <answer>\\boxed{b}</answer>", 0.0),
        ("\\boxed{b}", 0.0),
        ("<think> </think> \\boxed{b}", 0.0),
        ("x <think>a</think> \\boxed{b}", 0.0),
        ("<think>a</think> so \\boxed{\\{1, 2\\}}, as said", 1.0),  # escaped braces are the set's
        ("<think>a</think> \\boxed{\\left\\{ 1 \\right.}", 1.0),  # they need no partner
        ("<think>a</think> \\boxed{1\\}", 0.0),  # and close nothing
        ("<think>a</think> \\boxed{{ }}", 0.0),
        ("<think>a</think> \\boxed{\\boxed{1}}", 0.0),
        ("<think>a</think></think> \\boxed{b}", 0.0),
        ("<think>a</think><think>b</think> \\boxed{b}", 0.0),
        ("\\boxed{b} <think>a</think>", 0.0),
        ("<think>a</think> \\boxed{b} <think>", 0.0),
        ("", 0.0),
    ],
)
def test_the_boxed_format_wants_one_filled_box_after_the_reasoning(completion, reward):
    assert boxed_format_reward(completion) == reward


@pytest.mark.parametrize(
    ("completion", "prefilled", "reward"),
    [
        ("<think>a</think>b", None, 1.0),
        ("a</think>b", None, 1.0),
        ("a</think>b", True, 1.0),
        ("a</think>b", False, 0.0),
        ("<think>a</think>b", False, 1.0),
        ("<think>a</think>b", True, 0.0),  # the tag would stand twice
        ("a</think>", None, 0.0),
        ("</think>b", None, 0.0),
        ("a", None, 0.0),
        ("a</think>b</think>c", None, 0.0),
        ("x<think>a</think>b", None, 0.0),
        (" \n<think>a</think>b", None, 1.0),
        ("<think>a</think> \n", None, 0.0),
        ("<think> </think>b", None, 0.0),
        ("<think>a</think>b<think>c</think>d", None, 0.0),
        ("a</think>b<think>c", None, 0.0),
        ("<think><think>a</think>b", None, 0.0),
        ("", True, 0.0),
    ],
)
def test_the_think_format_counts_a_prefilled_tag(completion, prefilled, reward):
    assert think_format_reward(completion, prefilled=prefilled) == reward


@pytest.mark.parametrize(
    ("completion", "reward"),
    [(GOOD, 1.0), (GOOD + GOOD, 0.0), ("<think>a</think>", 0.5), ("<think><think></think>", 0.25), ("", 0.0)],
)
def test_a_tag_that_stands_once_is_a_quarter(completion, reward):
    assert tag_count_reward(completion) == reward


def test_a_prefilled_tag_counts_as_the_completions():
    assert tag_count_reward("a</think><answer>b</answer>") == 0.75
    assert tag_count_reward("a</think><answer>b</answer>", prefilled=True) == 1.0
    assert tag_count_reward(GOOD, prefilled=True) == 0.75  # <think> stands twice


def test_length_runs_along_half_a_cosine():
    """At a quarter of the way: cos(pi / 4) = 0.7071, so right: 1 + 0.5 * (2 - 1) * 1.7071 = 1.8536,
    wrong: 0 + 0.5 * (-10 - 0) * 1.7071 = -8.5355."""
    assert cosine_length_reward(0, True, max_tokens=100) == 2.0
    assert cosine_length_reward(25, True, max_tokens=100) == pytest.approx(1.8536, abs=1e-4)
    assert cosine_length_reward(50, True, max_tokens=100) == pytest.approx(1.5)
    assert cosine_length_reward(0, False, max_tokens=100) == -10.0
    assert cosine_length_reward(25, False, max_tokens=100) == pytest.approx(-8.5355, abs=1e-4)
    assert cosine_length_reward(99, False, max_tokens=100) == pytest.approx(-5 * (1 + cos(0.99 * pi)))
    assert cosine_length_reward(100, True, max_tokens=100) == -10.0
    assert cosine_length_reward(5, None, max_tokens=100) is None


@pytest.mark.parametrize(
    ("tokens", "reward"), [(0, 0.0), (80, 0.0), (81, -0.05), (90, -0.5), (100, -1.0), (101, -1.0), (500, -1.0)]
)
def test_overlong_is_punished_on_a_straight_line(tokens, reward):
    assert overlong_reward(tokens, max_tokens=100, buffer=20) == pytest.approx(reward)
    assert overlong_reward(tokens, max_tokens=100) == pytest.approx(reward)  # a fifth is the default


@pytest.mark.parametrize(("max_tokens", "buffer"), [(100, 20), (100, 0), (100, 100), (7, 3)])
def test_overlong_is_that_of_trl(max_tokens, buffer):
    theirs = get_soft_overlong_punishment(max_completion_len=max_tokens, soft_punish_cache=buffer)
    for tokens in range(120):
        ours = overlong_reward(tokens, max_tokens=max_tokens, buffer=buffer)
        assert ours == pytest.approx(theirs(completion_ids=[[1] * tokens])[0]), tokens


def test_shorter_is_better_when_right_and_longer_when_wrong():
    for correct, sign in ((True, -1), (False, 1)):
        rewards = [cosine_length_reward(tokens, correct, max_tokens=64) for tokens in range(64)]
        assert rewards == sorted(rewards, key=lambda reward: sign * reward)
        assert len(set(rewards)) == 64


def test_the_ends_of_the_cosine_are_options():
    """Half way the cosine is 0: the mean of both ends, (0.8 + 0.2) / 2 and (-0.6 - 0.2) / 2."""
    ends = {"correct_short": 0.8, "correct_long": 0.2, "wrong_short": -0.6, "wrong_long": -0.2, "exceeded": -0.9}
    assert cosine_length_reward(5, True, max_tokens=10, **ends) == pytest.approx(0.5)
    assert cosine_length_reward(5, False, max_tokens=10, **ends) == pytest.approx(-0.4)
    assert cosine_length_reward(10, False, max_tokens=10, **ends) == -0.9


def test_lengths_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="max_tokens is 0"):
        cosine_length_reward(5, True, max_tokens=0)
    with pytest.raises(ValueError, match="buffer must lie between 0 and max_tokens"):
        overlong_reward(5, max_tokens=10, buffer=11)
    with pytest.raises(ValueError, match="buffer -1"):
        overlong_reward(5, max_tokens=10, buffer=-1)


def test_repetition_is_the_share_of_n_grams_that_stood_before():
    """a b a b a b: four 3-grams, two different."""
    assert repetition_reward("a b c d e f") == 0.0
    assert repetition_reward("a b A b a b") == -0.5
    assert repetition_reward("a b a b a b", max_penalty=-2.0) == -1.0
    assert repetition_reward("我们我们我们") == -0.5
    assert repetition_reward("a a") == 0.0
    assert repetition_reward("a a a a", n=1) == -0.75
    assert repetition_reward("") == repetition_reward("a") == repetition_reward("我们走") == 0.0


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_repetition_is_that_of_trl_where_words_are_tokens(n):
    theirs = get_repetition_penalty_reward(ngram_size=n, max_penalty=-1.5)
    for ids in ([], [1], [1, 1], [1, 2, 1, 2, 1, 2, 3], [5] * 9, list(range(9)), [1, 2, 3, 4, 1, 2, 3, 4, 1]):
        ours = repetition_reward(" ".join(f"w{i}" for i in ids), n=n, max_penalty=-1.5)
        assert ours == pytest.approx(theirs(completion_ids=[ids])[0]), ids


def test_chinese_is_not_one_word():
    """Four characters three times, without blanks: 12 - 2 = 10 3-grams, 4 of them different, so 6 of 10 repeat."""
    assert repetition_reward("因此相等" * 3) == pytest.approx(-0.6)


def test_repetition_refuses_rewards_for_repeating():
    with pytest.raises(ValueError, match="max_penalty 0 or less"):
        repetition_reward("a b c", max_penalty=1.0)
    with pytest.raises(ValueError, match="n must be 1 or more"):
        repetition_reward("a b c", n=0)


def test_every_reward_takes_what_it_needs_of_a_rollout():
    rollout = {
        "completion": "<think>so we add</think> 7",
        "verdict": "correct",
        "completion_tokens": 3,
        "language": "en",
        "answer": "7",
        "reasoning_gym": {"task": "chain_sum"},
        "passed": 1.0,
    }
    for name, reward in REWARDS.items():
        options = {"max_tokens": 10} if name in ("length", "overlong") else {}
        assert isinstance(reward.function(*reward.arguments(rollout), **options), float), name
