"""What rejection sampling did: how many rollouts and problems came, which filter dropped how many, what is left."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from r1kit.estimates import RunningMean
from r1kit.jsonl import Record


@dataclass
class Dropped:
    """What one filter dropped."""

    rollouts: int = 0
    problems: int = 0  # those that had rollouts before it, and none after


@dataclass
class RejectReport:
    """The counts of a run; filters stand in the order in which they are applied."""

    problems: int = 0
    rollouts: int = 0
    kept_problems: int = 0
    rows: int = 0
    spare: int = 0  # rollouts that would have been kept if more were
    before: RunningMean = field(default_factory=RunningMean)  # tokens of a completion
    after: RunningMean = field(default_factory=RunningMean)
    dropped: dict[str, Dropped] = field(default_factory=dict)
    _last: str | None = None  # the problem of the last row

    def expect(self, names: Iterable[str]) -> None:
        """Put the filters in order."""
        self.dropped |= {name: Dropped() for name in names}

    def see(self, rollouts: list[Record]) -> None:
        """Count the rollouts of a problem."""
        self.problems += 1
        self.rollouts += len(rollouts)
        for rollout in rollouts:
            _add_tokens(self.before, rollout)

    def drop(self, name: str, rollouts: int, lost: bool) -> None:
        """Count what a filter dropped of a problem; `lost` where that was all that was left of it."""
        self.dropped[name].rollouts += rollouts
        self.dropped[name].problems += lost

    def add(self, rollout: Record) -> None:
        """Count a row; those of a problem come together."""
        self.rows += 1
        self.kept_problems += rollout["id"] != self._last
        self._last = rollout["id"]
        _add_tokens(self.after, rollout)

    def lines(self) -> list[str]:
        """Return the report as text."""
        lines = [f"{self.problems} problems, {self.rollouts} rollouts{_mean(self.before)}"]
        told = {name: dropped for name, dropped in self.dropped.items() if dropped.rollouts}
        if told:
            lines.append("  dropped  problems lost")
        lines += [f"{d.rollouts:>9}{d.problems:>15}  {name}" for name, d in told.items()]
        if self.spare:
            lines.append(f"{self.spare:>9}              –  not chosen: enough are kept")
        share = f" ({self.kept_problems / self.problems:.1%})" if self.problems else ""
        return [*lines, f"  kept: {self.rows} rows of {self.kept_problems} problems{share}{_mean(self.after)}"]


def _add_tokens(mean: RunningMean, rollout: Record) -> None:
    tokens = rollout.get("completion_tokens")
    if tokens is not None:
        mean.add(tokens)


def _mean(tokens: RunningMean) -> str:
    return f", mean length {tokens.mean:.1f} tokens" if tokens.count else ""
