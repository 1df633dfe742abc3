"""Metrics of scored rollouts: pass@1 over k samples, pass@k, cons@k, format, language and length.

The mean of a metric is taken over the rollouts of a problem, then over problems, which its 95 % interval is of.

Source: Chen et al. 2021 (arXiv 2107.03374), section 2.1, for pass@k; DeepSeek-R1 (arXiv 2501.12948), section 3, for
pass@1 as a mean over samples, and cons@k.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from math import comb
from statistics import fmean

from r1kit.ballots import read_grade, vote_groups
from r1kit.errors import UserError
from r1kit.estimates import Estimate, RunningMean
from r1kit.jsonl import Record
from r1kit.records import rollouts_by_problem
from r1kit.reward_spec import RewardPart
from r1kit.subsets import majority_accuracy, sizes_up_to

# the rewards that the metrics are made of; the weighted sum is the accuracy
MEASURED = [RewardPart("accuracy"), RewardPart("format", 0.0), RewardPart("language", 0.0)]


@dataclass(frozen=True)
class Metrics:
    """What the rollouts of a benchmark come to. A metric is None where no rollout says what it is made of."""

    problems: int
    samples: int  # N, rollouts of each problem
    pass_at_1: Estimate | None
    pass_at: dict[int, Estimate]  # by k = 2, 4, 8, … and N: is one of k rollouts right?
    cons_at: dict[int, Estimate]  # by the same k: is the majority of k rollouts right? None of programs
    reward: Estimate | None  # the weighted sum of the rewards
    format_rate: Estimate | None
    language: Estimate | None  # language consistency
    truncated: Estimate | None  # the share of completions that end at --max-tokens
    mean_length: Estimate | None  # tokens
    length_right: float | None  # over all rollouts that are right
    length_wrong: float | None
    generated_tokens: int
    ungraded: int  # rollouts without an accuracy, among them
    errors: int  # those without a completion
    timeouts: int  # rollouts whose judgement took too long, which are wrong
    by_problem: dict[str, float]  # id: the share of its rollouts that is right, of those that are graded

    def as_json(self) -> dict[str, object]:
        """Return the metrics as JSON fields, under the field's usual names."""
        estimates: dict[str, Estimate | None] = {
            "pass@1": self.pass_at_1,
            **{f"pass@{k}": estimate for k, estimate in self.pass_at.items()},
            **{f"cons@{k}": estimate for k, estimate in self.cons_at.items()},
            "mean_reward": self.reward,
            "format": self.format_rate,
            "language": self.language,
            "truncated": self.truncated,
            "mean_length": self.mean_length,
        }
        lengths = {"mean_length_right": self.length_right, "mean_length_wrong": self.length_wrong}
        return {
            "problems": self.problems,
            "samples": self.samples,
            **{name: estimate and estimate.as_json() for name, estimate in estimates.items()},
            **{name: None if length is None else round(length, 4) for name, length in lengths.items()},
            **{name: getattr(self, name) for name in ("generated_tokens", "ungraded", "errors", "timeouts")},
        }


def measure(scored: Iterable[Record], samples: int | None = None) -> Metrics:
    """Return the metrics of scored rollouts (those of one problem together). Buffers one problem.

    Args:
        samples: how many rollouts of each problem are measured, the first ones; None: all.

    Raises:
        UserError: a rollout is not scored, the rollouts of a problem do not stand together or are not as many as those
            of another, or there are none.
    """
    sums = _Sums()
    for members in _even_groups(scored, samples):
        sums.add(members)
    if not sums.problems:
        raise UserError("input", "no rollouts to measure", "give scored rollouts, or --model and --on")
    return sums.metrics()


def _even_groups(scored: Iterable[Record], samples: int | None) -> Iterator[list[Record]]:
    expected, those = samples, f"not {samples}"
    for group in rollouts_by_problem(scored):
        members = list(islice(group, samples))
        count = len(members)
        if expected is None:
            expected, those = count, f"those before it {count}"
        if count != expected:
            what = f'"{members[0]["id"]}" has {count} rollout{"s" * (count > 1)}, {those}'
            remedy = f"finish the run, or say --samples {min(count, expected)}"
            raise UserError(members[0].place, what, remedy)
        yield members


@lru_cache(maxsize=4096)
def pass_at_k(rollouts: int, right: int, k: int) -> float:
    """Return how often one of k of the rollouts of a problem is right, over all subsets of k."""
    every = comb(rollouts, k)
    return (every - comb(rollouts - right, k)) / every


class _Sums:
    """What the problems add up to; of each only its share of right rollouts is kept."""

    def __init__(self) -> None:
        self.problems = self.samples = self.generated_tokens = self.ungraded = self.errors = self.timeouts = 0
        self.pass_at_1, self.truncated, self.length, self.reward = (RunningMean() for _ in range(4))
        self.pass_at: defaultdict[int, RunningMean] = defaultdict(RunningMean)
        self.cons_at: defaultdict[int, RunningMean] = defaultdict(RunningMean)
        self.rewards: defaultdict[str, RunningMean] = defaultdict(RunningMean)
        self.length_of: defaultdict[bool | None, RunningMean] = defaultdict(RunningMean)  # by grade, over rollouts
        self.by_problem: dict[str, float] = {}

    def add(self, members: list[Record]) -> None:
        """Count the rollouts of a problem."""
        self.problems += 1
        self.samples = len(members)
        grades = [_grade(rollout) for rollout in members]
        graded = [rollout for rollout, grade in zip(members, grades, strict=True) if grade is not None]
        self.ungraded += len(members) - len(graded)
        self.errors += sum(rollout.get("finish_reason") == "error" for rollout in members)
        self.timeouts += sum(rollout.get("verdict") == "timeout" for rollout in members)
        for name in ("format", "language"):
            _add_mean(self.rewards[name], [rollout["rewards"].get(name) for rollout in members])
        _add_mean(self.reward, [rollout.get("reward") for rollout in members])
        self._add_lengths(members, grades)
        if graded:
            self._add_accuracy(graded, sum(map(bool, grades)))

    def _add_accuracy(self, graded: list[Record], right: int) -> None:
        count = len(graded)
        self.by_problem[graded[0]["id"]] = right / count
        self.pass_at_1.add(right / count)
        sizes = tuple(k for k in self._sizes() if k <= count)
        for k in sizes:
            self.pass_at[k].add(pass_at_k(count, right, k))
        groups = vote_groups(graded) if sizes else None
        if groups is not None:
            votes, good = zip(*sorted(zip(*groups, strict=True)), strict=True) if groups[0] else ((), ())
            for k, accuracy in zip(sizes, majority_accuracy(votes, good, count, sizes), strict=True):
                self.cons_at[k].add(accuracy)

    def _add_lengths(self, members: list[Record], grades: list[bool | None]) -> None:
        lengths = []
        for rollout, grade in zip(members, grades, strict=True):
            if rollout.get("finish_reason") != "error":
                lengths.append(rollout.need("completion_tokens", "run r1kit rollout first"))
                self.length_of[grade].add(lengths[-1])
        _add_mean(self.length, lengths)
        self.generated_tokens += members[0].get("generated_tokens", sum(lengths))
        ends = [reason for rollout in members if (reason := rollout.get("finish_reason")) in ("stop", "length")]
        _add_mean(self.truncated, [reason == "length" for reason in ends])

    def _sizes(self) -> list[int]:
        return sorted({*sizes_up_to(self.samples), self.samples} - {1})

    def metrics(self) -> Metrics:
        """Return the metrics of what was counted."""
        return Metrics(
            problems=self.problems,
            samples=self.samples,
            pass_at_1=self.pass_at_1.share(),
            pass_at=_shares(self.pass_at),
            cons_at=_shares(self.cons_at),
            reward=self.reward.estimate(),
            format_rate=self.rewards["format"].share(),
            language=self.rewards["language"].share(),
            truncated=self.truncated.share(),
            mean_length=self.length.estimate(low=0),
            length_right=_mean(self.length_of[True]),
            length_wrong=_mean(self.length_of[False]),
            generated_tokens=self.generated_tokens,
            ungraded=self.ungraded,
            errors=self.errors,
            timeouts=self.timeouts,
            by_problem=self.by_problem,
        )


def _grade(rollout: Record) -> bool | None:
    """Return whether a rollout is right, None where it has no accuracy."""
    accuracy = rollout.need("rewards", "run r1kit reward first").get("accuracy")
    return None if accuracy is None else read_grade(rollout)


def _add_mean(running: RunningMean, values: list[float | None]) -> None:
    """Add the mean of a problem's values that are known, where one is."""
    known = [value for value in values if value is not None]
    if known:
        running.add(fmean(known))


def _shares(running: dict[int, RunningMean]) -> dict[int, Estimate]:
    return {k: share for k in sorted(running) if (share := running[k].share()) is not None}


def _mean(running: RunningMean) -> float | None:
    return running.mean if running.count else None
