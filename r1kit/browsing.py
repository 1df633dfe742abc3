"""Records of all forms as they are browsed: a problem, and one text with what is known of it."""

from collections.abc import Iterator, Mapping
from typing import Any

from r1kit.jsonl import Record
from r1kit.records import ALIASES, content_hash
from r1kit.report_files import Form
from r1kit.verdict import kind_of

LONGEST = 16_000  # characters of a text on the page; a longer one loses its middle
_PLAIN = (  # a field: its name on the page
    ("sample", "sample"), ("step", "step"), ("extracted", "extracted"), ("verdict", "verdict"), ("reward", "reward"),
    ("completion_tokens", "tokens"), ("finish_reason", "finish"), ("score", "score"), ("step_scores", "stepScores"),
    ("error", "error"),
)  # fmt: skip


def problem_key(record: Mapping[str, Any]) -> str:
    """Return what the records of one problem have in common: its id, else a hash of its prompt."""
    return str(record["id"]) if record.get("id") is not None else content_hash(prompt_of(record))


def prompt_of(record: Mapping[str, Any]) -> str:
    """Return the prompt of a record as text, under whatever name it stands."""
    names = ("prompt", *ALIASES["prompt"])
    if "messages" in record and not any(name in record for name in names):
        return _as_text(record["messages"][:-1])
    return _as_text(next((record[name] for name in names if record.get(name) is not None), ""))


def problem_view(record: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """Return what the page says of a problem."""
    answer = next((record[name] for name in ("answer", *ALIASES["answer"]) if record.get(name) is not None), None)
    judged = form in ("scored", "rollouts", "problems")
    view = {
        "id": problem_key(record),
        "prompt": shortened(prompt_of(record)),
        "answer": None if answer is None else shortened(_as_text(answer)),
        "kind": kind_of(record) if judged else record.get("kind"),
        "language": record.get("language"),
    }
    return {name: value for name, value in view.items() if value is not None}


def text_views(record: Record, form: Form) -> Iterator[dict[str, Any]]:
    """Yield the texts of a record, each with what is known of it; of a preference pair both sides."""
    known = {ours: record[theirs] for theirs, ours in _PLAIN if record.get(theirs) is not None}
    if form == "pairs":
        for side in ("chosen", "rejected"):
            yield {"text": shortened(_as_text(record[side])), "verdict": side}
    elif form == "steps":
        steps, labels = record["completions"], record["labels"]
        yield {**known, "steps": [[shortened(str(step)), label] for step, label in zip(steps, labels, strict=False)]}
    elif form == "votes":
        judged = {True: "correct", False: "wrong"}.get(record["correct"]) if "correct" in record else None
        yield {**known, "votes": _counts(record["votes"]), "extracted": record["prediction"], "verdict": judged}
    elif form == "problems":
        yield {}
    else:
        rewards = record.get("rewards")
        yield {**known, "text": shortened(_completion_of(record)), **({"rewards": rewards} if rewards else {})}


def _completion_of(record: Mapping[str, Any]) -> str:
    if "completion" in record:
        return _as_text(record["completion"])
    return _as_text(record["messages"][-1:]) if record.get("messages") else ""


def _counts(votes: Any) -> list[list[Any]]:
    """Return the answers that were voted for, most votes first."""
    counted = votes.items() if isinstance(votes, dict) else ()
    return [list(pair) for pair in sorted(counted, key=lambda pair: -(pair[1] or 0))[:8]]


def _as_text(value: Any) -> str:
    """Return a text, or messages as text: of a single one the content, of several each after its role."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return str(value)
    if len(value) == 1:
        return str(value[0].get("content"))
    return "\n\n".join(f"[{one.get('role')}] {one.get('content')}" for one in value)


def shortened(text: str) -> str:
    """Return a text without its middle where it is longer than the page shows."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n\n[… {len(text) - 2 * half:,} characters are left out here …]\n\n{text[-half:]}"
