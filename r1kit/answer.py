r"""The final answer: extract it from a completion, and compare two of them by mathematical equality.

What is equal is math-verify's decision alone. Around it: a text is cut to its last \boxed{…} where that cannot change
what math-verify reads, plain numbers are decided without it, each pair of gold answer and box is decided once,
and it runs in worker processes: what it cannot decide within their limits has the verdict "timeout".
"""

import os
import re
import threading
from decimal import Decimal
from functools import lru_cache
from typing import Literal, NamedTuple

from r1kit.workers import NoReplyError, pool

Verdict = Literal["correct", "wrong", "no_answer", "gold_unparseable", "timeout"]
_NUMBER = r"(0|-?[1-9][0-9]{0,8}|-?(?:0|[1-9][0-9]{0,8})\.[0-9]{1,6})"  # no "-0", no other digits
PLAIN_NUMBER = re.compile(_NUMBER)  # what may be compared by value
PLAIN_TEXT = re.compile(  # words that end in such a number, or a formula or box that is one
    rf"(?:[A-Za-z',:;]++\s++)*+{_NUMBER}\.?|\${_NUMBER}\$|\\boxed\{{{_NUMBER}\}}"
)
LATEX = re.compile(r"\\|\s\[|\$[^\n]*\$")  # without any of these no pattern for LaTeX can match
ANSWER = re.compile("answer", re.IGNORECASE)
NUMBER_LAST = re.compile(rf"[A-Za-z:]\s+{_NUMBER}\.?\Z")
ANSWER_LAST = re.compile(rf"answer(?: is)?:?\s+{_NUMBER}\.?\Z", re.IGNORECASE)
PLAIN_FRACTION = re.compile(r"-?\\frac\{[1-9][0-9]{0,3}\}\{[1-9][0-9]{0,3}\}")  # equal where the same
BOX = "\\boxed{"
FINAL_ANSWER = re.compile("[Ff].[Nn][Aa][Ll] [Aa][Nn]")  # read before a box; the dot: in some scripts i has no dot
PERCENT = re.compile(r"%|[Pp]ercent|[Pp]ct")
JOINED = re.compile(r"[$\])]\s*+(?:\\?%|[Pp]ercent(?:age)?|[Pp]ct)?\s*+(?:,?and|,?or|,)\s*+(?:\$|\\?\[|\\\()")

_asking: list[threading.Lock] = []


def _forget_asking() -> None:
    _asking[:] = [threading.Lock() for _ in range(256)]


_forget_asking()
os.register_at_fork(after_in_child=_forget_asking)  # a lock that another thread held stays locked in the child


class Judgement(NamedTuple):
    """What is said of a text that states an answer. The verdict is None where there is no gold answer."""

    verdict: Verdict | None
    extracted: str | None  # the answer as it was read


def answer_part(completion: str) -> str:
    """Return the part of a completion that states the answer.

    What stands between the last <answer> that is closed and its </answer>, else what follows the last </think>, else
    the whole.
    """
    start = completion.rfind("<answer>", 0, max(0, completion.rfind("</answer>")))
    if start < 0:
        return completion.rpartition("</think>")[2].strip()
    return completion[start + len("<answer>") : completion.find("</answer>", start)].strip()


def short_answer(completion: str) -> str:
    r"""Return the answer that a completion states as text: what its last \boxed{…} holds, else all of its part."""
    part = answer_part(completion)
    start = _box_before(part, len(part))
    end = after_brace(part, start + len(BOX)) if part.startswith(BOX, start) else None
    return part if end is None else part[start + len(BOX) : end - 1].strip()


def judge(gold: str | None, part: str) -> Judgement:
    """Judge the part of a completion that states the answer against the gold answer (None: only read it)."""
    box = last_box(part)
    try:
        with _asking[hash((gold, box or part)) % len(_asking)]:  # the second to ask finds the reply to the first
            judgement = None if box is None else _judge_text(gold, box, True)
            return judgement or _judge_text(gold, part, False)  # type: ignore[return-value]
    except NoReplyError:
        return Judgement("timeout", None)


@lru_cache(maxsize=65536)
def _judge_text(gold: str | None, text: str, boxed: bool) -> Judgement | None:
    """Judge a text, or a box that was cut out of one: None where it cannot be parsed, so that the text is needed.

    A timeout is remembered, since the same pair would use up its time again, within a group many times; but not where
    the worker got too little processor time to say so.
    """
    number = plain_number(text) if gold is None or PLAIN_NUMBER.fullmatch(gold) else None
    if number is not None:
        return Judgement(None if gold is None else _same_value(gold, number), number)
    if boxed and gold == text[len(BOX) : -1] and PLAIN_FRACTION.fullmatch(gold):
        return Judgement("correct", gold)
    try:
        reply = pool.ask("judge", gold, text, boxed)
    except NoReplyError as error:
        if error.fair:
            return Judgement("timeout", None)
        raise
    return None if reply is None else Judgement(*reply)


def plain_number(text: str) -> str | None:
    """Return the number that math-verify reads in a text where that needs no search, else None.

    The number is the formula or box that the text is, or it ends the text: without LaTeX nothing ends later, and the
    word "answer", behind which math-verify looks first, stands right before it or nowhere.
    """
    match = PLAIN_TEXT.fullmatch(text)
    if match is None and not LATEX.search(text):
        answers = len(ANSWER.findall(text))
        pattern = (NUMBER_LAST, ANSWER_LAST)[answers] if answers < 2 else None
        match = pattern.search(text[-40:]) if pattern else None
    return next(filter(None, match.groups())) if match else None


def _same_value(gold: str, number: str) -> Verdict:
    return "correct" if gold == number or Decimal(gold) == Decimal(number) else "wrong"


def last_box(part: str) -> str | None:
    r"""Return the last \boxed{…} of a text where math-verify, if it can parse what is in it, reads that; else None.

    Of all its patterns, those for boxes then come first: "final answer" stands nowhere. The match that it takes ends
    last, so it holds the last box, in full where its braces are balanced. It makes one answer of several boxes where
    they stand close together, or share a formula, or stand in formulas that are joined by "and", and it divides by 100
    where a percent sign follows the formula.
    Source: math_verify.parser 0.9.0 and latex2sympy2_extended.math_normalization.extract_boxed_content.
    """
    start = _box_before(part, len(part))
    end = after_brace(part, start + len(BOX)) if part.startswith(BOX, start) else None
    if end is None or FINAL_ANSWER.search(part) or PERCENT.search(part, end):
        return None
    earlier = _box_before(part, start)
    return part[start:end] if earlier < 0 or _stand_apart(part, earlier, start, end) else None


def _box_before(part: str, end: int) -> int:
    return max(part.rfind("\\boxed", 0, end), part.rfind("\\fbox", 0, end))


def after_brace(text: str, start: int) -> int | None:
    """Return where the text goes on after the brace that was opened before `start`; None where it is not closed."""
    depth = 1
    for match in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if match.group() == "{" else -1
        if depth == 0:
            return match.end()
    return None


def _stand_apart(part: str, earlier: int, start: int, end: int) -> bool:
    """Tell whether math-verify cannot join an earlier box with the last one, from `start` to `end`."""
    between, rest = part[earlier:start], part[end:]
    near = "}" in between[-70:]  # up to there it joins them
    inline = "\n" not in between  # formulas in $, \( or [ end with the line
    display = any(close in rest and close not in between for close in ("$$", "\\]"))
    return not (near or inline or display or JOINED.search(between))


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
    try:
        return pool.ask("explain", gold, answer_part(completion))
    except NoReplyError:
        return ["it cannot be parsed and compared within the limits"]
