"""How one rollout was graded: what was read from where, how gold answer and answer parse, and why they differ."""

from collections.abc import Iterable, Iterator
from typing import Any

from r1kit.answer import answer_part, explain_math
from r1kit.choice import LETTERS
from r1kit.errors import UserError
from r1kit.exact_match import normal_text
from r1kit.grader import Graded, Grader
from r1kit.jsonl import Record
from r1kit.verdict import gold_of, grading_of, kind_of


def explain_rollout(rollouts: Iterable[Record], wanted: str, grader: Grader) -> Iterator[str]:
    """Yield lines that say how the rollout "ID" or "ID/SAMPLE" is graded.

    Raises:
        UserError: there is no such rollout.
    """
    found = next((rollout for rollout in rollouts if wanted in _names(rollout)), None)
    if found is None:
        raise UserError("--explain", f'no rollout "{wanted}"', "give its id, or id/sample")
    (graded,) = grader.grade([found])
    yield f"{found.place}: {graded.record.get('id')}, kind {kind_of(found)}"
    yield from _answer_lines(graded.record)
    if graded.outcome.reason:
        yield f"  why: {graded.outcome.reason}"
    yield from _reward_lines(graded, grader)


def _names(rollout: Record) -> tuple[str, str]:
    return str(rollout.get("id")), f"{rollout.get('id')}/{rollout.get('sample')}"


def _answer_lines(record: Record) -> Iterator[str]:
    completion = record["completion"]
    part = answer_part(completion)
    if "</answer>" in completion and "<answer>" in completion:
        source = "the last <answer>"
    else:
        source = "what follows the last </think>" if "</think>" in completion else "the whole completion"
    yield f"  read from: {source}: {_short(part)}"
    yield f"  extracted: {_short(record['extracted'])}"
    gold = None if record.get("answer") is None else str(record["answer"])
    match grading_of(record):
        case "math":
            yield from (f"  {line}" for line in explain_math(gold, completion))
        case "choice":
            yield from (f"  {line}" for line in _explain_choice(record))
        case "text":
            yield from (f"  {line}" for line in _explain_text(record))
    yield f"  verdict: {record['verdict']}" + (f", {record['passed']:.0%} of the tests" if "passed" in record else "")


def _explain_choice(record: Record) -> Iterator[str]:
    """Yield lines that say which option is right, and which one was chosen."""
    letter, gold, choices = record["extracted"], gold_of(record), record["choices"]
    stated = "there is none" if record.get("answer") is None else repr(record["answer"])
    yield f"gold answer: {_option(gold, choices) if gold else stated}"
    yield f"chosen: {_option(letter, choices)}" if letter else f"chosen: none of the {len(choices)} options, or several"


def _option(letter: str, choices: list[Any]) -> str:
    return f"{letter}) {_short(str(choices[LETTERS.index(letter)]))}"


def _explain_text(record: Record) -> Iterator[str]:
    """Yield lines that say how gold answer and answer are compared as text."""
    gold, answer = gold_of(record), record["extracted"]
    if gold is not None:
        yield f"gold answer {_short(gold)} as text: {normal_text(gold)!r}"
        yield "answer as text: " + ("nothing" if answer is None else _short(normal_text(answer)))


def _reward_lines(graded: Graded, grader: Grader) -> Iterator[str]:
    for part in grader.parts_for(graded.record):
        value = graded.values[part]
        reason = f" ({graded.reasons[part.name]})" if part.name in graded.reasons else ""
        yield f"  {part.name}: {value} x {part.weight:g}{reason}"
    yield f"  reward: {graded.record['reward']}"


def _short(text: str | None) -> str:
    return "nothing" if text is None else repr(text if len(text) <= 300 else f"{text[:140]} … {text[-140:]}")
