"""The reward command's work: grade rollouts as they stream, and sum up."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from r1kit.grader import Graded, Grader
from r1kit.jsonl import Record

WINDOW = 256  # rollouts graded together where they are made in this thread


@dataclass
class RewardSummary:
    """What the graded rollouts add up to."""

    rollouts: int = 0
    sums: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    graded: Counter[str] = field(default_factory=Counter)
    nulls: dict[str, Counter[str]] = field(default_factory=dict)  # by reward, then by reason
    first: dict[tuple[str, str], str] = field(default_factory=dict)  # the place of the first null of a reason
    verdicts: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    longest: tuple[float, str, str] = (0.0, "", "")  # seconds, reward, place

    def add(self, graded: Graded) -> None:
        """Count one rollout."""
        record = graded.record
        self.rollouts += 1
        if "verdict" in record:
            self.verdicts[record["verdict"] or "not judged"] += 1
        for name, value in record["rewards"].items():
            self.sums[name] += value or 0.0
            self.graded[name] += value is not None
            if value is None:
                reason = graded.reasons[name]
                self.nulls.setdefault(name, Counter())[reason] += 1
                self.first.setdefault((name, reason), record.place)
        for name, seconds in graded.seconds.items():
            self.seconds[name] += seconds
            self.longest = max(self.longest, (seconds, name, record.place))

    def lines(self) -> list[str]:
        """Return the summary as text, a line a reward."""
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in self.verdicts.most_common())
        lines = [f"{self.rollouts} rollouts" + (f": {verdicts}" if verdicts else "")]
        for name, graded in self.graded.items():
            mean = f"mean {self.sums[name] / graded:.3f}" if graded else "no mean"
            lines.append(f"  {name}: {mean}, {self.seconds[name]:.1f} s")
            for reason, count in self.nulls.get(name, Counter()).most_common():
                lines.append(f"    {count} null: {reason} (first: {self.first[name, reason]})")
        if self.rollouts:
            seconds, name, place = self.longest
            lines.append(f"  longest: {seconds:.2f} s, {name} of {place}")
        return lines


def score_rollouts(rollouts: Iterable[Record], grader: Grader, summary: RewardSummary) -> Iterator[Record]:
    """Yield each rollout with `rewards`, `reward`, `extracted` and `verdict`; count it in `summary`.

    Rollouts are read in a thread of their own.
    """
    for graded in grader.grade(rollouts):
        summary.add(graded)
        yield graded.record


def score_windows(rollouts: Iterable[Record], grader: Grader) -> Iterator[Record]:
    """Yield scored rollouts; rollouts are made in this thread, `WINDOW` at a time."""
    rest = iter(rollouts)
    while window := list(islice(rest, WINDOW)):
        yield from score_rollouts(window, grader, RewardSummary())
