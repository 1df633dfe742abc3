"""The final answer: extract it from a completion, and compare two of them by mathematical equality.

What is equal is math-verify's decision alone; equal plain integers are decided here without it, which agrees with it.
"""

import logging
import re
from functools import lru_cache

PLAIN_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,8})")  # what may be compared as it stands


def answer_part(completion: str) -> str:
    """Return the part of a completion that states the answer.

    The last <answer>…</answer>, else what follows the last </think>, else the whole.
    """
    blocks = re.findall(r"<answer>(.*?)</answer>", completion, re.DOTALL)
    return (blocks[-1] if blocks else completion.rpartition("</think>")[2]).strip()


def extract_answer(completion: str) -> str | None:
    """Return the answer as it is read from a completion, None where there is none."""
    part = answer_part(completion)
    return part if PLAIN_INTEGER.fullmatch(part) else _read(part)[1]


def equal_answers(gold: str, answer: str) -> bool | None:
    """Tell whether an answer equals the gold answer, None where the gold answer cannot be read.

    Not symmetric: math-verify takes its first argument for the gold.
    """
    if PLAIN_INTEGER.fullmatch(gold) and PLAIN_INTEGER.fullmatch(answer):
        return gold == answer
    return _verify(gold, answer)


@lru_cache(maxsize=4096)
def _verify(gold: str, answer: str) -> bool | None:
    from math_verify import verify

    parsed_gold = _read(gold)[0]
    if not parsed_gold:
        return None
    return verify(list(parsed_gold), list(_read(answer)[0]), timeout_seconds=None)


@lru_cache(maxsize=4096)
def _read(text: str) -> tuple[tuple, str | None]:
    """Return what math-verify parses a text to, and the piece of text that it took for the answer."""
    from math_verify import parse

    # its time limits are signals, which do nothing off the main thread and cancel the caller's own: none here
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    parsed = parse(text, parsing_timeout=None)
    piece = next((p for p in reversed(parsed) if isinstance(p, str)), None)
    return tuple(parsed), piece.strip() if piece else None
