"""The tasks of reasoning-gym: problems that they make, and answers that they score.

A problem carries {"task", "metadata"}, and the task's settings where some were changed: with its prompt and answer all
that `score_answer` of the task asks for. Scoring happens in worker processes (r1kit/reasoning_gym_worker.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from hashlib import blake2b
from importlib.util import find_spec
from typing import Any

from r1kit.errors import Ungradable, UserError
from r1kit.jsonl import Record
from r1kit.rows import plain
from r1kit.workers import shared_pool

INSTALL = "pip install 'r1kit[reasoning-gym]'"
task_pool = shared_pool("from r1kit.reasoning_gym_worker import serve; serve()")


def task_names() -> list[str]:
    """Return the names of all tasks, none where reasoning-gym is not installed."""
    return sorted(_datasets()) if find_spec("reasoning_gym") else []


def make_problems(task: str, n: int, seed: int, settings: Mapping[str, Any]) -> Iterator[Record]:
    """Yield n problems of a task, each made as it is asked for; which they are depends on the seed.

    reasoning-gym makes problem i of seed s as problem i - 1 of seed s + 1: seeds are set far apart for it.

    Raises:
        UserError: reasoning-gym is not installed, or has no such task or setting.
    """
    apart = int.from_bytes(blake2b(str(seed).encode(), digest_size=4).digest()) // 2
    data = open_task(task, {**settings, "seed": apart, "size": n})
    for number in range(n):
        entry = data[number]
        made_by = {"task": task, **({"settings": dict(settings)} if settings else {}), "metadata": entry["metadata"]}
        problem = {
            "id": f"{task}-{seed}-{number}",
            "prompt": entry["question"],
            "answer": None if entry["answer"] is None else str(entry["answer"]),
            "kind": "general",
            "language": "en",
            "reasoning_gym": plain(made_by),
        }
        yield Record({key: value for key, value in problem.items() if value is not None}, f"{task}: row {number + 1}")


def open_task(task: str, settings: Mapping[str, Any]) -> Any:
    """Return a task as reasoning-gym's data set.

    Raises:
        UserError: as `make_problems` does.
    """
    if find_spec("reasoning_gym") is None:
        raise UserError(f"reasoning-gym:{task}", "reasoning-gym is not installed", INSTALL)
    known = _datasets()
    if task not in known:
        near = get_close_matches(task, known, 3)
        remedy = f"the nearest is {' or '.join(near)}" if near else "r1kit data --list names them"
        raise UserError(f"reasoning-gym:{task}", "no such task", remedy)
    options = {field.name for field in fields(known[task][1])}
    wrong = next((key for key in settings if key not in options), None)
    if wrong:
        raise UserError(f"reasoning-gym:{task}", f'has no setting "{wrong}"', f"it has {', '.join(sorted(options))}")
    from reasoning_gym import create_dataset

    try:
        return create_dataset(task, **settings)
    except (AssertionError, TypeError, ValueError) as error:
        what = f"refuses its settings ({error})"
        raise UserError(f"reasoning-gym:{task}", what, "change --task-arg") from None


def _datasets() -> dict[str, Any]:
    from reasoning_gym.factory import DATASETS

    return {name: made_by for name, made_by in DATASETS.items() if name != "composite"}  # several of the others


def score_task(problem: Mapping[str, Any], answer: str) -> float:
    """Return the score that a problem's task gives an answer.

    Raises:
        UserError: reasoning-gym is not installed.
        Ungradable: the problem does not hold what its task needs.
        NoReplyError: it took too long.
    """
    if find_spec("reasoning_gym") is None:
        raise UserError(problem["id"], "is graded by reasoning-gym, which is not installed", INSTALL)
    entry = {"question": problem["prompt"], "answer": problem.get("answer")}
    reply = task_pool.ask("score", problem["reasoning_gym"], entry, answer)
    if isinstance(reply, str):
        raise Ungradable(reply)
    return reply
