"""What held-out rows say of a process reward model: accuracy by step, and how often it finds the first wrong one."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log
from statistics import fmean
from typing import Any, NamedTuple

from r1kit.estimates import Estimate, estimate_share, percent
from r1kit.step_rows import RIGHT

TINY = 1e-12  # the least probability in a loss


class Scored(NamedTuple):
    """A held-out row: the labels of its steps (S,) and what the model says of them (S,), and its prompt's number."""

    labels: list[float]
    scores: list[float]
    prompt: int

    @property
    def accuracy(self) -> float:
        """The share of steps that the model tells right from wrong as their labels do."""
        return fmean((a > RIGHT) == (b > RIGHT) for a, b in zip(self.labels, self.scores, strict=True))

    @property
    def losses(self) -> list[float]:
        """The cross entropy (nats) of each step."""
        return [
            -p * log(max(q, TINY)) - (1 - p) * log(max(1 - q, TINY))
            for p, q in zip(self.labels, self.scores, strict=True)
        ]


@dataclass(frozen=True)
class ProcessReport:
    """What held-out rows say; means and intervals are over prompts.

    Attributes:
        majority: the accuracy of saying of every step what most labels say.
        wrong_rows: rows with a wrong step, and
        found: the share of these of which the first step that the model calls wrong is the first wrong one, and
        by_fall: the share of which it is the step at which the score falls most (Setlur et al. 2024, arXiv 2410.08146,
            take a step for as good as it changes the chance to end right), and
        by_chance: the share that a guess among the steps would find. None where no row has a wrong step.
    """

    rows: int
    prompts: int
    steps: int
    accuracy: Estimate
    majority: float
    wrong_rows: int
    found: Estimate | None
    by_fall: Estimate | None
    by_chance: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON fields."""
        return {
            "rows": self.rows,
            "prompts": self.prompts,
            "steps": self.steps,
            "accuracy": self.accuracy.as_json(),
            "majority": round(self.majority, 4),
            "wrong_rows": self.wrong_rows,
            "first_wrong_step": self.found and self.found.as_json(),
            "largest_fall": self.by_fall and self.by_fall.as_json(),
            "by_chance": self.by_chance and round(self.by_chance, 4),
        }

    def lines(self) -> list[str]:
        """Return the report as text."""
        told = [
            f"held out: {self.steps} steps of {self.rows} rows of {self.prompts} prompts, 95 % intervals over prompts",
            f"steps told right from wrong   {percent(self.accuracy)}   (the more frequent label: {self.majority:.1%})",
        ]
        if self.found and self.by_chance:
            told += [
                f"first wrong step found        {percent(self.found)}   (by chance {self.by_chance:.1%}; "
                f"{self.wrong_rows} rows have one)",
                f"  by the largest fall         {percent(self.by_fall)}",
            ]
        return told


def report_on(rows: Sequence[Scored]) -> ProcessReport:
    """Return what the scores of held-out rows, at least one, say."""
    labels = [label > RIGHT for row in rows for label in row.labels]
    right = fmean(labels)
    wrong = [row for row in rows if first_wrong(row.labels) is not None]
    accuracy = _share((row.prompt, row.accuracy) for row in rows)
    assert accuracy is not None
    return ProcessReport(
        rows=len(rows),
        prompts=len({row.prompt for row in rows}),
        steps=len(labels),
        accuracy=accuracy,
        majority=max(right, 1 - right),
        wrong_rows=len(wrong),
        found=_share((row.prompt, first_wrong(row.scores) == first_wrong(row.labels)) for row in wrong),
        by_fall=_share((row.prompt, largest_fall(row.scores) == first_wrong(row.labels)) for row in wrong),
        by_chance=fmean(1 / len(row.labels) for row in wrong) if wrong else None,
    )


def mean_loss(rows: Iterable[Scored]) -> float:
    """Return the mean loss (nats) of a step."""
    return fmean(loss for row in rows for loss in row.losses)


def first_wrong(scores: Sequence[float]) -> int | None:
    """Return the number of the first step that is not right, None where all are."""
    return next((step for step, score in enumerate(scores) if score <= RIGHT), None)


def largest_fall(scores: Sequence[float]) -> int:
    """Return the number of the step at which the score falls most, from 1 before the first; of equals the first."""
    falls = [before - after for before, after in zip([1.0, *scores], scores, strict=False)]
    return max(range(len(falls)), key=falls.__getitem__)


def _share(values: Iterable[tuple[int, float]]) -> Estimate | None:
    """Return the mean over prompts of the mean of each prompt's values."""
    by_prompt: defaultdict[int, list[float]] = defaultdict(list)
    for prompt, value in values:
        by_prompt[prompt].append(value)
    return estimate_share(map(fmean, by_prompt.values()))
