"""What a program wrote or returned, against what is wanted."""

import math
from decimal import Decimal, InvalidOperation
from typing import Any


def equal_outputs(printed: str, wanted: str) -> bool:
    """Tell whether two texts are the same output: blanks at ends of lines and empty last lines aside, numbers by value.

    Source: the comparison of LiveCodeBench (arXiv 2403.07974).
    """
    ours, theirs = (text.rstrip().split("\n") for text in (printed, wanted))
    return len(ours) == len(theirs) and all(_equal_lines(*lines) for lines in zip(ours, theirs, strict=True))


def _equal_lines(ours: str, theirs: str) -> bool:
    if ours.strip() == theirs.strip():
        return True
    words = ours.split(), theirs.split()
    return len(words[0]) == len(words[1]) and all(
        a == b or _number(a) == _number(b) is not None for a, b in zip(*words, strict=True)
    )


def _number(word: str) -> Decimal | None:
    try:
        number = Decimal(word)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def shown(value: Any) -> str:
    """Return a value as text for people, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:150]} … ({len(text)} characters)"


def equal_values(value: Any, wanted: Any) -> bool:
    """Tell whether a program's value is the wanted one: tuples count as lists, floats within a relative 1e-9."""
    if isinstance(value, list | tuple):
        return isinstance(wanted, list) and len(value) == len(wanted) and all(map(equal_values, value, wanted))
    if isinstance(value, dict):
        texts = {str(key): item for key, item in value.items()}  # JSON has no other keys
        same = isinstance(wanted, dict) and texts.keys() == wanted.keys()
        return same and all(equal_values(item, wanted[key]) for key, item in texts.items())
    if isinstance(value, float) and isinstance(wanted, int | float):
        return math.isclose(value, wanted, rel_tol=1e-9)
    return value == wanted
