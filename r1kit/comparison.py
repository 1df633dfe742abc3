"""Two models on the same problems: the difference of their shares of right rollouts, with an interval and a p-value.

Source: Miller 2024, "Adding error bars to evals" (arXiv 2411.00640), for the pairing by problem; Fisher
1935, "The Design of Experiments", section 21, for the permutation test.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from r1kit.estimates import Estimate, estimate_mean, student_t95

EXACT_PATTERNS = 2**14  # of signs; of more, some are drawn
DRAWS = 10_000
BLOCK = 256  # sizes of differences that are drawn for together
DIGITS = 12  # of a difference; what is smaller is rounding
EQUAL = 1e-9  # sums that differ by a smaller share tie


@dataclass(frozen=True)
class Comparison:
    """How a second model differs from a first on the problems that both answered."""

    problems: int
    difference: Estimate  # of the second to the first
    p: float  # of a difference as large if either model could have given either answer; two-sided
    better: int  # problems that the second is better on
    worse: int

    def as_json(self) -> dict[str, object]:
        """Return the comparison as JSON fields."""
        return {
            "problems": self.problems,
            "difference": self.difference.as_json(),
            "p": float(f"{self.p:.4g}"),
            "better": self.better,
            "worse": self.worse,
        }


def compare(first: Mapping[str, float], second: Mapping[str, float]) -> Comparison | None:
    """Return how the values of the second differ from those of the first, by problem; None where they share none."""
    shared = [second[problem] - value for problem, value in first.items() if problem in second]
    if not shared:
        return None
    differences = np.round(shared, DIGITS)
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    return Comparison(len(shared), estimate_difference(differences), permutation_p(differences), better, worse)


def estimate_difference(differences: np.ndarray) -> Estimate:
    """Return the mean of differences (P,) within -1 and 1 with Student's 95 % interval.

    Where all are the same, so that they show no spread, it is as wide as Wilson's bound of a share of which the P
    problems show nothing: the problems on which the models would differ otherwise.
    """
    estimate = estimate_mean(differences.tolist())
    assert estimate is not None  # there is a difference
    mean, low, high = estimate.value, estimate.low, estimate.high
    if low is None or high is None:
        return estimate
    if low == high:
        t = student_t95(len(differences) - 1)
        width = t**2 / (len(differences) + t**2)
        low, high = mean - width, mean + width
    return Estimate(mean, max(-1.0, low), min(1.0, high))


def permutation_p(differences: np.ndarray) -> float:
    """Return how often the mean of differences (P,) is as far from 0 where each has a random sign.

    Over all patterns of signs where they are few, else over draws that are always the same; the pattern that was
    observed is then counted as one of them.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    observed = abs(differences.sum()) - EQUAL * (sizes @ counts)
    if 2 ** int(counts.sum()) <= EXACT_PATTERNS:
        return float(np.mean(np.abs(_all_sums(sizes.repeat(counts))) >= observed))
    return (1 + int((np.abs(_drawn_sums(sizes, counts)) >= observed).sum())) / (1 + DRAWS)


def _all_sums(sizes: np.ndarray) -> np.ndarray:
    """Return the sums of sizes (P,) under all patterns of signs (2^P,)."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums - size, sums + size])
    return sums


def _drawn_sums(sizes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the sums of sizes (S,), each as often as `counts` (S,) says, under drawn patterns of signs (D,).

    Of c signs as many are + as a binomial variable says: what it takes grows with the sizes, not with the problems.
    """
    draw = np.random.default_rng(0)
    sums = np.zeros(DRAWS)
    for start in range(0, len(sizes), BLOCK):
        count = counts[start : start + BLOCK]
        plus = draw.binomial(count, 0.5, size=(DRAWS, len(count)))
        sums += (2 * plus - count) @ sizes[start : start + BLOCK]
    return sums
