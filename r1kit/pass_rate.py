"""Problems chosen by how often they were solved: what is always or never right teaches nothing."""

from collections.abc import Iterable

from r1kit.errors import UsageError, UserError
from r1kit.jsonl import Record
from r1kit.records import ADDED, groups_of_rollouts


def parse_pass_rate(text: str) -> tuple[float, float]:
    """Return the bounds of "LOW:HIGH".

    Raises:
        UsageError: it is not of that form, or not within 0 and 1.
    """
    low, separator, high = text.partition(":")
    try:
        bounds = float(low), float(high)
    except ValueError:
        bounds = (1.0, 0.0)
    if not (separator and 0 <= bounds[0] <= bounds[1] <= 1):
        raise UsageError("--pass-rate", f'"{text}" is not LOW:HIGH with 0 <= LOW <= HIGH <= 1', "write 0.1:0.9")
    return bounds


def problems_within(scored: Iterable[Record], low: float, high: float) -> tuple[list[Record], int]:
    """Return the problems of scored rollouts whose share of right ones is within the bounds, and how many there were.

    A rollout is right where its accuracy is 1. One that cannot be graded does not count; nor does a problem of such
    alone.

    Raises:
        UserError: a record has no accuracy.
    """
    kept, count = [], 0
    for group in groups_of_rollouts(scored):
        count += 1
        right = [value >= 1 for rollout in group if (value := _accuracy(rollout)) is not None]
        if right and low <= sum(right) / len(right) <= high:
            kept.append(_problem_of(group[0]))
    return kept, count


def _accuracy(rollout: Record) -> float | None:
    rewards = rollout.need("rewards", "--pass-rate reads scored rollouts; run r1kit reward first")
    if "accuracy" not in rewards:
        raise UserError(rollout.place, "no accuracy among its rewards", "run r1kit reward --reward accuracy first")
    return rewards["accuracy"]


def _problem_of(rollout: Record) -> Record:
    return Record({name: value for name, value in rollout.items() if name not in ADDED}, rollout.place)
