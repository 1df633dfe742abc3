"""What a worker process does for tasks of reasoning-gym: score answers, and evaluate nothing that could be a program.

Some tasks pass an answer, or metadata, to eval or to sympy's parse_expr, which runs what it reads as Python. Here both
take literals, numbers, operators and a few functions of mathematics, and Countdown and 24 no more than + - * / ( ).
"""

import ast
import json
import re
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from r1kit.workers import reply_to_questions

FUNCTIONS = re.compile(r"[Aa]bs|a?(?:sin|cos|tan|cot|sec|csc)h?|sqrt|exp|log|ln|erf")  # those of the answers
PLAIN = (ast.Expression, ast.Constant, ast.UnaryOp, ast.UAdd, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div)
INTEGERS = (ast.FloorDiv, ast.Mod, ast.Pow, ast.LShift, ast.RShift, ast.BitAnd, ast.BitOr, ast.BitXor, ast.Invert)
LISTS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Load)
FORMULA = (*PLAIN, ast.Pow, ast.Name, ast.Load, ast.Call)
PUZZLES = ("reasoning_gym.games.countdown", "reasoning_gym.games.puzzle24")
GRIDS = ("arc_agi", "rearc")  # compare what they read with tuples, which JSON does not have


def serve() -> None:
    """Answer questions about tasks."""
    import reasoning_gym  # noqa: F401
    import sympy

    confine(sympy)
    reply_to_questions({"score": score})


def confine(sympy: Any) -> None:
    """Have reasoning-gym's modules evaluate no more than data and arithmetic."""
    parse_expr = sympy.parse_expr
    sympy.parse_expr = _guarded(parse_expr, FORMULA)
    for name, module in list(sys.modules.items()):
        if name.startswith("reasoning_gym."):
            module.__dict__.update(eval=evaluate, exec=_refuse)
        if name in PUZZLES:
            module.__dict__["parse_expr"] = _guarded(parse_expr, PLAIN)


def _guarded(parse_expr: Callable[..., Any], allowed: tuple[type[ast.AST], ...]) -> Callable[..., Any]:
    def parse(text: str, *arguments: Any, **options: Any) -> Any:
        check(text, allowed)
        return parse_expr(text, *arguments, **options)

    return parse


def evaluate(text: str) -> Any:
    """Return the value of an expression of literals and operators.

    Raises:
        ValueError: it holds something else.
    """
    tree = check(text, (*PLAIN, *INTEGERS, *LISTS))
    return eval(compile(tree, "answer", "eval"), {"__builtins__": {}})


def check(text: str, allowed: tuple[type[ast.AST], ...]) -> ast.Expression:
    """Return an expression as a tree.

    Raises:
        ValueError: it is none, or holds what is not allowed, or calls what is none of FUNCTIONS.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"no expression ({error})") from None
    for node in ast.walk(tree):
        if not isinstance(node, allowed):
            raise ValueError(f"{type(node).__name__} is not allowed")
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and FUNCTIONS.fullmatch(node.func.id)):
            raise ValueError("calls no function of mathematics")
        if isinstance(node, ast.Constant) and ast.List not in allowed and not isinstance(node.value, int | float):
            raise ValueError("holds what is no number")
    return tree


def _refuse(*arguments: Any) -> None:
    raise ValueError("nothing is run where answers are scored")


def score(made_by: Any, entry: dict[str, Any], answer: str) -> float | str:
    """Return the score that a task gives an answer, or why none can be given.

    An answer at which the task raises scores 0, if it does not raise at the gold answer too.
    """
    try:
        task = _task(made_by["task"], json.dumps(made_by.get("settings") or {}))
        entry["metadata"] = made_by["metadata"]
        if made_by["task"] in GRIDS:
            entry["metadata"] |= {key: _tuples(entry["metadata"][key]) for key in ("input", "output")}
    except Exception as error:  # whatever stands in the record
        return f"the field reasoning_gym names no task that can be opened ({type(error).__name__}: {error})"
    try:
        return float(task.score_answer(answer, entry))
    except Exception:
        try:
            task.score_answer(entry["answer"], entry)
        except Exception as error:
            return f"the task {made_by['task']} cannot score its own answer ({type(error).__name__}: {error})"
        return 0.0


@cache
def _task(name: str, settings: str) -> Any:
    from reasoning_gym import create_dataset

    return create_dataset(name, **json.loads(settings))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
