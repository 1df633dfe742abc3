"""What held-out pairs say of a reward model: accuracy, what length alone explains of it, and calibration."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import exp
from statistics import fmean
from typing import Any, Literal, NamedTuple

from r1kit.estimates import Estimate, estimate_share, percent

BINS = 5  # of the probability of the preferred side, from 0.5 to 1
LengthRule = Literal["longer", "shorter"]


class Scores(NamedTuple):
    """The scores of a held-out pair's sides, their lengths in tokens, and the number of its prompt."""

    chosen: float
    rejected: float
    chosen_tokens: int
    rejected_tokens: int
    prompt: int

    @property
    def accuracy(self) -> float:
        """1 where the chosen side has the higher score, 0.5 where both have the same."""
        return _won(self.chosen - self.rejected)

    def by_length(self, rule: LengthRule) -> float:
        """Return the accuracy of a rule that looks at nothing but the lengths."""
        longer = self.chosen_tokens - self.rejected_tokens
        return _won(longer if rule == "longer" else -longer)

    @property
    def confidence(self) -> float:
        """The probability (Bradley-Terry) of the side that the model prefers."""
        return 1 / (1 + exp(-abs(self.chosen - self.rejected)))


class Bin(NamedTuple):
    """The pairs of like probability: how many they are, what was predicted on average, and what came true."""

    low: float
    high: float
    pairs: int
    predicted: float
    observed: float


@dataclass(frozen=True)
class RewardReport:
    """What held-out pairs say; means and intervals are over prompts.

    Attributes:
        rule: of length alone, that which is the better one on the pairs that were trained on.
        against_length: accuracy on the pairs that the rule gets wrong, None where there are none.
    """

    pairs: int
    prompts: int
    accuracy: Estimate
    rule: LengthRule
    length_only: Estimate
    against: int
    against_length: Estimate | None
    bins: list[Bin]

    @property
    def calibration_error(self) -> float:
        """The expected calibration error: the mean distance of predicted and observed, by pairs (Guo et al. 2017)."""
        return sum(found.pairs * abs(found.predicted - found.observed) for found in self.bins) / self.pairs

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON fields."""
        return {
            "pairs": self.pairs,
            "prompts": self.prompts,
            "accuracy": self.accuracy.as_json(),
            "length_only": {"rule": self.rule, **self.length_only.as_json()},
            "against_length": self.against_length and {"pairs": self.against, **self.against_length.as_json()},
            "calibration_error": round(self.calibration_error, 4),
            "calibration": [{name: round(value, 4) for name, value in found._asdict().items()} for found in self.bins],
        }

    def lines(self) -> list[str]:
        """Return the report as text."""
        told = [
            f"held out: {self.pairs} pairs of {self.prompts} prompts, 95 % intervals over prompts",
            f"accuracy         {percent(self.accuracy)}",
            f"length alone     {percent(self.length_only)}   (the {self.rule} side wins)",
        ]
        if self.against_length:
            told.append(f"against length   {percent(self.against_length)}   ({self.against} pairs it gets wrong)")
        told += ["", "predicted    pairs    mean   right"]
        told += [
            f"{100 * b.low:.0f} to {100 * b.high:.0f} %".ljust(13)
            + f"{b.pairs:<6}{100 * b.predicted:>5.1f} %{100 * b.observed:>6.1f} %"
            for b in self.bins
        ]
        return [*told, f"expected calibration error: {100 * self.calibration_error:.1f} points"]


def report_on(scores: Sequence[Scores], rule: LengthRule) -> RewardReport:
    """Return what the scores of held-out pairs say; a pair that a rule or the model cannot tell apart counts half."""
    against = [pair for pair in scores if pair.by_length(rule) == 0]
    return RewardReport(
        pairs=len(scores),
        prompts=len({pair.prompt for pair in scores}),
        accuracy=_share(scores, lambda pair: pair.accuracy),
        rule=rule,
        length_only=_share(scores, lambda pair: pair.by_length(rule)),
        against=len(against),
        against_length=_share(against, lambda pair: pair.accuracy) if against else None,
        bins=calibrate(scores),
    )


def mean_accuracy(scores: Iterable[Scores]) -> float:
    """Return the accuracy of held-out pairs, their mean over prompts."""
    return _share(scores, lambda pair: pair.accuracy).value


def calibrate(scores: Sequence[Scores]) -> list[Bin]:
    """Return the bins of the probability of the preferred side that hold pairs, from 0.5 to 1.

    A pair and its mirror image say the same, so that nothing is lost below 0.5.
    """
    held: defaultdict[int, list[Scores]] = defaultdict(list)
    for pair in scores:
        held[min(BINS - 1, int((pair.confidence - 0.5) * 2 * BINS))].append(pair)
    return [
        Bin(
            0.5 + number / (2 * BINS),
            0.5 + (number + 1) / (2 * BINS),
            len(pairs),
            fmean(pair.confidence for pair in pairs),
            fmean(pair.accuracy for pair in pairs),
        )
        for number, pairs in sorted(held.items())
    ]


def _won(difference: float) -> float:
    return 0.5 if difference == 0 else float(difference > 0)


def _share(scores: Iterable[Scores], value: Callable[[Scores], float]) -> Estimate:
    """Return the mean over prompts of each prompt's mean."""
    by_prompt: defaultdict[int, list[float]] = defaultdict(list)
    for pair in scores:
        by_prompt[pair.prompt].append(value(pair))
    found = estimate_share(map(fmean, by_prompt.values()))
    assert found is not None
    return found
