import pytest

from r1kit.rewards.accuracy import accuracy_reward
from r1kit.rewards.format import format_reward


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("<think>a</think><answer>b</answer>", 1.0),
        (" <think>\n a \n</think>\n <answer> b </answer>\n", 1.0),
        ("<think>a</think>", 0.0),
        ("<answer>b</answer>", 0.0),
        ("<think>a</think><answer>b</answer> junk", 0.0),
        ("junk <think>a</think><answer>b</answer>", 0.0),
        ("<think>a</think> between <answer>b</answer>", 0.0),
        ("<think>a</think><answer>b</answer><think>a</think><answer>b</answer>", 0.0),
        ("<think>a</think></think><answer>b</answer>", 0.0),
        ("<think>a<think>b</think><answer>c</answer>", 0.0),
        ("<think>a</think><answer>b<answer>c</answer>", 0.0),
        ("<think> </think><answer>b</answer>", 0.0),
        ("<think>a</think><answer> \n</answer>", 0.0),
        ("", 0.0),
    ],
)
def test_format_is_strict(completion, reward):
    assert format_reward(completion) == reward


def test_accuracy_is_one_or_zero_or_ungradable():
    assert accuracy_reward("<think>…</think><answer> 7 </answer>", "7") == 1.0
    assert accuracy_reward("It is 8.", "7") == 0.0
    assert accuracy_reward("7", None) is None
    assert accuracy_reward("7", "nobody knows") is None
    assert accuracy_reward("Paris", "Paris", kind="general") is None


def test_the_last_answer_counts_not_the_first():
    assert accuracy_reward("<answer>7</answer><answer>8</answer>", "7") == 0.0


def test_text_without_an_answer_earns_nothing():
    assert accuracy_reward("I would rather not say", "7") == 0.0
