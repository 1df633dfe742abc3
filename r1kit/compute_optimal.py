"""Compute-optimal inference: which method and budget to use for problems of which difficulty, from saved votes.

A bin of difficulty is best answered by the method that has the highest accuracy in it. What such choices are worth is
measured by two folds: chosen on the one half of the problems, measured on the other. The tokens of the pilot rollouts
that tell the difficulty are not counted: they can be among those that answer.

Source: Snell et al. 2024, "Scaling LLM Test-Time Compute Optimally" (arXiv 2408.03314), sections 3.1 and 3.2.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from r1kit.difficulty import ALL, Difficulty
from r1kit.errors import UserError
from r1kit.estimates import Estimate, RunningMean, percent
from r1kit.jsonl import Record, read_records
from r1kit.records import content_hash

VOTES = "give records that r1kit vote wrote"
POLICY = "give a file that r1kit compute-optimal wrote"


class Choice(NamedTuple):
    """A way to answer a problem: what to draw, and how it votes."""

    search: str | None  # None: plain sampling
    method: str  # of the vote
    n: int  # the budget: completions to draw, or what the search is given
    by: str | None = None  # what weighs or ranks; None in a majority

    @property
    def name(self) -> str:
        """The method without its budget: "beam + weighted by score"."""
        return " + ".join(filter(None, [self.search, self.method])) + (f" by {self.by}" if self.by else "")


@dataclass
class Cell:
    """What one choice came to on some problems."""

    accuracy: RunningMean = field(default_factory=RunningMean)
    tokens: RunningMean = field(default_factory=RunningMean)

    def add(self, correct: bool, tokens: float) -> None:
        """Count one problem."""
        self.accuracy.add(correct)
        self.tokens.add(tokens)

    def share(self) -> Estimate:
        """Return the accuracy with its 95 % interval over problems."""
        estimate = self.accuracy.share()
        assert estimate is not None  # a cell is made when a problem is counted
        return estimate


class Measured:
    """What choices came to: a cell for each bin, half of the problems (None: both) and choice."""

    def __init__(self, difficulty: Difficulty):
        self.difficulty, self.ungraded = difficulty, 0
        self.cells: dict[tuple[int, int | None], dict[Choice, Cell]] = defaultdict(lambda: defaultdict(Cell))
        self._ids: dict[Choice, set[str]] = defaultdict(set)

    def add(self, vote: Record) -> None:
        """Count the vote on one problem; one that cannot be graded is only counted as such.

        Raises:
            UserError: a field is missing, the problem has no pilot rollouts, or its vote was counted before.
        """
        problem = vote.need("id", VOTES)
        choice = _choice_of(vote)
        tokens = _number(vote, "generated_tokens", int | float, "vote on rollouts that say their completion_tokens")
        if problem in self._ids[choice]:
            what = f'the vote on "{problem}" by {choice.name} of {choice.n} stands twice'
            raise UserError(vote.place, what, "give each file once")
        if problem not in self.difficulty.agreement:
            raise UserError(vote.place, f'"{problem}" has no pilot rollouts', "give --pilot rollouts of every problem")
        if vote.get("correct") is None:
            self.ungraded += 1
            return
        self._ids[choice].add(problem)
        number = self.difficulty.bin_of(self.difficulty.agreement[problem])
        half = int(content_hash(problem), 16) % 2
        for key in ((ALL, None), (number, None), (ALL, half), (number, half)):
            self.cells[key][choice].add(vote["correct"], tokens)

    def check(self) -> None:
        """Raise UserError where two choices were not measured on the same problems, or there are none."""
        if not any(self._ids.values()):
            raise UserError("input", "no vote that can be graded", "give votes on problems with a gold answer")
        (first, problems), *others = self._ids.items()
        for other, its in others:
            if its != problems:
                example = min(problems ^ its)
                with_it, without = (first, other) if example in problems else (other, first)
                what = f'"{example}" was answered by {with_it.name} of {with_it.n}'
                remedy = "measure all methods on the same problems"
                raise UserError("input", f"{what}, not by {without.name} of {without.n}", remedy)

    @property
    def budgets(self) -> list[int]:
        """The budgets that were measured, ascending."""
        return sorted({choice.n for choice in self._ids})

    def best(self, number: int, budget: int, half: int | None = None) -> Choice | None:
        """Return the choice of at most a budget with the highest accuracy in a bin, of equals that of fewest tokens."""
        cells = self.cells.get((number, half), {})
        allowed = [choice for choice in cells if choice.n <= budget]

        def rank(choice: Choice) -> tuple[float, float, int]:
            return round(cells[choice].accuracy.mean, 9), -cells[choice].tokens.mean, -choice.n

        return max(allowed, key=rank, default=None)

    def across_halves(self, budget: int, by_difficulty: bool) -> tuple[float, float] | None:
        """Return accuracy and mean tokens, on each half of the problems, of what is best on the other half.

        None where a half is empty. A bin that is empty in the half that is chosen on takes the best choice for all.
        """
        cells = []
        for number, half in product(self.difficulty.bins, (0, 1)):
            best_for_all = self.best(ALL, budget, 1 - half)
            chosen = (self.best(number, budget, 1 - half) if by_difficulty else None) or best_for_all
            if chosen is not None and (number, half) in self.cells:
                cells.append(self.cells[number, half][chosen])
        problems = sum(cell.accuracy.count for cell in cells)
        if not problems:
            return None
        accuracy = sum(cell.accuracy.count * cell.accuracy.mean for cell in cells) / problems
        return accuracy, sum(cell.tokens.count * cell.tokens.mean for cell in cells) / problems

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield a record for each bin (all problems first) and choice; `chosen` is the best that its budget can buy.

        The choice for any budget is then the chosen one of the largest budget that is not larger.
        """
        for number in (ALL, *self.difficulty.bins):
            low, high = self.difficulty.range_of(number)
            for choice, cell in sorted(self.cells[number, None].items(), key=lambda item: (item[0].name, item[0].n)):
                yield {
                    "difficulty": "all" if number == ALL else number,
                    "low": low,
                    "high": high,
                    "search": choice.search,
                    "method": choice.method,
                    "by": choice.by,
                    "budget": choice.n,
                    "problems": cell.accuracy.count,
                    "accuracy": cell.share().as_json(),
                    "generated_tokens": round(cell.tokens.mean, 1),
                    "chosen": choice == self.best(number, choice.n),
                    "pilot_n": self.difficulty.pilot_n,
                }


def measure_votes(paths: Iterable[str], difficulty: Difficulty) -> Measured:
    """Return what the votes of files came to.

    Raises:
        UserError: a record is no vote, or methods were not measured on the same problems.
    """
    measured = Measured(difficulty)
    for vote in read_records(*paths):
        measured.add(vote)
    measured.check()
    return measured


def _choice_of(vote: Record) -> Choice:
    budget = _number(vote, "budget" if "budget" in vote else "n", int, VOTES)
    return Choice(vote.get("search"), vote.need("method", VOTES), budget, vote.get("by"))


class Rule(NamedTuple):
    """What to do with problems whose pilot rollouts agree to `low` or more, from a budget on."""

    low: float
    budget: int
    choice: Choice


@dataclass(frozen=True)
class Policy:
    """Which choice is best, by the agreement of the first `pilot_n` rollouts and by budget."""

    path: str
    pilot_n: int
    rules: list[Rule]

    def choose(self, agreement: float, budget: int) -> Choice:
        """Return the best choice of at most a budget for a problem whose pilot rollouts agree so much.

        Raises:
            UserError: nothing was measured at so small a budget, or agreement.
        """
        low = max((rule.low for rule in self.rules if rule.low <= agreement), default=None)
        if low is None:
            raise UserError(self.path, f"no choice for an agreement of {agreement:g}", POLICY)
        rules = {rule.budget: rule.choice for rule in self.rules if rule.low == low}
        affordable = [measured for measured in rules if measured <= budget]
        if not affordable:
            what = f"nothing was measured at a budget of {budget} or less"
            raise UserError(self.path, what, f"the smallest is {min(rules)}")
        return rules[max(affordable)]


def read_policy(path: str) -> Policy:
    """Return the policy that a file of `r1kit compute-optimal` states.

    Raises:
        UserError: the file cannot be read, or is no such file.
    """
    rows = list(read_records(path))
    pilots = {_number(row, "pilot_n", int, POLICY) for row in rows}
    rules = [_rule_of(row) for row in rows if row.get("chosen") is True and row.get("difficulty") != "all"]
    if not rules or len(pilots) != 1:
        what = "no choice by difficulty" if not rules else "choices of several pilots"
        raise UserError(path, what, POLICY)
    return Policy(path, pilots.pop(), rules)


def _rule_of(row: Record) -> Rule:
    budget = _number(row, "budget", int, POLICY)
    choice = Choice(row.get("search"), row.need("method", POLICY), budget, row.get("by"))
    return Rule(_number(row, "low", int | float, POLICY), budget, choice)


def _number(row: Record, name: str, kind: Any, remedy: str) -> Any:
    value = row.need(name, remedy)
    if not isinstance(value, kind):
        raise UserError(row.place, f'"{name}" is no {"whole " if kind is int else ""}number: {value!r}', remedy)
    return value


def format_measured(measured: Measured) -> list[str]:
    """Return as text: method by budget with accuracy and mean tokens, and what was chosen for each difficulty."""
    budgets = measured.budgets
    names = sorted({choice.name for choice in measured.cells[ALL, None]})
    halves = {"best for all*": False, "best by difficulty*": True}
    width = max(map(len, [*names, *halves]))
    lines = [" " * width + "".join(f"  {f'budget {budget}':>20}" for budget in budgets)]
    cells = {(choice.name, choice.n): cell for choice, cell in measured.cells[ALL, None].items()}
    for name in names:
        row = [cells.get((name, budget)) for budget in budgets]
        lines.append(_row(name, width, [(c.accuracy.mean, c.tokens.mean) if c else None for c in row]))
    for name, by_difficulty in halves.items():
        lines.append(_row(name, width, [measured.across_halves(budget, by_difficulty) for budget in budgets]))
    lines.append("* of at most the budget; chosen on one half of the problems, measured on the other")
    if measured.ungraded:
        lines.append(f"{measured.ungraded} votes left out: they cannot be graded")
    return lines + [_format_bin(measured, number) for number in measured.difficulty.bins]


def _row(name: str, width: int, values: Iterable[tuple[float, float] | None]) -> str:
    texts = ("–" if value is None else f"{value[0]:.1%}, {value[1]:,.0f} tokens" for value in values)
    return f"{name:<{width}}" + "".join(f"  {text:>20}" for text in texts)


def _format_bin(measured: Measured, number: int) -> str:
    low, high = measured.difficulty.range_of(number)
    cells = measured.cells[number, None]
    chosen = [choice for budget in measured.budgets if (choice := measured.best(number, budget)) and choice.n == budget]
    problems = next(iter(cells.values())).accuracy.count if cells else 0
    what = "; ".join(f"{choice.name} of {choice.n} ({percent(cells[choice].share())})" for choice in chosen)
    return f"difficulty {number} (agreement {low:.2f} to {high:.2f}, {problems} problems): {what or 'none measured'}"


def draw_measured(measured: Measured) -> list[str]:
    """Return a plot of accuracy against generated tokens, a line a method; nothing where no method has two budgets."""
    import plotext

    from r1kit.live import console

    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for choice, cell in measured.cells[ALL, None].items():
        if cell.tokens.mean > 0:  # the axis is logarithmic
            points[choice.name].append((cell.tokens.mean, cell.accuracy.mean))
    if max(map(len, points.values()), default=0) < 2:
        return []
    plotext.clear_figure()
    plotext.plot_size(min(console.width, 100), 18)
    plotext.title("accuracy by generated tokens of a problem")
    plotext.xscale("log")
    for name in sorted(points):
        plotext.plot(*zip(*sorted(points[name]), strict=True), label=name)
    drawing = plotext.build()
    return [drawing if console.is_terminal else plotext.uncolorize(drawing)]
