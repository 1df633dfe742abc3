"""The final answer: extract it from a completion, and compare two of them by mathematical equality.

What is equal is math-verify's decision alone; equal plain integers are decided here without it, which agrees with it.
math-verify runs in worker processes: what it cannot decide within their limits has the verdict "timeout".
"""

import logging
import re
from functools import lru_cache
from typing import Literal, NamedTuple

from r1kit.workers import pool

Verdict = Literal["correct", "wrong", "no_answer", "gold_unparseable", "timeout"]
PLAIN_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,8})")  # what may be compared as it stands


class Judgement(NamedTuple):
    """What is said of a text that states an answer. The verdict is None where there is no gold answer."""

    verdict: Verdict | None
    extracted: str | None  # the answer as it was read


def answer_part(completion: str) -> str:
    """Return the part of a completion that states the answer.

    The last <answer>…</answer>, else what follows the last </think>, else the whole.
    """
    blocks = re.findall(r"<answer>(.*?)</answer>", completion, re.DOTALL)
    return (blocks[-1] if blocks else completion.rpartition("</think>")[2]).strip()


@lru_cache(maxsize=65536)
def judge(gold: str | None, part: str) -> Judgement:
    """Judge the part of a completion that states the answer against the gold answer (None: only read it)."""
    if PLAIN_INTEGER.fullmatch(part) and (gold is None or PLAIN_INTEGER.fullmatch(gold)):
        return Judgement(None if gold is None else "correct" if gold == part else "wrong", part)
    reply = pool.ask([gold, part])
    return Judgement("timeout", None) if reply is None else Judgement(*reply)


def extract_answer(completion: str) -> str | None:
    """Return the answer as it is read from a completion, None where there is none."""
    return judge(None, answer_part(completion)).extracted


def equal_answers(gold: str, answer: str) -> bool | None:
    """Tell whether an answer equals the gold answer, None where the gold answer cannot be read.

    Not symmetric: math-verify takes its first argument for the gold.
    """
    verdict = judge(gold, answer).verdict
    return None if verdict == "gold_unparseable" else verdict == "correct"


def judge_here(gold: str | None, part: str) -> Judgement:
    """Judge as `judge` does, in this process and without limits: what a worker does."""
    parsed, extracted = _read(part)
    if gold is None:
        return Judgement(None, extracted)
    parsed_gold, _ = _read(gold)
    if not parsed_gold:
        return Judgement("gold_unparseable", extracted)
    if not parsed:
        return Judgement("no_answer", extracted)
    from math_verify import verify

    equal = verify(list(parsed_gold), list(parsed), timeout_seconds=None)
    return Judgement("correct" if equal else "wrong", extracted)


@lru_cache(maxsize=256)
def _read(text: str) -> tuple[tuple, str | None]:
    """Return what math-verify parses a text to, and the piece of text that it took for the answer."""
    from math_verify import parse

    # its own time limits are signals, which do nothing off the main thread and cancel the caller's: none here
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    parsed = parse(text, parsing_timeout=None)
    piece = next((p for p in reversed(parsed) if isinstance(p, str)), None)
    return tuple(parsed), piece.strip() if piece else None


def explain_math(gold: object, part: str) -> list[str]:
    return []
