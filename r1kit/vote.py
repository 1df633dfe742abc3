"""Majority voting: the rollouts of one problem decide on one answer.

Source: Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning" (arXiv 2203.11171).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from r1kit.answer import equal_answers, extract_answer
from r1kit.jsonl import Record
from r1kit.records import groups_of_rollouts


@dataclass
class VoteSummary:
    """How often the votes were right."""

    problems: int = 0
    gradable: int = 0
    correct: int = 0

    def add(self, vote: Record) -> None:
        """Count the vote on one problem."""
        self.problems += 1
        self.gradable += vote["correct"] is not None
        self.correct += bool(vote["correct"])

    def lines(self) -> list[str]:
        """Return the summary as text."""
        accuracy = f", {self.correct / self.gradable:.1%} of {self.gradable} right" if self.gradable else ""
        return [f"{self.problems} problems{accuracy}"]


def majority_votes(rollouts: Iterable[Record], summary: VoteSummary) -> Iterator[Record]:
    """Yield one record per problem: the answer that most of its rollouts give; count it in `summary`.

    Answers are grouped by mathematical equality; of equal counts the one seen first wins. Buffers one problem.

    Raises:
        UserError: the rollouts of one problem do not stand together.
    """
    for members in groups_of_rollouts(rollouts):
        vote = _vote(members)
        summary.add(vote)
        yield vote


def _vote(members: list[Record]) -> Record:
    first = members[0]
    answers = [read_answer(rollout) for rollout in members]
    votes = count_votes(answers)
    prediction = max(votes, key=votes.__getitem__, default=None)
    gold = first.get("answer")
    fields = {key: first[key] for key in ("id", "prompt", "answer", "kind", "language") if key in first}
    return Record(
        {
            **fields,
            "prediction": prediction,
            "votes": votes,
            "n": len(members),
            "correct": None if gold is None else is_correct(str(gold), prediction),
        },
        first.place,
    )


def read_answer(rollout: Record) -> str | None:
    """Return the answer of a rollout: as `reward` read it, else read from the completion."""
    if "extracted" in rollout:
        return rollout["extracted"]
    return extract_answer(rollout.need("completion", "run r1kit rollout first"))


def count_votes(answers: list[str | None]) -> dict[str, int]:
    """Return how many answers stand behind each; equal ones are counted under the one seen first, None not at all."""
    votes: dict[str, int] = {}
    for answer in answers:
        if answer is None:
            continue
        leader = answer if answer in votes else next((v for v in votes if equal_answers(v, answer)), answer)
        votes[leader] = votes.get(leader, 0) + 1
    return votes


def is_correct(gold: str, prediction: str | None) -> bool | None:
    """Tell whether a prediction equals the gold answer, None where the gold answer cannot be read."""
    return equal_answers(gold, prediction if prediction is not None else "")
