"""Votes: the rollouts of one problem decide on one answer.

majority: the answer that most rollouts give (self-consistency).
weighted: the answer whose rollouts weigh most together. By log-probability, a rollout weighs exp of the mean
    log-probability of its tokens: the normalized weighted sum of Wang et al. By a verifier's score it is the best-of-n
    weighted of Snell et al.
best-of-n: the answer of the rollout that ranks highest, of Cobbe et al.
policy: one of these for each problem, as its rollouts say (`rollout --search auto`).

Source: Wang et al. 2022 (arXiv 2203.11171), section 2, equation 1 and table 1; Cobbe et al. 2021 (arXiv 2110.14168),
section 4.2; Snell et al. 2024 (arXiv 2408.03314), section 5.1.
"""

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import exp, fsum
from typing import NamedTuple

from r1kit.ballots import AnswerGroups, is_correct, is_judged_by_gold, read_answer, read_grade, read_weight
from r1kit.errors import UsageError, UserError
from r1kit.estimates import RunningMean, percent
from r1kit.jsonl import Record
from r1kit.records import VoteMethod, rollouts_by_problem
from r1kit.verdict import equality_of

TOTALS: dict[str, Callable[[list[float]], float]] = {"majority": len, "weighted": fsum, "best-of-n": max}
COPIED = ("id", "prompt", "answer", "kind", "language", "search", "budget")


@dataclass(frozen=True)
class VotePlan:
    """How a vote is held."""

    method: VoteMethod = "majority"
    by: str | None = None  # what weighs or ranks: reward (the default), logprob, or a number field of the rollouts
    early: int | None = None  # each problem has so many rollouts, and its vote leaves once no other could change it

    def __post_init__(self) -> None:
        """Raise UsageError where the settings do not go together."""
        if self.method == "majority" and self.by is not None:
            raise UsageError("--by", "in a majority all votes count the same", "say --method weighted or best-of-n")
        if self.method != "majority" and self.early is not None:
            what = f"a {self.method} vote is open to the end, since the next rollout may outweigh all others"
            raise UsageError("--early", what, "say --method majority")

    @property
    def measure(self) -> str:
        """What weighs or ranks the rollouts."""
        return self.by or "reward"


class Ballot(NamedTuple):
    """What one rollout says in a vote."""

    answer: str | None  # the first of its group; None: there is none
    weight: float | None  # None: it does not vote


class Poll:
    """The votes of one problem, of `n` rollouts, as they are cast.

    Answers are grouped by what makes them equal (see r1kit.verdict): mathematics, the letter of an option, a text,
    programs where they are the same. A rollout that ended in an error gives no answer.
    """

    def __init__(self, first: Record, plan: VotePlan, n: int):
        self.first, self.plan, self.n = first, plan, n
        self.ballots: list[Ballot] = []
        self.weights: dict[str, list[float]] = {}  # by answer, in the order they were first voted for
        self.decided_at: int | None = None  # votes after which no other could change a majority
        self.unweighted = 0  # rollouts that do not vote since what would weigh them is null
        self.tokens: int | None = 0  # of the completions; None where one does not say
        self._by_gold = is_judged_by_gold(first)
        self._groups = AnswerGroups(equality_of(first))
        self._grades: dict[str | None, bool | None] = {}  # of answers that are not judged by the gold answer

    def cast(self, rollout: Record) -> None:
        """Count the vote of the next rollout.

        Raises:
            UserError: it lacks what it is weighed by.
        """
        answer, weight = read_answer(rollout), self._weight(rollout)
        ballot = Ballot(None if answer is None else self._groups.leader(answer), weight)
        self.ballots.append(ballot)
        self._grades.setdefault(ballot.answer, None if self._by_gold else read_grade(rollout))
        if ballot.answer is not None and weight is not None:
            self.weights.setdefault(ballot.answer, []).append(weight)
        tokens = rollout.get("completion_tokens")
        self.tokens = None if self.tokens is None or tokens is None else self.tokens + tokens
        if self.plan.method == "majority" and self.decided_at is None and self._is_decided():
            self.decided_at = len(self.ballots)

    def end(self) -> None:
        """Say that no more votes come, also where fewer were cast than expected."""
        self.n = len(self.ballots)
        if self.plan.method == "majority" and self.decided_at is None:
            self.decided_at = self.n

    def record(self) -> Record:
        """Return what was decided."""
        prediction = self.prediction()
        fields = {key: self.first[key] for key in COPIED if key in self.first}
        fields |= {"prediction": prediction, "votes": self.totals(), "n": self.n, "correct": self.is_right(prediction)}
        fields |= {"method": self.plan.method}
        if self.plan.method != "majority":
            fields["by"] = self.plan.measure
        fields["decided_at"] = self.decided_at
        tokens = self.first.get("generated_tokens", self.tokens)
        return Record(fields if tokens is None else {**fields, "generated_tokens": tokens}, self.first.place)

    def totals(self) -> dict[str, float]:
        """Return what stands behind each answer, to 9 digits, so that sums tie that differ by rounding."""
        total = TOTALS[self.plan.method]
        return {answer: _rounded(total(weights)) for answer, weights in self.weights.items()}

    def prediction(self) -> str | None:
        """Return the answer that wins, None where there is none; of equals the one seen first.

        Best-of-n may choose a rollout that gives no answer.
        """
        if self.plan.method == "best-of-n":
            ranked = [ballot for ballot in self.ballots if ballot.weight is not None]
            return max(ranked, key=operator.attrgetter("weight")).answer if ranked else None
        totals = self.totals()
        return max(totals, key=totals.__getitem__, default=None)

    def is_right(self, answer: str | None) -> bool | None:
        """Tell whether an answer is right, None where that is not known.

        It is where it equals the gold answer; a program, or the answer to a task of reasoning-gym, where `reward` found
        the rollout right that gave it.
        """
        if self._by_gold:
            return is_correct(self.first, answer)
        if answer is None:
            return False if any(grade is not None for grade in self._grades.values()) else None
        return self._grades[answer]

    def accuracies(self) -> list[float] | None:
        """Return the accuracy of a vote of 1, 2, 4, … of the rollouts (see r1kit.subsets), None where not known."""
        from r1kit.subsets import best_of_n_accuracy, majority_accuracy, weighted_accuracy

        right = {answer: self.is_right(answer) for answer in {b.answer: None for b in self.ballots}}
        if None in right.values():
            return None
        if self.plan.method == "best-of-n":
            return best_of_n_accuracy([b.weight for b in self.ballots], [bool(right[b.answer]) for b in self.ballots])
        good = [bool(right[answer]) for answer in self.weights]
        if self.plan.method == "majority":
            return majority_accuracy(tuple(map(len, self.weights.values())), tuple(good), self.n)
        place: dict[str | None, int] = {answer: place for place, answer in enumerate(self.weights)}
        groups = [None if ballot.weight is None else place.get(ballot.answer) for ballot in self.ballots]
        return weighted_accuracy(groups, [ballot.weight or 0.0 for ballot in self.ballots], good)

    def _weight(self, rollout: Record) -> float | None:
        if self.plan.method == "majority":
            return 1.0
        if rollout.get("finish_reason") == "error":
            return None
        weight = read_weight(rollout, self.plan.measure)
        self.unweighted += weight is None
        if weight is None or self.plan.method == "best-of-n":
            return weight
        if self.plan.measure == "logprob":
            return exp(weight)
        if weight < 0:
            what = f'"{self.plan.measure}" is {weight:g}, and a vote cannot weigh less than nothing'
            raise UserError(rollout.place, what, "say --method best-of-n, which only ranks, or --by another field")
        return weight

    def _is_decided(self) -> bool:
        """Tell whether the leader of a majority leads whatever the votes to come are; ties go to the one seen first."""
        left, counts = self.n - len(self.ballots), [len(weights) for weights in self.weights.values()]
        most = max(counts, default=0)
        if left > most or not counts:
            return left == 0
        leader = counts.index(most)
        return all(count + left < most + (place > leader) for place, count in enumerate(counts) if place != leader)


def hold_votes(rollouts: Iterable[Record], plan: VotePlan, summary: "VoteSummary") -> Iterator[Record]:
    """Yield one record per problem: what its rollouts decide; count it in `summary`. Buffers one problem.

    With `plan.early`, a majority leaves before the rest of its rollouts is read, which is then passed over; it has cost
    the tokens of those that were read.

    Raises:
        UserError: the rollouts of one problem do not stand together, are more than `plan.early`, or lack a field.
    """
    for members in rollouts_by_problem(rollouts):
        poll = _early_poll(members, plan) if plan.early else _whole_poll(list(members), plan)
        vote = poll.record()
        vote["method"] = plan.method
        summary.add(vote, poll)
        yield vote
        unread = sum(1 for _ in members)
        if plan.early and len(poll.ballots) + unread > plan.early:
            what = f'"{vote["id"]}" has {len(poll.ballots) + unread} rollouts'
            raise UserError(vote.place, what, "give --early the number that each problem has")


def poll_of(members: Sequence[Record], plan: VotePlan) -> Poll:
    """Return the votes of the rollouts of one problem."""
    poll = Poll(members[0], plan, len(members))
    for rollout in members:
        poll.cast(rollout)
    return poll


def _whole_poll(members: Sequence[Record], plan: VotePlan) -> Poll:
    if plan.method != "policy":
        return poll_of(members, plan)
    remedy = "say another --method, or run r1kit rollout --search auto"
    said = members[0].need("vote", remedy)
    if not isinstance(said, dict) or said.get("method") not in TOTALS:
        raise UserError(members[0].place, '"vote" names no method', remedy)
    return poll_of(members, VotePlan(said["method"], said.get("by")))


def _early_poll(members: Iterator[Record], plan: VotePlan) -> Poll:
    first = next(members)
    poll = Poll(first, plan, plan.early or 0)
    for rollout in chain([first], members):
        poll.cast(rollout)
        if poll.decided_at is not None:
            return poll
    poll.end()
    return poll


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.9g}")


def count_votes(answers: list[str | None]) -> dict[str, int]:
    """Return how many answers stand behind each; equal ones are counted under the one seen first, None not at all."""
    groups = AnswerGroups()
    return dict(Counter(groups.leader(answer) for answer in answers if answer is not None))


@dataclass
class VoteSummary:
    """How often the votes were right, and how often votes of fewer rollouts would have been."""

    problems: int = 0
    gradable: int = 0
    correct: int = 0
    unweighted: int = 0
    needed: RunningMean = field(default_factory=RunningMean)  # rollouts until a majority is decided
    sizes: Counter[int] = field(default_factory=Counter)  # of the groups in the table
    accuracies: list[RunningMean] = field(default_factory=list)  # of votes of 1, 2, 4, … rollouts

    def add(self, vote: Record, poll: Poll) -> None:
        """Count the vote on one problem."""
        self.problems += 1
        self.gradable += vote["correct"] is not None
        self.correct += bool(vote["correct"])
        self.unweighted += poll.unweighted
        if poll.decided_at is not None:
            self.needed.add(poll.decided_at)
        if not poll.plan.early and (accuracies := poll.accuracies()) is not None:
            self.sizes[poll.n] += 1
            self.accuracies += [RunningMean() for _ in range(len(accuracies) - len(self.accuracies))]
            for running, accuracy in zip(self.accuracies, accuracies, strict=False):
                running.add(accuracy)

    def lines(self) -> list[str]:
        """Return the summary as text."""
        accuracy = f", {self.correct / self.gradable:.1%} of {self.gradable} right" if self.gradable else ""
        needed = f", decided after {self.needed.mean:.1f} rollouts on average" if self.needed.count else ""
        silent = [f"{self.unweighted} rollouts did not vote: what weighs them is null"] if self.unweighted else []
        return [f"{self.problems} problems{accuracy}{needed}", *silent, *self._table()]

    def _table(self) -> list[str]:
        """Return the accuracy by number of rollouts, up to the most common size of a group.

        A problem with fewer rollouts than a row's is left out of it, and the row says of how many problems it is.
        """
        most = max(self.sizes, key=lambda size: (self.sizes[size], size), default=0)
        if most < 2:
            return []
        total = self.sizes.total()
        rows = ["       n  accuracy (95 % interval over problems; mean over subsets of n rollouts)"]
        for running, size in zip(self.accuracies, (1 << power for power in range(most.bit_length())), strict=False):
            of = "" if running.count == total else f"  ({running.count} of {total} problems)"
            rows.append(f"{size:>8}  {percent(running.share())}{of}")
        return rows
