"""The verdict on a rollout's answer, by its kind.

Mathematics is judged by equality, an option by its letter, code by its tests, a task of reasoning-gym by its own score,
any other short answer as text.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from r1kit.answer import answer_part, judge, short_answer
from r1kit.choice import LETTERS, extract_choice, read_letter
from r1kit.code import check_tests, extract_program, run_tests
from r1kit.errors import Ungradable
from r1kit.exact_match import equal_texts, is_short, stated_text
from r1kit.formulas import as_formula, equal_formulas
from r1kit.reasoning_gym_tasks import score_task
from r1kit.sandbox import Sandbox
from r1kit.workers import NoReplyError

Grading = Literal["math", "choice", "text", "code", "task"]


class Outcome(NamedTuple):
    """What is said of a rollout's answer."""

    extracted: str | None  # the answer, or the program, as it was read
    verdict: str | None  # "correct", "wrong", "no_answer", "gold_unparseable", "timeout"; None: nothing to judge by
    reason: str | None = None  # why the verdict is none, or why a program fails
    passed: float | None = None  # of a program: the share of its tests that it passes


def kind_of(record: Mapping[str, Any]) -> str:
    """Return the kind of a problem or rollout: as it says, else code where it has tests, else math."""
    return record.get("kind") or ("code" if record.get("tests") is not None else "math")


def grading_of(record: Mapping[str, Any]) -> Grading:
    """Return what the answers of a problem or rollout are judged by."""
    kind = kind_of(record)
    if record.get("reasoning_gym") is not None:
        return "task"
    if kind == "code":
        return "code"
    if isinstance(record.get("choices"), list):
        return "choice"
    return "math" if kind == "math" else "text"


def gold_of(record: Mapping[str, Any]) -> str | None:
    """Return the gold answer that answers can be compared with, None where there is none, or something else judges."""
    gold, grading = record.get("answer"), grading_of(record)
    if gold is None or grading in ("code", "task"):
        return None
    if grading == "choice":
        return read_letter(str(gold), len(record["choices"]))
    return None if grading == "text" and _why_no_match(record) else str(gold)


def equality_of(record: Mapping[str, Any]) -> Callable[[str, str], bool | None]:
    """Return what tells whether two answers to a problem are the same; the first is the gold answer where one is.

    It returns None where the gold answer cannot be read.
    """
    match grading_of(record):
        case "math":
            return equal_formulas
        case "text":
            return equal_texts
    return operator.eq


def judge_math(rollout: Mapping[str, Any]) -> Outcome:
    """Judge the final answer against the gold answer."""
    gold = rollout.get("answer")
    judgement = judge(None if gold is None else as_formula(str(gold)), answer_part(rollout["completion"]))
    reasons = {None: "no gold answer", "gold_unparseable": "the gold answer cannot be read"}
    return Outcome(judgement.extracted, judgement.verdict, reasons.get(judgement.verdict))


def judge_choice(rollout: Mapping[str, Any]) -> Outcome:
    """Judge the letter that a completion states against that of the right option."""
    count = len(rollout["choices"])
    if not 2 <= count <= len(LETTERS):
        return Outcome(None, None, f"2 to {len(LETTERS)} options have letters, and there are {count}")
    letter, gold = extract_choice(answer_part(rollout["completion"]), count), gold_of(rollout)
    if rollout.get("answer") is None:
        return Outcome(letter, None, "no gold answer")
    if gold is None:
        return Outcome(letter, "gold_unparseable", f"the gold answer is none of the letters A to {LETTERS[count - 1]}")
    return Outcome(letter, _verdict(letter, letter == gold))


def judge_text(rollout: Mapping[str, Any]) -> Outcome:
    """Judge the answer that a completion states against the gold answer as text."""
    gold, answer = gold_of(rollout), stated_text(rollout["completion"]) or None
    if gold is not None:
        return Outcome(answer, _verdict(answer, answer is not None and equal_texts(gold, answer)))
    return Outcome(answer, None, _why_no_match(rollout))


def _why_no_match(record: Mapping[str, Any]) -> str | None:
    """Return why an answer cannot be compared with the gold answer as text, None where it can."""
    gold = record.get("answer")
    if record.get("tests") is not None:
        return "its tests are run where it is of kind code"
    if isinstance(gold, list | dict):
        return "the gold answer is no text"
    if gold is None or not str(gold).strip():
        return "no gold answer"
    if not is_short(str(gold).strip()):
        return f"the gold answer is a text of {len(str(gold).strip())} characters; exact match is for short ones"
    return None


def _verdict(answer: str | None, right: bool) -> str:
    return "no_answer" if answer is None else "correct" if right else "wrong"


def judge_code(rollout: Mapping[str, Any], sandbox: Callable[[], Sandbox] | None, partial: bool) -> Outcome:
    """Run the program that a completion ends in against the tests.

    The program is the last fenced block after the reasoning.
    """
    program = extract_program(answer_part(rollout["completion"]))
    source = program.source if program else None
    if sandbox is None or rollout.get("tests") is None:
        return Outcome(source, None, "no tests")
    try:
        if program is None:
            check_tests(rollout["tests"])
            return Outcome(None, "no_answer", "no fenced block after the reasoning", 0.0)
        result = run_tests(program.source, rollout["tests"], program.language, sandbox(), partial=partial)
    except Ungradable as error:
        return Outcome(source, None, str(error))
    return Outcome(source, result.verdict, result.reason, result.passed / result.total)


def judge_task(rollout: Mapping[str, Any], judged: bool) -> Outcome:
    """Have the task of reasoning-gym that made the problem score the answer: right is what scores 1."""
    answer = short_answer(rollout["completion"])
    if not judged:
        return Outcome(answer or None, None)
    if not answer:
        return Outcome(None, "no_answer", None, 0.0)
    try:
        score = score_task(rollout, answer)
    except NoReplyError:
        return Outcome(answer, "timeout", None, 0.0)
    except Ungradable as error:
        return Outcome(answer, None, str(error))
    return Outcome(answer, "correct" if score >= 1 else "wrong", None, score)


def judge_rollout(rollout: Mapping[str, Any], sandbox: Callable[[], Sandbox] | None, partial: bool = False) -> Outcome:
    """Judge the answer of a rollout by its kind.

    Args:
        sandbox: gives what programs run in; None: they are not run, only read.
        partial: run all tests of a program, also after one that fails.
    """
    match grading_of(rollout):
        case "task":
            return judge_task(rollout, sandbox is not None)
        case "code":
            return judge_code(rollout, sandbox, partial)
        case "choice":
            return judge_choice(rollout)
        case "math":
            return judge_math(rollout)
    return judge_text(rollout)
