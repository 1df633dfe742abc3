import pytest
from conftest import SHARED, needs_shared

from r1kit.data import read_problems
from r1kit.jsonl import Record
from r1kit.wording import blank_divided, figures, normalise, numbers, prompt_text, tokens

SAME = [
    ("What is 3+4?", "what  is $3 + 4$"),
    ("He pays $80,000.", "he pays 80000"),
    ("10{,}000 and 1\\,000", "10,000 and 1,000"),
    ("Janet’s ducks don't quack", "janets ducks dont quack"),
    ("a well-known man - or “not” — that’s it…", "A well known man, or 'not': that's it!"),
    ("\\(x\\) and \\[y\\]", "$x$ and $$y$$"),
    ("x² − 3×4 ÷ 5", "x^2 - 3*4 / 5"),
    ("3½ cups", "3 1/2 cups"),
    ("ｗｉｄｅ １２，ﬁne", "wide 12 fine"),
    ("求２加３的和是多少？", "求 2 加 3 的 和 是 多 少。"),
    ("50\\% of it", "50% of it"),
    ("STRASSE", "straße"),
]
OTHER = [
    ("What is 3+4?", "What is 3+5?"),
    ("What is 3+4?", "What is 3*4?"),
    ("What is 3+4?", "What is 34?"),
    ("What is 3.5?", "What is 35?"),
    ("What is 10²?", "What is 102?"),
    ("What is 5! / 3?", "What is 5 / 3?"),
    ("Find f'(x).", "Find f(x)."),
    ("Triangle A'B'C'", "Triangle ABC"),
    ("Find (1,2).", "Find (12)."),
    ("Find x - y.", "Find x y."),
    ("Find (3+4)*2.", "Find 3+4*2."),
    ("a ratio of 3:5", "a ratio of 3 5"),
    ("\\sin 30", "\\cos 30"),
    ("3½ cups", "31/2 cups"),
    ("की बात", "का बात"),
    ("求2加3", "求2减3"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_case_blanks_and_punctuation_do_not_count(one, other):
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_numbers_and_signs_count(one, other):
    assert normalise(one) != normalise(other)


def test_normalising_again_changes_nothing_where_no_mark_needs_its_neighbour():
    texts = [text for pair in (*SAME, *OTHER) for text in pair if not set("'’!:") & set(text)]
    assert [normalise(normalise(text)) for text in texts] == [normalise(text) for text in texts]


@needs_shared
@pytest.mark.parametrize("name", ["gsm8k_test", "math500", "aime24", "amc23", "minerva_math"])
def test_no_two_problems_of_a_benchmark_say_the_same(name):
    texts = {prompt_text(problem) for problem in read_problems(str(SHARED / "data" / f"{name}.jsonl"))}
    assert len({normalise(text) for text in texts}) == len(texts)


def test_numbers_are_read_as_digits_or_words_and_figures_are_all_but_words():
    words = tokens("Three bags of 25 kg cost twice $1,200.50: $x_1 + \\frac{1}{2} > 0$, 二")
    assert numbers(words) == ["3", "25", "twice", "1200.50", "1", "1", "2", "0", "二"]
    expected = "3 25 twice 1200.50 _ 1 + \\frac { 1 } { 2 } > 0 二"
    assert figures(words) == expected.split()
    assert numbers(tokens("twenty-five")) == ["20", "5"]


def test_what_blanks_and_punctuation_divide_are_words():
    assert blank_divided("Let $f(x)=3x-2$, x>0.Find it;求和") == ["let", "f(x)=3x-2", "x>0", "find", "it", "求", "和"]


def test_the_prompt_of_a_conversation_is_all_but_the_system_prompt():
    said = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert prompt_text(Record({"prompt": said}, "x:1")) == "a\nb"
