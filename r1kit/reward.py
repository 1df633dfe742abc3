"""The reward command's work: parse "accuracy,format:0.2", grade rollouts as they stream, sum up."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import isfinite

from r1kit.answer import answer_part, judge
from r1kit.errors import UsageError
from r1kit.jsonl import Record
from r1kit.rewards import REWARDS


@dataclass
class RewardSummary:
    """What the graded rollouts add up to."""

    rollouts: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    graded: dict[str, int] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)

    def add(self, scored: Record) -> None:
        """Count one scored rollout."""
        self.rollouts += 1
        self.verdicts[scored["verdict"] or "no gold answer"] += 1
        for name, value in scored["rewards"].items():
            self.sums[name] = self.sums.get(name, 0.0) + (value or 0.0)
            self.graded[name] = self.graded.get(name, 0) + (value is not None)

    def lines(self) -> list[str]:
        """Return the summary as text, a line a reward."""
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in self.verdicts.most_common())
        lines = [f"{self.rollouts} rollouts" + (f": {verdicts}" if verdicts else "")]
        for name, graded in self.graded.items():
            mean = f"mean {self.sums[name] / graded:.3f}" if graded else "no mean"
            missing = self.rollouts - graded
            lines.append(f"  {name}: {mean}" + (f", {missing} could not be graded (null)" if missing else ""))
        return lines


def parse_rewards(text: str) -> dict[str, float]:
    """Return the weight of each reward of "NAME[:WEIGHT],…"; a weight that is not said is 1.

    Raises:
        UsageError: an unknown name, a weight that is no number, or a name said twice.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition(":")
        if name not in REWARDS:
            raise UsageError("--reward", f'unknown reward "{name}"', f"the known ones are {', '.join(REWARDS)}")
        if name in weights:
            raise UsageError("--reward", f'"{name}" stands twice', "name each reward once")
        try:
            weights[name] = float(weight or 1)
        except ValueError:
            weights[name] = float("nan")
        if not isfinite(weights[name]):
            raise UsageError("--reward", f'"{weight}" is no weight', f"write {name}:0.5, for instance")
    return weights


def score_rollouts(rollouts: Iterable[Record], weights: dict[str, float], summary: RewardSummary) -> Iterator[Record]:
    """Yield each rollout with `rewards`, `reward`, `extracted` and `verdict`; count it in `summary`."""
    for rollout in rollouts:
        rollout.need("completion", "run r1kit rollout first")
        scored = score_rollout(rollout, weights)
        summary.add(scored)
        yield scored


def score_rollout(rollout: Record, weights: dict[str, float]) -> Record:
    """Return a rollout with its rewards; a reward of None is left out of the sum, and all None sum to None."""
    rewards = {name: REWARDS[name](rollout) for name in weights}
    graded = [weights[name] * value for name, value in rewards.items() if value is not None]
    gold = rollout.get("answer")
    judgement = judge(None if gold is None else str(gold), answer_part(rollout["completion"]))
    return rollout.derive(
        rewards=rewards,
        reward=sum(graded) if graded else None,
        extracted=judgement.extracted,
        verdict=judgement.verdict,
    )
