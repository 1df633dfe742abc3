"""Means over problems and their 95 % intervals, of values in a list or of values that pass by."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

Z95 = 1.959964  # the normal distribution's 97.5 % point


@dataclass(frozen=True)
class Estimate:
    """A mean over problems and its 95 % interval, None where there is a single problem."""

    value: float
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, float | None]:
        """Return the estimate as JSON fields, rounded to 4 digits."""
        return {
            name: None if x is None else round(x, 4)
            for name, x in (("value", self.value), ("low", self.low), ("high", self.high))
        }


@dataclass
class RunningMean:
    """The mean and spread of values that are not kept.

    Source: Welford 1962, "Note on a method for calculating corrected sums of squares and products".
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # the sum of squared distances from the mean

    def add(self, value: float) -> None:
        """Count one value."""
        self.count += 1
        distance = value - self.mean
        self.mean += distance / self.count
        self.squares += distance * (value - self.mean)

    def estimate(self, low: float | None = None, high: float | None = None) -> Estimate | None:
        """Return the mean with its normal 95 % interval, cut to [low, high]; None where nothing was counted.

        The standard deviation divides by n - 1, over problems: the samples of one problem are no independent evidence.
        """
        if self.count < 2:
            return Estimate(self.mean, None, None) if self.count else None
        half = Z95 * sqrt(self.squares / (self.count - 1) / self.count)
        lower, upper = self.mean - half, self.mean + half
        return Estimate(
            self.mean, lower if low is None else max(low, lower), upper if high is None else min(high, upper)
        )


def estimate_mean(values: Iterable[float], low: float | None = None, high: float | None = None) -> Estimate | None:
    """Return the mean of one value per problem with its normal 95 % interval, cut to [low, high]."""
    running = RunningMean()
    for value in values:
        running.add(value)
    return running.estimate(low, high)


def percent(estimate: Estimate | None) -> str:
    """Return a share with its interval as text, in percent."""
    return "–" if estimate is None else with_interval(estimate, 100, " %")


def with_interval(estimate: Estimate, scale: float = 1, unit: str = "") -> str:
    """Return an estimate, multiplied by `scale`, as text: "0.5 [0.3, 0.7]"."""
    text = f"{scale * estimate.value:.1f}{unit}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{scale * estimate.low:.1f}, {scale * estimate.high:.1f}]"
