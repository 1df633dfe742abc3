"""The final answer: extract it from a completion, and compare two of them by mathematical equality.

What is equal is math-verify's decision alone. Around it: a text is cut to its box where that cannot change what
math-verify reads, equal plain integers are decided without it, each pair is decided once, and it runs in worker
processes: what it cannot decide within their limits has the verdict "timeout".
"""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from r1kit.workers import pool

Verdict = Literal["correct", "wrong", "no_answer", "gold_unparseable", "timeout"]
PLAIN_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,8}")  # what may be compared as it stands
_PLAIN = re.compile(
    r"-?(?:0|[1-9][0-9]{0,8})\.[0-9]{1,9}|-?\\frac\{[1-9][0-9]{0,3}\}\{[1-9][0-9]{0,3}\}"
)  # equal if the same
_BOX = "\\boxed{"
_DELIMITER = re.compile(r"\$|\\\[|\\\(|\s\[")  # what may begin a formula that math-verify looks for boxes in
_WORDS = re.compile(r"final answer|percent|pct|%", re.IGNORECASE)  # with them math-verify may read another answer


class Judgement(NamedTuple):
    """What is said of a text that states an answer. The verdict is None where there is no gold answer."""

    verdict: Verdict | None
    extracted: str | None  # the answer as it was read


def answer_part(completion: str) -> str:
    """Return the part of a completion that states the answer.

    The last <answer>…</answer>, else what follows the last </think>, else the whole.
    """
    start = completion.rfind("<answer>", 0, max(0, completion.rfind("</answer>")))
    if start >= 0:
        return completion[start + len("<answer>") : completion.find("</answer>", start)].strip()
    return completion.rpartition("</think>")[2].strip()


def cut_to_box(part: str) -> str:
    r"""Return the box of a text, "\boxed{…}", where math-verify reads the same answer in it as in the text, else the text.

    It does where the box can be parsed at all, which the worker sees to, and neither another box nor words that
    math-verify looks for first stand beside it; several boxes outside of formulas are cut out together.
    """
    start, end = part.find(_BOX), part.rfind("}")
    if start < 0 or end < start or "\\fbox" in part or _WORDS.search(part):
        return part
    if part.count("\\boxed") == 1:
        end = _closing_brace(part, start + len(_BOX))
        return part if end is None else part[start : end + 1]
    return part if _DELIMITER.search(part) else part[start : end + 1]


def _closing_brace(text: str, start: int) -> int | None:
    """Return where the brace that was opened before `start` is closed."""
    depth = 1
    for match in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if match.group() == "{" else -1
        if depth == 0:
            return match.start()
    return None


def judge(gold: str | None, part: str) -> Judgement:
    """Judge the part of a completion that states the answer against the gold answer (None: only read it)."""
    judgement = _judge_text(gold, cut_to_box(part))
    return _judge_text(gold, part, True) if judgement is None else judgement  # type: ignore[return-value]


@lru_cache(maxsize=65536)  # timeouts too: the same answer again would cost the limit again
def _judge_text(gold: str | None, text: str, whole: bool = False) -> Judgement | None:
    """Judge a text; None where it is a box that cannot be parsed, unless it is all there is."""
    plain = text[len(_BOX) : -1] if text.startswith(_BOX) else text
    if PLAIN_INTEGER.fullmatch(plain) and (gold is None or PLAIN_INTEGER.fullmatch(gold)):
        return Judgement(None if gold is None else "correct" if gold == plain else "wrong", plain)
    if gold == plain and _PLAIN.fullmatch(plain):
        return Judgement("correct", plain)
    reply = pool.ask("judge", gold, text, whole)
    if reply is None:
        return Judgement("timeout", None)
    return None if reply == "no box" else Judgement(*reply)


def extract_answer(completion: str) -> str | None:
    """Return the answer as it is read from a completion, None where there is none."""
    return judge(None, answer_part(completion)).extracted


def equal_answers(gold: str, answer: str) -> bool | None:
    """Tell whether an answer equals the gold answer, None where the gold answer cannot be read.

    Not symmetric: math-verify takes its first argument for the gold.
    """
    verdict = judge(gold, answer).verdict
    return None if verdict == "gold_unparseable" else verdict == "correct"


def explain_math(gold: str | None, completion: str) -> list[str]:
    """Return lines that say how gold answer and answer parse, and why they differ."""
    lines = pool.ask("explain", gold, answer_part(completion))
    return ["it cannot be parsed and compared within the limits"] if lines is None else lines
