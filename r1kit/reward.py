"""The reward command's work: grade rollouts as they stream, and sum up."""

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue

from r1kit.errors import UserError
from r1kit.grader import Graded, Grader
from r1kit.jsonl import Record, read_records
from r1kit.ordered import Placed
from r1kit.records import as_problem


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


def complete_rollouts(rollouts: Iterable[Record], problems: str) -> Iterator[Record]:
    """Yield rollouts, each with those fields of its problem that it lacks; the file of problems is kept in memory.

    Raises:
        UserError: a rollout's problem is not in the file.
    """
    known = {problem["id"]: problem for problem in map(as_problem, read_records(problems))}
    for rollout in rollouts:
        problem = known.get(rollout.need("id", "run r1kit rollout first"))
        if problem is None:
            what = f'the problem "{rollout["id"]}" is not in {problems}'
            raise UserError(rollout.place, what, "give the problems that the rollouts were drawn for")
        yield Record({**rollout, **{k: v for k, v in problem.items() if k not in rollout}}, rollout.place)


def score_while_drawn(drawn: Iterable[Placed], grader: Grader) -> Iterator[Placed]:
    """Yield rollouts scored, in the order in which they come: they are drawn in this thread and graded in others.

    What drawing raises is raised once those before it are graded.
    """
    waiting: deque[Placed] = deque()
    to_grade: SimpleQueue[Record | None] = SimpleQueue()
    graded: SimpleQueue[Record | BaseException] = SimpleQueue()

    def grade() -> None:
        try:
            for record in score_rollouts(iter(to_grade.get, None), grader, RewardSummary()):
                graded.put(record)
        except BaseException as error:  # raised again by `take`
            graded.put(error)

    def take() -> Placed:
        record = graded.get()
        if isinstance(record, BaseException):
            raise record
        return waiting.popleft()._replace(record=record)

    threading.Thread(target=grade, daemon=True).start()
    broken: UserError | None = None
    try:
        for item in drawn:
            waiting.append(item)
            to_grade.put(item.record)
            while not graded.empty():
                yield take()
    except UserError as error:
        broken = error
    finally:
        to_grade.put(None)
    while waiting:
        yield take()
    if broken is not None:
        raise broken
