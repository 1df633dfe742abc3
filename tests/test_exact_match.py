import pytest

from r1kit.embedded.facts import all_facts
from r1kit.exact_match import equal_texts, is_short, normal_text, stated_text


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Kyiv", "kyiv"),
        ("  The   Lord of the Rings. ", "lord of rings"),
        ("“Paris”!", "paris"),
        ("**Paris**", "paris"),
        ("（巴黎）。", "巴黎"),
        ("ＫＹＩＶ", "kyiv"),
        ("Straße", "strasse"),
        ("St. Louis", "st louis"),
        ("New-York", "new-york"),
        ("1,000", "1000"),
        ("-1,234,567.5", "-1234567.5"),
        ("1,00", "1,00"),
        ("\N{MINUS SIGN}5.", "-5"),
        (".5", ".5"),
        ("5%", "5%"),
        ("C#", "c#"),
        ("C++", "c++"),
        ("Vitamin A", "vitamin a"),
        ("an A", "a"),
        ("A", "a"),
        ("?", "?"),
        ("", ""),
    ],
)
def test_a_text_is_compared_without_what_is_only_its_writing(text, normal):
    assert normal_text(text) == normal


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("Paris", "paris.", True),
        ("1,000", "1000", True),
        ("The Beatles", "Beatles", True),
        ("5", "-5", False),
        ("5", "5%", False),
        ("0.5", "05", False),
        ("5", "5.0", False),
        ("vitamin A", "vitamin", False),
        ("C#", "C", False),
        ("Paris", "Paris, France", False),
        ("Paris", "", False),
        ("?", "!", False),
    ],
)
def test_texts_are_equal_where_they_say_the_same_words(gold, answer, equal):
    assert equal_texts(gold, answer) is equal
    assert equal_texts(answer, gold) is equal


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (" Kyiv", "Kyiv"),
        ("<think>Is it Lviv?</think> Kyiv", "Kyiv"),
        ("<think>x</think> <answer> Kyiv </answer>", "Kyiv"),
        (r"I think it is \boxed{Kyiv}.", "Kyiv"),
        ("The answer is Kyiv.", "Kyiv"),
        ("It was founded early. The answer is: St. Louis.", "St. Louis"),
        ("Let me see.\n\n**Answer:** Kyiv", "Kyiv"),
        ("The answer is Lviv. No, the correct answer is **Kyiv**.", "Kyiv"),
        ("答案是基辅。", "基辅"),
        ("想一想。答案：基辅", "基辅"),
        ("<answer>The answer is Kyiv.</answer>", "The answer is Kyiv."),
        ("The answer is Kyiv.\nThat is all.", "The answer is Kyiv.\nThat is all."),
        ("I do not know what the answer is. Kyiv", "I do not know what the answer is. Kyiv"),
        ("The capital of Ukraine is Kyiv.", "The capital of Ukraine is Kyiv."),
        ("", ""),
        ("<answer> </answer>", ""),
    ],
)
def test_the_answer_that_a_completion_states_is_read(completion, answer):
    assert stated_text(completion) == answer


def test_every_fact_of_the_embedded_world_equals_itself_and_no_other_answer_to_its_question():
    facts = all_facts()
    for fact in facts:
        assert equal_texts(fact.answer, stated_text(f"<answer> {fact.answer}. </answer>"))
    answers = {fact.answer for fact in facts}
    assert len({normal_text(answer) for answer in answers}) == len({answer.casefold() for answer in answers})


def test_a_long_gold_answer_is_not_short():
    assert is_short("x" * 80)
    assert not is_short("x" * 81)
    assert not is_short("two\nlines")
