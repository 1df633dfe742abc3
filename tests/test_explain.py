from r1kit.explain import explain_rollout
from r1kit.grader import Grader
from r1kit.jsonl import Record
from r1kit.reward_spec import RewardPart

CHOICE = {"id": "1", "choices": ["Rome", "Paris"], "answer": "B"}
TEXT = {"id": "1", "kind": "general", "answer": "the Louvre"}


def explain(**rollout):
    grader = Grader([RewardPart("accuracy", 1.0, None)], workers=1)
    return [line.strip() for line in explain_rollout([Record(rollout, "f:1")], "1", grader)]


def test_of_an_option_both_letters_are_explained():
    lines = explain(**CHOICE, completion="<think>B?</think> The answer is A.")
    assert lines[2:6] == ["extracted: 'A'", "gold answer: B) 'Paris'", "chosen: A) 'Rome'", "verdict: wrong"]


def test_where_no_letter_is_stated_that_is_said():
    lines = explain(**CHOICE, completion="A or B")
    assert lines[4:6] == ["chosen: none of the 2 options, or several", "verdict: no_answer"]


def test_a_gold_answer_that_is_no_letter_is_shown_with_the_reason():
    lines = explain(**{**CHOICE, "answer": "Paris"}, completion="B")
    assert lines[3] == "gold answer: 'Paris'"
    assert lines[-2] == "accuracy: None x 1 (the gold answer is none of the letters A to B)"
    assert explain(id="1", choices=["one"], answer="A", completion="A")[-3] == (
        "why: 2 to 26 options have letters, and there are 1"
    )


def test_texts_are_explained_as_they_are_compared():
    lines = explain(**TEXT, completion="The answer is **Louvre**.")
    assert lines[3:6] == ["gold answer 'the Louvre' as text: 'louvre'", "answer as text: 'louvre'", "verdict: correct"]
    assert "answer as text: nothing" in explain(**TEXT, completion="<think>x</think>")
    assert "why: no gold answer" in explain(id="1", kind="general", completion="x")
