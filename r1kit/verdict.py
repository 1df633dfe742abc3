"""The verdict on a rollout's answer, by its kind: mathematics by equality, code by its tests."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from r1kit.answer import answer_part, judge, short_answer
from r1kit.code import check_tests, extract_program, run_tests
from r1kit.errors import Ungradable
from r1kit.reasoning_gym_tasks import score_task
from r1kit.sandbox import Sandbox
from r1kit.workers import NoReplyError


class Outcome(NamedTuple):
    """What is said of a rollout's answer."""

    extracted: str | None  # the answer, or the program, as it was read
    verdict: str | None  # "correct", "wrong", "no_answer", "gold_unparseable", "timeout"; None: nothing to judge by
    reason: str | None = None  # why the verdict is none, or why a program fails
    passed: float | None = None  # of a program: the share of its tests that it passes


def kind_of(record: Mapping[str, Any]) -> str:
    """Return the kind of a problem or rollout: as it says, else code where it has tests, else math."""
    return record.get("kind") or ("code" if record.get("tests") is not None else "math")


def judge_math(rollout: Mapping[str, Any]) -> Outcome:
    """Judge the final answer against the gold answer."""
    gold = rollout.get("answer")
    judgement = judge(None if gold is None else str(gold), answer_part(rollout["completion"]))
    reasons = {None: "no gold answer", "gold_unparseable": "the gold answer cannot be read"}
    return Outcome(judgement.extracted, judgement.verdict, reasons.get(judgement.verdict))


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
    if rollout.get("reasoning_gym") is not None:
        return judge_task(rollout, sandbox is not None)
    match kind_of(rollout):
        case "math":
            return judge_math(rollout)
        case "code":
            return judge_code(rollout, sandbox, partial)
    return Outcome(answer_part(rollout["completion"]) or None, None, "accuracy is for math and code")
