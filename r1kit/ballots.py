"""What a rollout brings to a vote: its answer, what it weighs, and how it was graded."""

from collections import Counter
from collections.abc import Callable
from statistics import fmean
from sys import float_info
from typing import Any

from r1kit.answer import equal_answers, extract_answer
from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.verdict import equality_of, gold_of, grading_of, judge_rollout

REMEDIES = {"reward": "run r1kit reward first", "logprob": "run r1kit rollout --logprobs"}


class AnswerGroups:
    """Answers grouped by equality: a new text is compared with the first of each group, a known one with none."""

    def __init__(self, equal: Callable[[str, str], bool | None] = equal_answers):
        self._equal = equal
        self._leaders: dict[str, str] = {}  # by every text that was seen

    def leader(self, answer: str) -> str:
        """Return the first answer of the group that an answer belongs to."""
        if answer not in self._leaders:
            leaders = dict.fromkeys(self._leaders.values())
            self._leaders[answer] = next((leader for leader in leaders if self._equal(leader, answer)), answer)
        return self._leaders[answer]


def read_answer(rollout: Record) -> str | None:
    """Return the answer of a rollout: as `reward` read it, else read from the completion; None after an error."""
    if rollout.get("finish_reason") == "error":
        return None
    if "extracted" in rollout:
        return None if rollout["extracted"] is None else str(rollout["extracted"])
    completion = rollout.need("completion", "run r1kit rollout first")
    return extract_answer(completion) if grading_of(rollout) == "math" else judge_rollout(rollout, None).extracted


def read_weight(rollout: Record, by: str) -> float | None:
    """Return what a rollout is weighed or ranked by, None where it is null.

    by: "logprob" is the mean log-probability of its tokens, in nats; any other word a number field, one of a field with
    a dot between them: "reward", "score", "rewards.accuracy".

    Raises:
        UserError: the field is missing, or no number.
    """
    remedy = REMEDIES.get(by, "name a number field of the rollouts, as in --by score")
    value = _field(rollout, "logprobs" if by == "logprob" else by, rollout.place, remedy)
    if by == "logprob" and isinstance(value, list):
        value = fmean(value) if value else None
    if value is not None and not (isinstance(value, int | float) and abs(value) <= float_info.max):
        raise UserError(rollout.place, f'"{by}" is no number', remedy)
    return None if value is None else float(value)


def _field(fields: dict[str, Any], path: str, place: str, remedy: str) -> Any:
    inner = fields
    names = path
    while names not in inner:
        head, dot, names = names.partition(".")
        if not dot or not isinstance(inner.get(head), dict):
            raise UserError(place, f'no "{path}"', remedy)
        inner = inner[head]
    return inner[names]


def read_grade(rollout: Record) -> bool | None:
    """Return whether `reward` found a rollout right, None where it did not say."""
    if rollout.get("verdict") is not None:
        return rollout["verdict"] == "correct"
    accuracy = (rollout.get("rewards") or {}).get("accuracy")
    return None if accuracy is None else accuracy >= 1


def is_correct(problem: Record, prediction: str | None) -> bool | None:
    """Tell whether a prediction equals the gold answer of a problem, None where there is none that can be read."""
    gold = gold_of(problem)
    return None if gold is None else equality_of(problem)(gold, prediction if prediction is not None else "")


def is_judged_by_gold(problem: Record) -> bool:
    """Tell whether comparing with a gold answer says what is right; else only a grade does, as of a program."""
    return grading_of(problem) not in ("code", "task")


def vote_groups(members: list[Record]) -> tuple[tuple[int, ...], tuple[bool, ...]] | None:
    """Return how many rollouts of a problem give each answer, and whether it is right.

    None where the gold answer cannot be read, or the answers cannot be compared, as programs cannot.
    """
    first = members[0]
    if grading_of(first) == "code":
        return None
    groups = AnswerGroups(equality_of(first))
    counts: Counter[str] = Counter()
    grades: dict[str, bool | None] = {}  # of answers that only a grade says something of
    for rollout in members:
        if (answer := read_answer(rollout)) is not None:
            counts[groups.leader(answer)] += 1
            grades.setdefault(groups.leader(answer), read_grade(rollout))
    by_gold = is_judged_by_gold(first)
    if by_gold and not counts and is_correct(first, None) is None:
        return None
    right = [is_correct(first, answer) if by_gold else grades[answer] for answer in counts]
    return None if None in right else (tuple(counts.values()), tuple(map(bool, right)))
