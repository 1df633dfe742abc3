"""Means over problems and their 95 % intervals, of values in a list or of values that pass by.

The samples of one problem are no independent evidence: each problem brings one value, and the spread is that of the
problems (its variance divides by n - 1).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

Z95 = 1.959964  # the normal distribution's 97.5 % point
T95 = (12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912)  # Student's, for 1 to 6 degrees of freedom
SAME = 1e-12  # a variance below is that of rounding


def student_t95(freedom: int) -> float:
    """Return the 97.5 % point of Student's t, to 2e-5 of it.

    Source: Abramowitz and Stegun 1964, "Handbook of Mathematical Functions", 26.7.5 (the four terms, with z put in).
    """
    if freedom <= len(T95):
        return T95[freedom - 1]
    return Z95 + 2.3722712 / freedom + 2.8224986 / freedom**2 + 2.5558497 / freedom**3 + 1.5895341 / freedom**4


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

    @property
    def error(self) -> float:
        """The standard error of the mean of two values or more; 0 where they differ by rounding alone."""
        variance = self.squares / (self.count - 1)
        return sqrt(variance / self.count) if variance > SAME else 0.0

    def estimate(self, low: float | None = None) -> Estimate | None:
        """Return the mean with Student's 95 % interval, cut at `low`; None where nothing was counted."""
        if self.count < 2:
            return Estimate(self.mean, None, None) if self.count else None
        half = student_t95(self.count - 1) * self.error
        lower = self.mean - half
        return Estimate(self.mean, lower if low is None else max(low, lower), self.mean + half)

    def share(self) -> Estimate | None:
        """Return the mean of values within 0 and 1 with Wilson's interval; None where nothing was counted.

        In place of independent trials stand as many as would have the standard error that the problems show, and in
        place of the normal distribution Student's. Where all problems have the same value, which shows none, each is
        one trial: 30 problems that are all right are [87.8 %, 100 %].

        Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference"; Korn and Graubard
        1998, "Confidence intervals for proportions with small expected number of positive counts estimated from survey
        data"; Franco et al. 2019 (PMC6690503), who compare such intervals for clustered data.
        """
        if self.count < 2:
            return Estimate(self.mean, None, None) if self.count else None
        p = min(1.0, max(0.0, self.mean))
        trials = p * (1 - p) / self.error**2 if self.error else self.count
        t = student_t95(self.count - 1)
        centre = (p + t**2 / (2 * trials)) / (1 + t**2 / trials)
        half = t * sqrt(p * (1 - p) / trials + (t / (2 * trials)) ** 2) / (1 + t**2 / trials)
        return Estimate(p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)))


def estimate_mean(values: Iterable[float], low: float | None = None) -> Estimate | None:
    """Return the mean of one value per problem with Student's 95 % interval, cut at `low`."""
    return _counted(values).estimate(low)


def estimate_share(values: Iterable[float]) -> Estimate | None:
    """Return the mean of one value within 0 and 1 per problem with its 95 % interval (see `RunningMean.share`)."""
    return _counted(values).share()


def _counted(values: Iterable[float]) -> RunningMean:
    running = RunningMean()
    for value in values:
        running.add(value)
    return running


def percent(estimate: Estimate | None) -> str:
    """Return a share with its interval as text, in percent."""
    return "–" if estimate is None else with_interval(estimate, 100, " %")


def with_interval(estimate: Estimate, scale: float = 1, unit: str = "") -> str:
    """Return an estimate, multiplied by `scale`, as text: "0.5 [0.3, 0.7]"."""
    text = f"{scale * estimate.value:.1f}{unit}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{scale * estimate.low:.1f}, {scale * estimate.high:.1f}]"
