"""What a worker process does for answers: parse and compare them by math-verify, without limits of its own."""

import logging
import re
from functools import lru_cache
from typing import Any

import math_verify.parser
import sympy
from antlr4.atn.PredictionMode import PredictionMode
from latex2sympy2_extended.latex2sympy2 import _Latex2Sympy
from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
from math_verify.parser import extract_target_from_pred
from sympy.parsing.sympy_parser import parse_expr

from r1kit.answer import LATEX

logging.getLogger("math_verify").setLevel(logging.CRITICAL)
INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
DECIMAL = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,15}")
EVERYTHING = (LatexExtractionConfig(), ExprExtractionConfig())  # math-verify's default
NUMBERS = (ExprExtractionConfig(),)
BOX = re.compile(r"(?P<first_latexBoxed>\\boxed{.+})", re.DOTALL)  # math-verify's own pattern for a box
BOX_ALONE = [([(BOX, 50)], LatexExtractionConfig())]
NAMES = {name: getattr(sympy, name) for name in ("Add", "Float", "Integer", "Mul", "Pow")} | {"__builtins__": {}}
create_parser = _Latex2Sympy.create_parser


def _number(text: str) -> Any:
    """Return a number as sympy.Number does, which evaluates its text as a program (0.2 ms)."""
    if INTEGER.fullmatch(text):
        return sympy.Integer(int(text))
    return sympy.Float(text) if DECIMAL.fullmatch(text) else sympy.Number(text)


def _parse_expr(text: str, **options: Any) -> Any:
    """Parse digits and operators, which is all that math-verify passes on; of sympy's names they take five."""
    return parse_expr(text, global_dict=dict(NAMES), **options)


class _WatchedSLL:
    """ANTLR's prediction mode SLL, which notes whether a parser came to where LL would look further."""

    def __init__(self) -> None:
        self.conflict = False

    def __eq__(self, other: object) -> bool:
        return other is PredictionMode.SLL

    def __ne__(self, other: object) -> bool:  # is asked at a conflict alone (ParserATNSimulator.execATN)
        self.conflict = True
        return other is not PredictionMode.SLL

    __hash__ = None  # type: ignore[assignment]


def _create_parser(self: Any, text: str) -> Any:
    """Create math-verify's LaTeX parser, which then predicts by SLL first, and by LL where that may find more.

    The tree is that of LL: what SLL parses without an error, LL parses the same; and without a conflict on the way, LL
    comes to the same error. Intervals take a tenth of the time.
    Source: Parr, Harwell, Fisher 2014, "Adaptive LL(*) Parsing", section 3.2 (two-stage parsing).
    """
    parser = create_parser(self, text)
    mode = parser._interp.predictionMode = _WatchedSLL()

    def parse_twice() -> Any:
        try:
            return type(parser).math(parser)
        except Exception:  # its listener raises nothing more special
            if not mode.conflict:
                raise
            return create_parser(self, text).math()

    parser.math = parse_twice
    return parser


def hasten() -> None:
    """Make math-verify read formulas, numbers and arithmetic quicker in this process, to the same."""
    _Latex2Sympy.create_parser = _create_parser
    math_verify.parser.Number = _number
    math_verify.parser.parse_expr = _parse_expr


def warm_up() -> None:
    """Build what is built at the first formulas of a kind, so that it takes no time from a question."""
    for gold, text in (("2x^2+3x-1", "x(2x+3)+1"), ("[-1,2)", "\\frac{1}{2}"), ("\\{1,2\\}", "(1,\\sqrt{2})")):
        judge(f"${gold}$", f"\\boxed{{{text}}}", True)
        judge(gold, text, False)


def judge(gold: str | None, text: str, boxed: bool) -> tuple[str | None, str | None] | None:
    """Return the verdict (None: there is no gold answer) and the answer as it was read.

    Args:
        boxed: the text is a box that was cut out of a text; None is returned where it cannot be parsed.
    """
    parsed = read_box(text) if boxed else read(text)
    if parsed is None:
        return None
    extracted = next((piece.strip() for piece in parsed if isinstance(piece, str)), None) or None
    if gold is None:
        return None, extracted
    parsed_gold = read_gold(gold)
    if not parsed_gold:
        return "gold_unparseable", extracted
    if not parsed:
        return "no_answer", extracted
    return ("correct" if equal(parsed_gold, parsed) else "wrong"), extracted


def read(text: str) -> list[Any]:
    """Return what math-verify parses a text to: an expression, or none, and the piece of text it was read from."""
    # its own time limits are signals: the caller has better ones
    return parse(text, EVERYTHING if LATEX.search(text) else NUMBERS, parsing_timeout=None)


read_gold = lru_cache(maxsize=4096)(read)


def read_box(text: str) -> list[Any] | None:
    """Return what math-verify parses a box to; None where it is no expression, and it would look around the box."""
    try:
        parsed = extract_target_from_pred(text, BOX_ALONE, fallback_mode="first_match")
    except Exception:  # parse() takes any exception for "nothing found"
        return None
    return parsed if parsed and not isinstance(parsed[0], str) else None


def equal(gold: list[Any], parsed: list[Any]) -> bool:
    """Tell whether math-verify calls them equal.

    It does where any of the one equals any of the other, so that equal pieces of text need no sympy; nor do integers.
    """
    if gold[-1] == parsed[-1] and isinstance(gold[-1], str) and gold[-1].strip():
        return True
    if isinstance(gold[0], sympy.Integer) and isinstance(parsed[0], sympy.Integer):
        return gold[0] == parsed[0]
    return verify(gold, parsed, timeout_seconds=None)


def explain(gold: str | None, text: str) -> list[str]:
    """Return lines that say how gold answer and answer parse, and why they differ."""
    parsed = read(text)
    lines = [f"answer parses to: {_describe(parsed)}"]
    if gold is None:
        return lines
    parsed_gold = read(gold)
    lines.insert(0, f"gold {gold!r} parses to: {_describe(parsed_gold)}")
    if parsed and parsed_gold and not equal(parsed_gold, parsed):
        lines.append(f"they differ: {_difference(parsed_gold[0], parsed[0])}")
    return lines


def _describe(parsed: list[Any]) -> str:
    if not parsed:
        return "nothing"
    return f"{str(parsed[0])[:200]} ({type(parsed[0]).__name__})"


def _difference(gold: Any, answer: Any) -> str:
    if isinstance(gold, str) or isinstance(answer, str):
        return "one of them is text that is no formula"
    try:
        difference = (gold - answer).evalf()
    except Exception:  # sets, relations, matrices of other shape
        return f"a {type(gold).__name__} against a {type(answer).__name__}"
    return f"gold - answer = {str(difference)[:200]}"
