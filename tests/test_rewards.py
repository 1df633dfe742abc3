from math import cos, pi

import pytest

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


def test_repetition_is_the_share_of_n_grams_that_stood_before():
    """a b a b a b: four 3-grams, two different."""
    assert repetition_reward("a b c d e f") == 0.0
    assert repetition_reward("a b A b a b") == -0.5
    assert repetition_reward("a b a b a b", max_penalty=-2.0) == -1.0
    assert repetition_reward("我们我们我们") == -0.5
    assert repetition_reward("a a") == 0.0
    assert repetition_reward("a a a a", n=1) == -0.75


def test_every_reward_takes_what_it_needs_of_a_rollout():
    rollout = {
        "completion": "<think>so we add</think> 7",
        "verdict": "correct",
        "completion_tokens": 3,
        "language": "en",
        "answer": "7",
    }
    for name, reward in REWARDS.items():
        options = {"max_tokens": 10} if name in ("length", "overlong") else {}
        assert isinstance(reward.function(*reward.arguments(rollout), **options), float), name
