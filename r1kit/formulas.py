r"""Answers without the $…$ or \boxed{…} that they stood in, written so that math-verify reads all of them."""

import re

from r1kit.answer import PLAIN_FRACTION, equal_answers

NUMBER = re.compile(r"|-?\$?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d*)?(?:/\d+)?\s?%?")
SCIENTIFIC = re.compile(r"\A(-?\d+(?:\.\d+)?)[eE]\+?(-?\d+)\Z")
DELIMITED = re.compile(r"(?<!\\)\$|\\[(\[]|\\boxed|\\fbox|\\framebox")  # as math-verify finds a formula in a text
WORDS = re.compile(r"(?=.*\s).*[^\W\d_]{3}.*|[^\W\d_]{3,}", re.DOTALL)  # a text with one, or one alone


def as_formula(answer: str) -> str:
    r"""Return an answer as math-verify reads all of it: a formula stands in $…$.

    Of 3\sqrt{13} it reads 3 where nothing says that it is a formula, of 4.5e33 4.5. Words stay as they are.
    """
    answer = SCIENTIFIC.sub(r"\1 \\times 10^{\2}", answer.strip().replace("+$ $", "+"))
    bare = NUMBER.fullmatch(answer) or PLAIN_FRACTION.fullmatch(answer) or DELIMITED.search(answer)
    words = WORDS.fullmatch(answer) if "\\" not in answer else None
    return answer if bare or words else f"${answer}$"


def equal_formulas(gold: str, answer: str) -> bool | None:
    """Tell whether two answers are equal that stand alone: gold answers, or ones that were read from completions.

    None where the gold answer cannot be read.
    """
    return equal_answers(as_formula(gold), as_formula(answer))
