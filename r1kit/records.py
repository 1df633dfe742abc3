"""What flows between the commands, as types, and the names that other projects use for the same things."""

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import Any, Literal, NotRequired, TypedDict

from r1kit.errors import UserError
from r1kit.jsonl import Record


class Message(TypedDict):
    """One turn of a chat."""

    role: str
    content: str


class Problem(TypedDict):
    """Made by `data`, a person, or any Hugging Face data set."""

    id: str  # a hash of the content where missing
    prompt: str | list[Message]
    answer: NotRequired[str]  # gold
    choices: NotRequired[list[str]]  # the options of a multiple choice; the answer is the letter of one
    kind: NotRequired[Literal["math", "code", "general"]]
    tests: NotRequired[dict[str, Any]]  # code: {"inputs", "outputs"[, "fn_name"]} or {"asserts"}
    system: NotRequired[str]
    language: NotRequired[str]  # what the reasoning should be in
    reasoning_gym: NotRequired[dict[str, Any]]  # {"task", "metadata"}: the task of reasoning-gym that grades the answer


class Rollout(Problem):
    """One completion of a problem; rollouts that share an id are a group. Made by `rollout`."""

    model: NotRequired[str]  # whose completion it is, as the command that drew it was told
    sample: int  # 0 to n - 1
    completion: str
    finish_reason: Literal["stop", "length", "error"]
    error: NotRequired[str]  # why there is no completion
    prompt_tokens: int
    completion_tokens: int
    logprobs: NotRequired[list[float]]  # nats, of each completion token
    score: NotRequired[float | None]  # what a search ranked it by, and
    step_scores: NotRequired[list[float]]  # its steps' scores under the process reward model, in [0, 1]
    search: NotRequired[str]  # how a search found it, and
    budget: NotRequired[int]  # how many candidates it was to draw
    generated_tokens: NotRequired[int]  # what the search on the whole problem drew, and
    prm_tokens: NotRequired[int]  # what it had the process reward model read
    vote: NotRequired[dict[str, str | None]]  # how its problem's rollouts should vote, as the policy chose


class ScoredRollout(Rollout):
    """A rollout with its rewards; null means that it cannot be graded. Made by `reward`."""

    rewards: dict[str, float | None]
    reward: float | None  # their weighted sum
    extracted: str | None  # the answer as read from the completion; of code, the program
    verdict: Literal["correct", "wrong", "no_answer", "gold_unparseable", "timeout"] | None  # None: nothing to judge by
    passed: NotRequired[float]  # of code: the share of its tests that it passes; of a reasoning-gym task: its score


ADDED = ScoredRollout.__annotations__.keys() - Problem.__annotations__.keys()  # to a problem, by sampling and grading

SearchName = Literal["best-of-n", "beam", "dvts", "lookahead", "self-consistency", "auto"]
VoteMethod = Literal["majority", "weighted", "best-of-n", "policy"]
SelectName = Literal["best", "random", "shortest", "longest", "diverse"]
DedupName = Literal["exact", "near"]
DedupScope = Literal["prompt", "all", "none"]
ExampleFormat = Literal["messages", "prompt-completion"]


class Vote(TypedDict):
    """What the rollouts of one problem decide together. Made by `vote`."""

    id: str
    prompt: str | list[Message]
    answer: NotRequired[str]
    prediction: str | None  # None where no completion holds an answer
    votes: dict[str, float]  # of each answer its count, its sum of weights, or its best score
    n: int
    correct: bool | None  # None without a gold answer, or with one that cannot be read
    method: VoteMethod
    by: NotRequired[str]  # what weighs or ranks
    decided_at: int | None  # rollouts after which no further vote could change a majority
    generated_tokens: NotRequired[int]  # what all completions of the problem cost
    search: NotRequired[str]  # how the completions were found, and
    budget: NotRequired[int]  # how many were asked for, both as `rollout --search` wrote them


# our name: what others call it
ALIASES = {"prompt": ("problem", "question"), "answer": ("solution", "ground_truth")}
CONTENT = ("prompt", "answer", "tests", "system", "reasoning_gym")  # what the id of a problem without one is made of


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
        content = {name: fields[name] for name in CONTENT if fields.get(name) is not None}
        fields = {"id": content_hash(content), **fields}
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
    return map(list, rollouts_by_problem(rollouts))


def rollouts_by_problem(rollouts: Iterable[Record]) -> Iterator[Iterator[Record]]:
    """Yield the rollouts of one problem after another, each as it is read; those not taken are passed over.

    Raises:
        UserError: the rollouts of a problem do not stand together.
    """
    seen = SeenKeys()
    for problem_id, group in groupby(rollouts, key=lambda rollout: rollout.need("id", "run r1kit rollout first")):
        first = next(group)
        if not seen.add(problem_id):
            what = f'the rollouts of "{problem_id}" do not stand together'
            raise UserError(first.place, what, "sort the file by id")
        yield chain([first], group)  # noqa: B031 (the rest of it)


class SeenKeys:
    """A set of ids, texts or other keys that keeps 8 bytes of each, so that millions of them take a few megabytes.

    Hashes in the order in which they came, and a table of their places with linear probing, at most half full, 0 where
    it is free: 16 to 24 bytes a key in all. Two keys of a million share a hash with a probability of 3e-8; they would
    be taken for one.
    """

    def __init__(self) -> None:
        self._hashes, self._table = array("Q"), array("I", bytes(4 * 1024))

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, key: object) -> bool:
        """Add a key; tell whether it is new."""
        before = len(self)
        return self.number(key) == before

    def number(self, key: object) -> int:
        """Return how many other keys had come when a key came first; add it where it is new."""
        digest = hashlib.blake2b(repr(key).encode(errors="surrogatepass"), digest_size=8).digest()
        hashed = int.from_bytes(digest)
        slot = self._slot(hashed)
        if not self._table[slot]:
            self._hashes.append(hashed)
            self._table[slot] = len(self._hashes)
            if 2 * len(self._hashes) > len(self._table):
                self._grow()
            return len(self._hashes) - 1
        return self._table[slot] - 1

    def _slot(self, hashed: int) -> int:
        """Return where the place of a hash is, or else where it would be."""
        slot = hashed % len(self._table)
        while (place := self._table[slot]) and self._hashes[place - 1] != hashed:
            slot = (slot + 1) % len(self._table)
        return slot

    def _grow(self) -> None:
        self._table = array("I", bytes(8 * len(self._table)))
        for place, hashed in enumerate(self._hashes, start=1):
            self._table[self._slot(hashed)] = place


def content_hash(fields: object) -> str:
    """Return 16 hex digits that depend on the content alone."""
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True)
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()
