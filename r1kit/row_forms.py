r"""Rows of other projects as problems: the forms in which data sets write them, each known by its columns.

Gold answers are cleaned (gsm8k's "#### 1,234", the \boxed{…} of a solution), tests are put into r1kit's form, a prompt
is written where a row holds only its parts. Columns that are not read stay as they are.
"""

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

from r1kit.answer import BOX, after_brace
from r1kit.choice import LETTERS
from r1kit.errors import UserError
from r1kit.formulas import as_formula
from r1kit.jsonl import Record
from r1kit.known_sets import KnownSet
from r1kit.livecodebench import livecodebench_tests
from r1kit.records import ALIASES, as_problem

Fields = dict[str, Any]
GSM8K_GOLD = re.compile(r"(?:\A|\n)####[ \t]*(\S[^\n]*?)\s*\Z")
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
OPTIONS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
STRUCTURED = (
    *("prompt", "tests", "test_list", "test_imports", "nums", "examples", "official_tests", "reasoning_gym"),
    *("choices", "options"),
)

# simple-evals (github.com/openai/simple-evals), common.py, QUERY_TEMPLATE_MULTICHOICE, in short
CHOOSE = "Answer with the letter of the right option: {} or {}."
# TinyZero (github.com/Jiayi-Pan/TinyZero), examples/data_preprocess/countdown.py
COUNTDOWN = (
    "Using the numbers {nums}, create an equation that equals {target}. You can use basic arithmetic operations "
    "(+, -, *, /) and each number can only be used once. Return the final expression in <answer> </answer> tags, for "
    "example <answer> (1 + 2) / 3 </answer>."
)
COMPLETE = "Complete this Python function. Reply with the whole function in one ```python block.\n\n```python\n{}\n```"
PASS_TESTS = "{}\n\nReply with Python code in one ```python block. It must pass these tests:\n\n```python\n{}\n```"
READ_STDIN = "{}\n\nRead from stdin and write to stdout. Reply with the whole program in one ```python block."
FILL_IN = "{}\n\nReply with the whole of this code, filled in, in one ```python block:\n\n```python\n{}\n```"


def problem_of_row(row: Record, known: KnownSet | None = None, seed: int = 0, kind: str | None = None) -> Record:
    """Return a row as a problem.

    Args:
        known: the set it is of, which says its kind, and how its columns are called.
        seed: of the order of options.
        kind: of a row that does not say its own.

    Raises:
        UserError: it has no prompt, or what it holds cannot be read.
    """
    fields = {known.columns.get(key, key) if known else key: value for key, value in row.items()}
    for name in STRUCTURED:
        if isinstance(fields.get(name), str):
            fields[name] = _as_json(name, fields[name])
    form = next((form for columns, form in FORMS if columns <= fields.keys()), None)
    try:
        fields = form(fields, seed) if form else fields
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        what = f"its columns {', '.join(sorted(fields))} do not hold what they should ({error})"
        raise UserError(row.place, what, "mend it, or rename with --map") from None
    if known:
        stated = known.problem_id(row)
        fields = {**({} if stated is None else {"id": stated}), "kind": known.kind, "language": "en"} | fields
        if stated is not None:
            fields["id"] = stated
    if kind is not None and fields.get("kind") is None:
        fields["kind"] = kind
    return as_problem(Record(_formulas(_clean_answer(fields, known)), row.place))


def _as_json(name: str, text: str) -> Any:
    """Return what a column states as JSON text, as CSV files and some data sets have lists and objects; else the text.

    A prompt is that only where it is a list of messages.
    """
    if not text.startswith(("[", "{")):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    messages = isinstance(value, list) and value and all(isinstance(item, dict) and "role" in item for item in value)
    return value if name != "prompt" or messages else text


def _formulas(fields: Fields) -> Fields:
    """Return fields with the gold answer of a math problem as math-verify reads all of it (see `as_formula`)."""
    answer = fields.get("answer")
    by_text = (fields.get("kind") or "math") != "math" or {"tests", "reasoning_gym", "choices"} & fields.keys()
    if by_text or not isinstance(answer, str):
        return fields
    return {**fields, "answer": as_formula(answer)}


def _clean_answer(fields: Fields, known: KnownSet | None) -> Fields:
    r"""Return fields with the gold answer as text alone, under our name; what it was cut from stays, as `solution`.

    Where a solution stands and no answer, its last \boxed{…} is the answer.
    """
    name = next((name for name in ("answer", *ALIASES["answer"]) if name in fields), "answer")
    answer = fields.get(name)
    if known and answer in known.no_answer:
        return _without(fields, name)
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = str(answer)
    if not isinstance(answer, str):
        return fields
    if name == "solution" and (box := _last_boxed(answer)) is not None:
        return {**fields, "answer": box}
    fields = {"answer" if key == name else key: value for key, value in fields.items()}
    match = GSM8K_GOLD.search(answer)
    if match is None:
        return {**fields, "answer": answer}
    return {**fields, "answer": THOUSANDS.sub("", match.group(1)), "solution": fields.get("solution") or answer}


def _last_boxed(solution: str) -> str | None:
    r"""Return what is in the last \boxed{…} of a solution, None where there is none, or it is not closed."""
    start = solution.rfind(BOX)
    end = after_brace(solution, start + len(BOX)) if start >= 0 else None
    return None if end is None else solution[start + len(BOX) : end - 1].strip()


def _gpqa(fields: Fields, seed: int) -> Fields:
    """Options in an order that depends on the seed and the row; the answer is the letter of the right one."""
    options = [str(fields[name]).strip() for name in OPTIONS]
    order = list(range(len(options)))
    Random(f"{seed} {fields.get('Record ID') or fields['Question']}").shuffle(order)
    shuffled = [options[i] for i in order]
    asked = {"prompt": _ask_choice(fields["Question"], shuffled), "choices": shuffled}
    return {**_without(fields, "Question"), **asked, "answer": LETTERS[order.index(0)]}


def _ask_choice(question: Any, choices: list[str]) -> str:
    """Return a question with its options, each behind its letter, and how to answer."""
    letters = LETTERS[: len(choices)]
    lines = [f"{letter}) {text}" for letter, text in zip(letters, choices, strict=True)]
    *boxes, last = [f"\\boxed{{{letter}}}" for letter in letters]
    return "\n\n".join([str(question).strip(), "\n".join(lines), CHOOSE.format(", ".join(boxes), last)])


def _multiple_choice(fields: Fields, seed: int) -> Fields:
    """Options in their order, the right one by its letter or by its place from 0, as MMLU and MMLU-Pro have it.

    What is not surely that stays as it is: options that are no texts, an answer that is one of neither.
    """
    name = "choices" if "choices" in fields else "options"
    choices, answer = fields[name], fields["answer"]
    is_list = isinstance(choices, list) and all(isinstance(text, str) for text in choices)
    if "prompt" in fields or not is_list or not 2 <= len(choices) <= len(LETTERS):
        return fields
    letters = LETTERS[: len(choices)]
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        answer = letters[answer]
    if not isinstance(answer, str) or len(answer) != 1 or answer not in letters:
        return fields
    place = fields.get("answer_index", letters.index(answer))
    if str(place) != str(letters.index(answer)):
        raise ValueError(f"answer is {answer}, and answer_index {place}")
    texts = [text.strip() for text in choices]
    asked = {"prompt": _ask_choice(fields["question"], texts), "choices": texts, "answer": answer}
    return {**_without(fields, "question", name, "answer_index"), **asked}


def _countdown(fields: Fields, seed: int) -> Fields:
    """TinyZero's prompt; reasoning-gym's countdown grades the answer, since there are many that are right."""
    nums, target = [int(number) for number in fields["nums"]], int(fields["target"])
    task = {"task": "countdown", "metadata": {"numbers": nums, "target": target}}
    prompt = COUNTDOWN.format(nums=nums, target=target)
    return {**fields, "nums": nums, "target": target, "prompt": prompt, "kind": "general", "reasoning_gym": task}


def _human_eval(fields: Fields, seed: int) -> Fields:
    prompt, name = fields["prompt"], fields["entry_point"]
    helpers = prompt.rpartition(f"def {name}(")[0]  # imports, and functions that the tests call too
    asserts = f"{helpers}\n{fields['test']}\ncheck({name})\n"
    fields = {"kind": "code", **_without(fields, "test"), "prompt": COMPLETE.format(prompt.strip("\n"))}
    return {**fields, "starter_code": prompt, "tests": {"asserts": asserts}}


def _mbpp(fields: Fields, seed: int) -> Fields:
    given = fields.get("prompt") or fields["text"]
    setup = fields.get("test_imports") or []
    if fields.get("test_setup_code"):
        setup = [*setup, fields["test_setup_code"]]
    tests = list(fields["test_list"])
    fields = {"kind": "code", **_without(fields, "text", "test_list", "test_imports", "test_setup_code")}
    prompt = PASS_TESTS.format(given.strip(), "\n".join(tests))
    return {**fields, "prompt": prompt, "tests": {"asserts": "\n".join([*setup, *tests]) + "\n"}}


def _livecodebench(fields: Fields, seed: int) -> Fields:
    tests = livecodebench_tests(
        fields["public_test_cases"], fields.get("private_test_cases"), fields.get("metadata") or "{}"
    )
    question, starter = fields["question_content"], fields.get("starter_code")
    asked = FILL_IN.format(question, starter) if starter else READ_STDIN.format(question)
    rest = _without(fields, "question_content", "public_test_cases", "private_test_cases", "metadata")
    return {"kind": "code", **rest, "prompt": asked, "tests": tests}


def _codeforces(fields: Fields, seed: int) -> Fields:
    """A problem as it is put to people; tests only where comparing outputs says whether a program is right."""
    parts = [fields["description"]]
    for title, name in (("Input", "input_format"), ("Output", "output_format"), ("Note", "note")):
        parts += [f"{title}\n\n{fields[name]}"] if fields.get(name) else []
    parts += [f"Input:\n{e['input']}\nOutput:\n{e['output']}" for e in fields.get("examples") or []]
    prompt = READ_STDIN.format("\n\n".join(parts))
    pairs = [(test["input"], test["output"]) for test in fields["official_tests"] or []]
    stdio = (fields.get("input_mode") or "stdio") == "stdio" and not fields.get("interaction_format")
    tests = {"inputs": [given for given, _ in pairs], "outputs": [wanted for _, wanted in pairs]}
    judged = pairs and stdio and not fields.get("generated_checker")
    rest = {"kind": "code", **_without(fields, "official_tests", "examples"), "prompt": prompt}
    return {**rest, "tests": tests} if judged else rest


def _messages(fields: Fields, seed: int) -> Fields:
    """Chat messages under verl's names: the gold answer stands within `reward_model`."""
    gold = fields["reward_model"].get("ground_truth")
    return fields if "answer" in fields or gold is None else {**fields, "answer": gold}


def _own_tests(fields: Fields, seed: int) -> Fields:
    """Tests in r1kit's own form; Parquet files have a null for each key of the other forms."""
    tests = fields["tests"]
    return {**fields, "tests": {k: v for k, v in tests.items() if v is not None} if isinstance(tests, dict) else tests}


def _without(fields: Fields, *names: str) -> Fields:
    return {key: value for key, value in fields.items() if key not in names}


# columns that a row of the form has, and what makes a problem of it: the first that fits
FORMS: tuple[tuple[set[str], Callable[[Fields, int], Fields]], ...] = (
    ({"prompt", "tests"}, _own_tests),
    ({"Question", *OPTIONS}, _gpqa),
    ({"question", "choices", "answer"}, _multiple_choice),
    ({"question", "options", "answer", "answer_index"}, _multiple_choice),
    ({"prompt", "reasoning_gym"}, lambda fields, seed: fields),
    ({"nums", "target"}, _countdown),
    ({"prompt", "test", "entry_point"}, _human_eval),
    ({"test_list"}, _mbpp),
    ({"question_content", "public_test_cases"}, _livecodebench),
    ({"description", "official_tests"}, _codeforces),
    ({"prompt", "reward_model"}, _messages),
)
