import gzip
import json
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import SHARED, needs_shared

from r1kit import answer
from r1kit.answer import answer_part, equal_answers, explain_math, extract_answer, judge, last_box, plain_number

LIMIT = 5.0  # seconds, math-verify's own for a parse or a comparison


def plain_verdict(gold: str, text: str) -> str | None:
    """Return math-verify's own verdict, None where it is not made within its limits."""
    from math_verify import parse, verify

    started = time.monotonic()
    parsed_gold, parsed = parse(gold), parse(text)
    equal = verify(parsed_gold, parsed)
    if time.monotonic() - started >= LIMIT:
        return None
    return "gold_unparseable" if not parsed_gold else "no_answer" if not parsed else "correct" if equal else "wrong"


def published(name: str) -> list[dict]:
    """Return the cases of a file of answers with their grades."""
    with gzip.open(SHARED / "grading" / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize(
    ("completion", "extracted"),
    [
        ("14", "14"),
        ("The answer is 14.", "14"),
        ("7 + 7 = 14\n14 - 2 = 12. #### 12", "12"),
        ("答案是 20。", "20"),
        ("<think> 7 + 12 = 19. </think> <answer> 20 </answer>", "20"),
        ("<answer>1</answer> no, <answer>2</answer>", "2"),  # the last counts
        ("I write <answer> before it: <answer>2</answer> and </answer> behind it.", "2"),
        ("<think> 3 </think> so it is 5", "5"),
        ("so \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("first \\boxed{1}\n\n" + "then more is said of it, " * 4 + "and \\boxed{x^2} is 3.", "x^2"),
        ("no idea", None),
        ("", None),
    ],
)
def test_the_answer_is_read_from_where_it_stands(completion, extracted):
    assert extract_answer(completion) == extracted


def test_an_open_answer_tag_is_no_block():
    assert answer_part("<answer> 3") == "<answer> 3"
    assert answer_part("3 </answer>") == "3 </answer>"


@pytest.mark.parametrize(
    ("gold", "text", "equal"),
    [
        ("14", "14", True),
        ("10", "10.", True),
        ("0", "-0", True),
        ("7", "007", True),
        ("1000", "1,000", True),
        ("50", "\\boxed{50\\%}", True),
        ("0.5", "\\frac{1}{2}", True),
        ("x + 1", "1 + x", True),
        ("14", "15", False),
        ("14", "\\boxed{-14}", False),
        ("14", "", False),
        ("nobody knows", "14", None),
    ],
)
def test_equality_is_mathematical(gold, text, equal):
    assert equal_answers(gold, text) is equal


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("$5 \\bmod 7$", "7"),
        ("$\\frac{1}{2004!}$", "$\\frac{1}{2006!}$"),
        ("$0.0000001$", "$0.0000002$"),
    ],
)
def test_unequal_things_that_math_verify_calls_equal_stay_equal(gold, text):
    assert judge(gold, text).verdict == plain_verdict(gold, text)


@pytest.mark.parametrize(
    "text",
    [
        "$\\boxed{1}$ and $\\boxed{2}$",  # math-verify makes a set of them
        "\\[ x = \\boxed{1}, \\text{ and later } y = \\boxed{2} \\]",
        "\\boxed{1}, \\boxed{2}",
        "\\boxed{2} \nThe final answer is 3. I hope it is correct.",
        "half: $\\boxed{50}$ percent",
        "\\boxed{2",
        "\\boxed {2}",
        "\\boxed{1} \\fbox{2}",
        "no box",
    ],
)
def test_a_text_is_not_cut_where_math_verify_reads_more_than_the_last_box(text):
    assert last_box(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "It is \\boxed{\\frac{1}{2}}.",
        "It costs $5 and\n\\[\n\\boxed{\\frac{1}{2}}\n\\]\nif $x > 3$.",
        "First $\\boxed{3}$ is found.\n\n" + "It is not the end. " * 5 + "\n\nSo $x = \\boxed{\\frac{1}{2}}$.",
    ],
)
def test_a_text_is_cut_to_its_last_box(text):
    assert last_box(text) == "\\boxed{\\frac{1}{2}}"


def test_a_box_that_cannot_be_parsed_is_read_in_its_text():
    text = "\\boxed{ \\& 4 \\& } so it is 9"
    assert last_box(text) == "\\boxed{ \\& 4 \\& }"
    assert (judge("4", text).verdict, judge("9", text).verdict) == ("wrong", "correct")


def random_text(draw: random.Random, prose: list[str], golds: list[str]) -> str:
    """Return a text of boxes, formulas and prose, put together without sense."""
    delimiters = [("$", "$"), ("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), (" [", "] "), ("\\[\n", "\n\\]"), ("", "")]
    odd = [
        " and ",
        ", ",
        "%",
        " percent",
        "\n",
        "$",
        "$$",
        "\\[",
        "\\]",
        "{",
        "}",
        "\\fbox{2}",
        "\\boxed",
        "Answer: ",
        "7",
    ]
    inside = [
        *draw.sample(golds, 6),
        "5",
        "\\& 4 \\&",
        "5\n",
        "6\\]",
        "\\{1, 2\\}",
        "[1, 2)",
        "50\\%",
        "a{b",
        "3 and 4",
    ]
    pieces = []
    for _ in range(draw.randint(1, 8)):
        opening, closing = draw.choice(delimiters)
        start = draw.randrange(300)
        piece = (
            f"{opening}\\boxed{{{draw.choice(inside)}}}{closing}",
            draw.choice(odd),
            draw.choice(prose)[start:][:120],
        )
        pieces.append(draw.choices(piece, (0.4, 0.35, 0.25))[0])
    return draw.choice(["", " ", "\n"]).join(pieces).strip()


@needs_shared
def test_a_box_reads_as_its_text_does_in_random_texts():
    from math_verify import parse

    from r1kit.math_judge import read_box

    draw, cut = random.Random(0), 0
    cases = published("model_outputs.jsonl.gz")
    prose = [case["completion"] for case in cases]
    golds = [case["answer"] for case in cases if "\\" in case["answer"]]
    for _ in range(8000):
        text = random_text(draw, prose, golds)
        box = last_box(text)
        read = None if box is None else read_box(box)
        if read is not None:
            cut += 1
            assert [str(part) for part in read] == [str(part) for part in parse(text)], text
    assert cut > 500


def differing(cases: list[dict]) -> list[str]:
    """Return the ids of the cases that are judged otherwise than math-verify judges the same text."""
    texts = [answer_part(case["completion"]) for case in cases]
    with ThreadPoolExecutor(2) as threads:
        ours = list(threads.map(lambda case, text: judge(case["answer"], text).verdict, cases, texts))
    plain = [plain_verdict(case["answer"], text) for case, text in zip(cases, texts, strict=True)]
    assert sum(verdict is None for verdict in plain) < 10
    return [c["id"] for c, a, b in zip(cases, ours, plain, strict=True) if b is not None and a != b]


@needs_shared
@pytest.mark.parametrize("name", ["unit_cases.jsonl.gz", "model_outputs.jsonl.gz"])
def test_no_verdict_differs_from_math_verifys(name):
    assert differing(published(name)) == []


def test_it_works_off_the_main_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(equal_answers("0.25", "\\frac{1}{4}")))
    thread.start()
    thread.join()
    assert found == [True]


@needs_shared
def test_it_works_in_a_forked_process():
    cases = published("model_outputs.jsonl.gz")[::300]
    child = os.fork()
    if child == 0:
        answer._judge_text.cache_clear()
        os._exit(0 if differing(cases) == [] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_callers_alarm_is_left_alone():
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(1000)
    assert equal_answers("0.75", "it is \\frac{3}{4}") is True
    assert 900 < signal.alarm(0) <= 1000
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_what_was_decided_for_a_box_is_not_asked_again():
    asked = answer._judge_text.cache_info().misses
    for prose in ("So", "Hence we get", "After a long time:\n\n"):
        assert judge("x+4321", f"{prose} $\\boxed{{4321+x}}$.").extracted == "4321+x"
    assert answer._judge_text.cache_info().misses == asked + 1


def test_an_explanation_says_how_both_parse():
    lines = explain_math("5", "<answer>\\frac{1}{2}</answer>")
    assert lines[0].startswith("gold '5' parses to: 5")
    assert lines[1].startswith("answer parses to: 1/2")


def plain_cases(count: int) -> list[tuple[str, str]]:
    """Return pairs of a gold number and a text that states one, many of them equal."""
    draw = random.Random(1)

    def number() -> str:
        if draw.random() < 0.4:
            return str(draw.choice([0, 1, -1, 7, 10, 100, 999999999, -999999999, draw.randint(-(10**6), 10**6)]))
        whole = draw.choice(["0", "1", "-1", "-0", "12", "999999999", str(draw.randint(0, 9999))])
        return f"{whole}.{draw.choice(['0', '5', '50', '000001', '999999', '100000', str(draw.randint(0, 999999))])}"

    forms = ("%s", "%s.", "The answer is %s.", "so it's: %s", "final answer is: %s", "$%s$", "\\boxed{%s}", "about\n%s")
    cases = []
    for _ in range(count):
        gold = number()
        same = (
            gold if draw.random() < 0.5 or len(gold.partition(".")[2]) == 6 else gold + ("0" if "." in gold else ".0")
        )
        cases.append((gold, draw.choice(forms).replace("%s", same if draw.random() < 0.5 else number())))
    return cases


def test_plain_numbers_are_decided_at_once_and_as_math_verify_does(monkeypatch):
    from math_verify import parse, verify

    monkeypatch.setattr("r1kit.answer.pool", None)  # nothing is asked
    cases = plain_cases(1500)
    ours = [judge(gold, text).verdict for gold, text in cases]
    theirs = ["correct" if verify(parse(gold), parse(text)) else "wrong" for gold, text in cases]
    assert [(case, a) for case, a, b in zip(cases, ours, theirs, strict=True) if a != b] == []
    assert 0.3 < ours.count("correct") / len(ours) < 0.7


@needs_shared
def test_a_number_that_ends_a_text_is_what_math_verify_reads_there():
    """Pieces of published solutions, with what might be read as another answer strewn in."""
    from math_verify import parse, verify

    draw = random.Random(2)
    with gzip.open(SHARED / "grading" / "model_outputs.jsonl.gz", "rt", encoding="utf-8") as file:
        solutions = [answer_part(json.loads(line)["completion"]) for line in file]
    strewn = [" + ", " - ", " = ", ",", "\n", ": ", "*", "%", " percent", " 3", " -2", " 1,000", "(", "$", " answer "]
    strewn += [" Answer: ", " is ", " x ", "**", "e5", "/", "^2", " 12 345", " final answer is ", " and "]
    ends = ["", " 5", " is 7.", " answer is 9", " answer: 3.5", " = 4", " -6", " so 12.", "\n8"]
    read = 0
    for _ in range(4000):
        text = draw.choice(solutions)[-draw.randint(5, 200) :]
        for _ in range(draw.randint(0, 3)):
            place = draw.randint(0, len(text))
            text = text[:place] + draw.choice(strewn) + text[place:]
        text = (text + draw.choice(ends)).strip()
        number = plain_number(text)
        if number is not None:
            read += 1
            assert verify(parse(number), parse(text)), (text, number)
    assert read > 1000
