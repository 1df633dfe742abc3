"""What a rollout must reach to be imitated: to be correct, and marks in its rewards."""

from typing import NamedTuple

from r1kit.ballots import read_grade, read_weight
from r1kit.errors import UsageError, UserError
from r1kit.jsonl import Record

CORRECT = "correct"
ROUNDING = 1e-9  # a weighted sum may fall short by so much


def is_right(rollout: Record) -> bool | None:
    """Return whether a rollout was found right, None where nothing or no readable gold answer could say so."""
    return None if rollout.get("verdict") == "gold_unparseable" else read_grade(rollout)


class Condition(NamedTuple):
    """A mark: correct, or the least value of the reward, of one of the rewards, or of a number field."""

    field: str
    least: float

    @property
    def name(self) -> str:
        """What it is called where it is not met."""
        return "not correct" if self.field == CORRECT else f"{self.field} below {self.least:g}"

    def meets(self, rollout: Record) -> bool | None:
        """Tell whether a rollout reaches the mark, None where it was not graded.

        Raises:
            UserError: it lacks what is asked for.
        """
        if self.field == CORRECT:
            return is_right(rollout)
        value = self._value(rollout)
        return None if value is None else value >= self.least - ROUNDING

    def _value(self, rollout: Record) -> float | None:
        rewards = rollout.get("rewards") or {}
        if self.field in rewards:
            return read_weight(rollout, f"rewards.{self.field}")
        if self.field != "reward" and self.field not in rollout and "." not in self.field:
            remedy = f"run r1kit reward --reward {self.field} first, or name another in --threshold"
            raise UserError(rollout.place, f'no "{self.field}" among its rewards', remedy)
        return read_weight(rollout, self.field)


def parse_threshold(text: str) -> tuple[Condition, ...]:
    """Return the conditions of "correct,format=1,0.5": a number alone is of the reward.

    Raises:
        UsageError: a part is none of these.
    """
    return tuple(_parse_condition(part.strip()) for part in text.split(","))


def _parse_condition(part: str) -> Condition:
    if part == CORRECT:
        return Condition(CORRECT, 1.0)
    name, separator, number = part.rpartition("=")
    try:
        least = float(number)
    except ValueError:
        least = float("nan")
    if least != least or (separator and not name):
        what = f'"{part}" is neither correct, nor a number, nor NAME=NUMBER'
        raise UsageError("--threshold", what, "write --threshold correct,format=1, for instance")
    return Condition(name or "reward", least)
