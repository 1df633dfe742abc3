"""What flows between the commands, as types, and the names that other projects use for the same things."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Literal, NotRequired, TypedDict

from r1kit.errors import UserError
from r1kit.jsonl import Record


class Message(TypedDict):
    role: str
    content: str


class Problem(TypedDict):
    """Made by `data`, a person, or any Hugging Face data set."""

    id: str  # a hash of the content where missing
    prompt: str | list[Message]
    answer: NotRequired[str]  # gold
    kind: NotRequired[Literal["math", "code", "general"]]
    tests: NotRequired[dict[str, Any]]  # code: {"inputs", "outputs"[, "fn_name"]} or {"asserts"}
    system: NotRequired[str]
    language: NotRequired[str]  # what the reasoning should be in


class Rollout(Problem):
    """One completion of a problem; rollouts that share an id are a group. Made by `rollout`."""

    sample: int  # 0 to n - 1
    completion: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    logprobs: NotRequired[list[float]]  # nats, of each completion token


class ScoredRollout(Rollout):
    """A rollout with its rewards; null means that it cannot be graded. Made by `reward`."""

    rewards: dict[str, float | None]
    reward: float | None  # their weighted sum
    extracted: str | None  # the answer as read from the completion; of code, the program
    verdict: Literal["correct", "wrong", "no_answer", "gold_unparseable", "timeout"] | None  # None: nothing to judge by
    passed: NotRequired[float]  # of code: the share of its tests that it passes
    step_scores: NotRequired[list[float]]  # of a process reward model, in [0, 1]


class Vote(TypedDict):
    """What the rollouts of one problem decide together. Made by `vote`."""

    id: str
    prompt: str | list[Message]
    answer: NotRequired[str]
    prediction: str | None  # None where no completion holds an answer
    votes: dict[str, int]
    n: int
    correct: bool | None  # None without a gold answer, or with one that cannot be read


# our name: what others call it
ALIASES = {"prompt": ("problem", "question"), "answer": ("solution", "ground_truth")}


def as_problem(record: Record) -> Record:
    """Return a record as a problem: other projects' names mapped to ours, `id` filled in where it is missing.

    Raises:
        UserError: there is no prompt under any name.
    """
    fields = dict(record)
    for name, aliases in ALIASES.items():
        other = next((alias for alias in aliases if alias in fields), None)
        if name not in fields and other is not None:
            fields = {name if key == other else key: value for key, value in fields.items()}
    Record(fields, record.place).need("prompt", "a problem needs one; r1kit data --map prompt=FIELD renames")
    if fields.get("id") is None:
        fields.pop("id", None)
        fields = {"id": content_hash(fields), **fields}
    return Record({**fields, "id": str(fields["id"])}, record.place)


def unique_problems(problems: Iterable[Record]) -> Iterator[Record]:
    """Yield problems as they come; an id that comes again would draw the same completions.

    Raises:
        UserError: an id stands twice.
    """
    seen: set[str] = set()
    for problem in problems:
        if problem["id"] in seen:
            raise UserError(problem.place, f'the id "{problem["id"]}" stands twice', "give each problem its own id")
        seen.add(problem["id"])
        yield problem


def groups_of_rollouts(rollouts: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield the rollouts of one problem after another; buffers one problem.

    Raises:
        UserError: the rollouts of a problem do not stand together.
    """
    seen: set[str] = set()
    for problem_id, group in groupby(rollouts, key=lambda rollout: rollout.need("id", "run r1kit rollout first")):
        members = list(group)
        if problem_id in seen:
            what = f'the rollouts of "{problem_id}" do not stand together'
            raise UserError(members[0].place, what, "sort the file by id")
        seen.add(problem_id)
        yield members


def content_hash(fields: object) -> str:
    """Return 16 hex digits that depend on the content alone."""
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
