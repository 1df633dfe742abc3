"""How one rollout was graded: what was read from where, how gold answer and answer parse, and why they differ."""

from collections.abc import Iterable, Iterator

from r1kit.answer import answer_part, explain_math
from r1kit.errors import UserError
from r1kit.grader import Graded, Grader
from r1kit.jsonl import Record
from r1kit.verdict import kind_of


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
    if kind_of(record) == "math":
        yield from (f"  {line}" for line in explain_math(gold, completion))
    yield f"  verdict: {record['verdict']}" + (f", {record['passed']:.0%} of the tests" if "passed" in record else "")


def _reward_lines(graded: Graded, grader: Grader) -> Iterator[str]:
    for part in grader.parts_for(graded.record):
        value = graded.values[part]
        reason = f" ({graded.reasons[part.name]})" if part.name in graded.reasons else ""
        yield f"  {part.name}: {value} x {part.weight:g}{reason}"
    yield f"  reward: {graded.record['reward']}"


def _short(text: str | None) -> str:
    return "nothing" if text is None else repr(text if len(text) <= 300 else f"{text[:140]} … {text[-140:]}")
