import pytest

from r1kit.verdict import equality_of, gold_of, grading_of, judge_rollout


def choice(completion, **fields):
    return {
        "kind": "math",
        "choices": ["1 eV", "10 eV", "5 eV", "2 eV"],
        "answer": "B",
        "completion": completion,
    } | fields


def general(completion, **fields):
    return {"kind": "general", "answer": "Paris", "completion": completion} | fields


@pytest.mark.parametrize(
    ("completion", "extracted", "verdict"),
    [
        ("<think>Not A.</think> <answer> (B) </answer>", "B", "correct"),
        (r"<think>\boxed{B}</think> \boxed{C}", "C", "wrong"),
        ("A photon has 10 eV", None, "no_answer"),
        ("A or B", None, "no_answer"),
    ],
)
def test_an_option_is_judged_by_its_letter(completion, extracted, verdict):
    for kind in ("math", "general"):
        assert judge_rollout(choice(completion, kind=kind), None)[:2] == (extracted, verdict)


@pytest.mark.parametrize(
    ("fields", "verdict", "reason"),
    [
        ({"answer": "E"}, "gold_unparseable", "the gold answer is none of the letters A to D"),
        ({"answer": "10 eV"}, "gold_unparseable", "the gold answer is none of the letters A to D"),
        ({"answer": None}, None, "no gold answer"),
        ({"choices": ["1 eV"]}, None, "2 to 26 options have letters, and there are 1"),
    ],
)
def test_an_option_without_a_letter_for_its_gold_answer_is_not_judged(fields, verdict, reason):
    outcome = judge_rollout(choice("B", **fields), None)
    assert (outcome.verdict, outcome.reason) == (verdict, reason)


def test_choices_that_are_no_list_change_nothing():
    rollout = choice("So it is 7.", answer="7", choices={"text": ["7"], "label": ["A"]})
    assert judge_rollout(rollout, None)[:2] == ("7", "correct")


@pytest.mark.parametrize(
    ("rollout", "extracted", "verdict", "reason"),
    [
        (general("<answer>paris.</answer>"), "paris.", "correct", None),
        (general("The answer is Paris."), "Paris", "correct", None),
        (general("Paris or Rome"), "Paris or Rome", "wrong", None),
        (general("<think>Paris</think>"), None, "no_answer", None),
        (general("about 1000", answer=1000), "about 1000", "wrong", None),
        (general("1,000", answer=1000), "1,000", "correct", None),
        (general("Paris", answer=None), "Paris", None, "no gold answer"),
        (general("Paris", answer=" "), "Paris", None, "no gold answer"),
        (general("Paris", answer=["Paris"]), "Paris", None, "the gold answer is no text"),
        (general("Paris", tests=5), "Paris", None, "its tests are run where it is of kind code"),
        (
            general("Paris", answer="It is Paris. " * 7),
            "Paris",
            None,
            "the gold answer is a text of 90 characters; exact match is for short ones",
        ),
    ],
)
def test_a_short_answer_in_words_is_judged_as_text(rollout, extracted, verdict, reason):
    assert judge_rollout(rollout, None)[:3] == (extracted, verdict, reason)


def test_answers_are_equal_by_their_kind():
    math, text, code = {"answer": "1/2"}, general(""), {"kind": "code", "answer": "x"}
    assert [grading_of(p) for p in (math, choice(""), text, code)] == ["math", "choice", "text", "code"]
    assert grading_of(general("", reasoning_gym={})) == "task"
    assert equality_of(math)("1/2", "0.5") is True
    assert equality_of(math)("nobody knows", "0.5") is None
    assert equality_of(choice(""))("B", "B") is True
    assert equality_of(text)("Paris", "PARIS.") is True
    assert equality_of(code)("0.5", "1/2") is False


def test_a_gold_answer_that_nothing_is_compared_with_is_none():
    golds = [{"answer": 7}, choice(""), choice("", answer="(b)"), choice("", answer="E"), general("")]
    assert [gold_of(problem) for problem in golds] == ["7", "B", "B", None, "Paris"]
    others = [{}, {"kind": "code", "answer": "x"}, general("", reasoning_gym={}), general("", answer="x" * 81)]
    assert [gold_of(problem) for problem in others] == [None] * 4
