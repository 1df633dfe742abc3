import gzip
import json
import threading

import pytest
from conftest import SHARED, needs_shared

from r1kit.answer import answer_part, equal_answers, extract_answer


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("14", "14"),
        ("The answer is 14.", "14"),
        ("7 + 7 = 14\n14 - 2 = 12. #### 12", "12"),
        ("答案是 20。", "20"),
        ("<think> 7 + 12 = 19. </think> <answer> 20 </answer>", "20"),
        ("<answer>1</answer> no, <answer>2</answer>", "2"),  # the last counts
        ("<think> 3 </think> so it is 5", "5"),
        ("so \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("no idea", None),
        ("", None),
    ],
)
def test_the_answer_is_read_from_where_it_stands(completion, answer):
    assert extract_answer(completion) == answer


def test_an_open_answer_tag_is_no_block():
    assert answer_part("<answer> 3") == "<answer> 3"


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("14", "14", True),
        ("10", "10.", True),
        ("0.5", "\\frac{1}{2}", True),
        ("x + 1", "1 + x", True),
        ("14", "15", False),
        ("14", "", False),
        ("nobody knows", "14", None),
    ],
)
def test_equality_is_mathematical(gold, answer, equal):
    assert equal_answers(gold, answer) is equal


def test_it_works_off_the_main_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(equal_answers("0.25", "\\frac{1}{4}")))
    thread.start()
    thread.join()
    assert found == [True]


@needs_shared
def test_every_gsm8k_gold_equals_itself():
    rows = [json.loads(line) for line in (SHARED / "data" / "gsm8k_test.jsonl").open(encoding="utf-8")]
    golds = [row["answer"].rpartition("####")[2].strip() for row in rows]
    assert [gold for gold in golds if not equal_answers(gold, gold)] == []


@needs_shared
def test_verdicts_on_model_outputs_are_math_verifys():
    from math_verify import parse, verify

    with gzip.open(SHARED / "grading" / "model_outputs.jsonl.gz", "rt", encoding="utf-8") as file:
        cases = [json.loads(line) for line in file][::45]
    right = 0
    for case in cases:
        gold, text = case["answer"], answer_part(case["completion"])
        ours, parsed_gold = equal_answers(gold, text), parse(gold)
        assert ours is (verify(parsed_gold, parse(text)) if parsed_gold else None), case["id"]
        right += ours is case["expected"]
    assert right >= 0.97 * len(cases)
