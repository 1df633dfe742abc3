"""What a worker process does for answers: parse and compare them by math-verify, without limits of its own."""

import builtins
import logging
import re
import types
from functools import lru_cache
from typing import Any

import math_verify.parser
import sympy
from antlr4.atn.PredictionMode import PredictionMode
from latex2sympy2_extended.latex2sympy2 import _Latex2Sympy
from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
from sympy.parsing import sympy_parser

logging.getLogger("math_verify").setLevel(logging.CRITICAL)
EVERYTHING = (LatexExtractionConfig(), ExprExtractionConfig())  # math-verify's default
NUMBERS = (ExprExtractionConfig(),)
_LATEX = re.compile(r"\\|\s\[|\$[^\n]*\$")  # without any of these no pattern for LaTeX can match


def _sympy_names() -> dict[str, Any]:
    """Return the names that sympy's parse_expr knows by default."""
    names: dict[str, Any] = {}
    exec("from sympy import *", names)
    names |= {name: value for name, value in vars(builtins).items() if isinstance(value, types.BuiltinFunctionType)}
    return names | {"max": sympy.Max, "min": sympy.Min}


_NAMES = _sympy_names()
_parse_expr = sympy_parser.parse_expr


def parse_expr(text: str, *args: Any, global_dict: dict[str, Any] | None = None, **options: Any) -> Any:
    """Parse as sympy's parse_expr does, which makes its names anew at each call and is called for each number."""
    return _parse_expr(text, *args, global_dict=dict(_NAMES) if global_dict is None else global_dict, **options)


def create_parser(self: Any, text: str) -> Any:
    """Create math-verify's LaTeX parser, which then predicts by SLL first, and by LL where SLL finds an error.

    The tree is that of LL: what SLL parses without an error, LL parses the same.
    Source: Parr, Harwell, Fisher 2014, "Adaptive LL(*) Parsing", section 3.2 (two-stage parsing).
    """
    parser = _create_parser(self, text)

    def parse_twice() -> Any:
        parser._interp.predictionMode = PredictionMode.SLL
        try:
            return type(parser).math(parser)
        except Exception:
            return _create_parser(self, text).math()

    parser.math = parse_twice
    return parser


_create_parser = _Latex2Sympy.create_parser
_Latex2Sympy.create_parser = create_parser  # type: ignore[method-assign]
sympy_parser.parse_expr = math_verify.parser.parse_expr = parse_expr


def judge(gold: str | None, text: str, whole: bool) -> tuple[str | None, str | None] | str:
    """Return verdict (None: there is no gold answer) and extracted answer; "no box" where a box cannot be parsed.

    Args:
        whole: the text is all there is, and not the box of one.
    """
    parsed, extracted = read(text)
    if text.startswith("\\boxed{") and not whole and not (parsed and not isinstance(parsed[0], str)):
        return "no box"
    if gold is None:
        return None, extracted
    parsed_gold, _ = read_gold(gold)
    if not parsed_gold:
        return "gold_unparseable", extracted
    if not parsed:
        return "no_answer", extracted
    return ("correct" if equal(parsed_gold, parsed) else "wrong"), extracted


def equal(gold: tuple[Any, ...], parsed: tuple[Any, ...]) -> bool:
    """Tell whether math-verify calls them equal; of two integers that takes no sympy."""
    first, second = gold[0], parsed[0]
    if getattr(first, "is_Integer", False) and getattr(second, "is_Integer", False):
        return first == second or gold[1:] == parsed[1:]
    return verify(list(gold), list(parsed), timeout_seconds=None)


def read(text: str) -> tuple[tuple[Any, ...], str | None]:
    """Return what math-verify parses a text to, and the piece of text that it took for the answer."""
    # its own time limits are signals, which do nothing off the main thread and cancel the caller's: none here
    parsed = parse(text, EVERYTHING if _LATEX.search(text) else NUMBERS, parsing_timeout=None)
    piece = next((p for p in reversed(parsed) if isinstance(p, str)), None)
    return tuple(parsed), piece.strip() if piece else None


read_gold = lru_cache(maxsize=4096)(read)


def explain(gold: str | None, text: str) -> list[str]:
    """Return lines that say how gold answer and answer parse, and why they differ."""
    parsed, _ = read(text)
    lines = [f"answer parses to: {_describe(parsed)}"]
    if gold is None:
        return lines
    parsed_gold, _ = read(gold)
    lines.insert(0, f"gold {gold!r} parses to: {_describe(parsed_gold)}")
    if parsed and parsed_gold and not equal(parsed_gold, parsed):
        lines.append(f"they differ: {_difference(parsed_gold[0], parsed[0])}")
    return lines


def _describe(parsed: tuple[Any, ...]) -> str:
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
