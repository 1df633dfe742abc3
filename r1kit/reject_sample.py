"""Rejection sampling: of each problem's scored rollouts, those that are worth imitating become training examples.

R1 samples several completions of each prompt and keeps only right ones whose chain of thought reads well. What the
paper does not say is decided here: one is kept of a problem, the best by reward, then the shortest; a completion that
was cut off is dropped; the same chain of thought is kept once for a prompt.
Source: DeepSeek-R1 (arXiv 2501.12948), section 2.3.3.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from r1kit.ballots import read_weight
from r1kit.choosing import choose, length_of
from r1kit.errors import UsageError, UserError
from r1kit.examples import ExampleWriter, question_of
from r1kit.jsonl import Record
from r1kit.mixing import Mixed, Share, mix_rows
from r1kit.prose import language_share, reasoning_of
from r1kit.records import ExampleFormat, SeenKeys, groups_of_rollouts
from r1kit.reject_plan import DUPLICATE, LANGUAGE, NOTHING_WORSE, REWARDED, Filter, RejectPlan
from r1kit.reject_report import RejectReport
from r1kit.step_labels import continued_chains
from r1kit.steps import StepPlan, labelled_steps
from r1kit.thresholds import ROUNDING, is_right
from r1kit.wording import normalise, prompt_text


class RejectionSampler:
    """Makes examples of the rollouts of one problem after another, and counts what it drops."""

    def __init__(self, plan: RejectPlan, writer: ExampleWriter):
        self.plan, self.writer, self.report = plan, writer, RejectReport()
        self._chains, self._rows_of_prompts = SeenKeys(), SeenKeys()

    def examples(self, scored: Iterable[Record]) -> Iterator[Record]:
        """Yield examples of SFT. Buffers one problem.

        Raises:
            UserError: a rollout is not scored, or those of a problem do not stand together.
        """
        filters = [*self.plan.usable(), REWARDED, *self.plan.imitable()]
        for group in self._groups(scored, filters):
            for rollout in self._choose(self._passing(group, filters)):
                yield self._count(self.writer.example(rollout), rollout)

    def pairs(self, scored: Iterable[Record], margin: float) -> Iterator[Record]:
        """Yield preference pairs: the rollouts that would be examples, each against the worst that is left.

        margin: how much less reward the worse one has at least; it always has less. Of equally bad ones the one that is
        nearest in length is taken, so that length says as little as it can.

        Raises:
            UserError: as `examples` does.
        """
        usable, imitable = [*self.plan.usable(), REWARDED], self.plan.imitable()
        least = max(margin - ROUNDING, ROUNDING)
        for group in self._groups(scored, [*usable, Filter(NOTHING_WORSE, bool), *imitable]):
            left = self._passing(group, usable)
            worst = min((rollout["reward"] for rollout in left), default=0.0)
            better = Filter(NOTHING_WORSE, lambda rollout, worst=worst: rollout["reward"] - worst >= least)  # type: ignore[misc]
            for chosen in self._choose(self._passing(left, [better, *imitable])):
                worse = [other for other in left if chosen["reward"] - other["reward"] >= least]
                if not worse:  # all have been paired with better ones
                    self.report.drop(NOTHING_WORSE, 1, False)
                    continue
                rejected = min(worse, key=lambda other, chosen=chosen: _badness(other, chosen))  # type: ignore[misc]
                left = [other for other in left if other["completion"] != rejected["completion"]]
                pair = self.writer.pair(chosen, rejected, round(chosen["reward"] - rejected["reward"], 9))
                yield self._count(pair, chosen)

    def stepwise(self, scored: Iterable[Record], steps: StepPlan) -> Iterator[Record]:
        """Yield stepwise examples: of each problem up to `keep` right rollouts, and as many wrong ones.

        With labels of continuations, a rollout is a chain with what came of its steps.

        Raises:
            UserError: as `examples` does.
        """
        filters = [*self.plan.usable(), *self.plan.stepwise(steps)]
        scored = scored if steps.labels is None else continued_chains(scored)
        for group in self._groups(scored, filters):
            pool = self._passing(group, filters)
            right = [rollout for rollout in pool if is_right(rollout)]
            wrong = [rollout for rollout in pool if not is_right(rollout)]
            for rollout in self._choose(right, wrong):
                labelled = labelled_steps(rollout, steps)
                assert labelled is not None, "a filter has dropped it"
                yield self._count(self.writer.steps(rollout, *labelled), rollout)

    def _groups(self, scored: Iterable[Record], filters: Sequence[Filter]) -> Iterator[list[Record]]:
        """Yield the rollouts of each problem whose pass rate is within the bounds, each with a sample."""
        plan = self.plan
        self.report.expect([plan.pass_rate_name, *(f.name for f in filters), DUPLICATE, LANGUAGE, plan.crowd_name])
        for group in groups_of_rollouts(scored):
            rollouts = [_scored(rollout, place) for place, rollout in enumerate(group)]
            self.report.see(rollouts)
            if plan.pass_rate is None or _is_within(rollouts, *plan.pass_rate):
                yield rollouts
            else:
                self.report.drop(plan.pass_rate_name, len(rollouts), True)

    def _passing(self, rollouts: list[Record], filters: Sequence[Filter]) -> list[Record]:
        """Return the rollouts of one problem that pass all filters."""
        for name, passes in filters:
            left = [rollout for rollout in rollouts if passes(rollout)]
            if len(left) < len(rollouts):
                self.report.drop(name, len(rollouts) - len(left), not left)
            rollouts = left
        return rollouts

    def _choose(self, *pools: list[Record]) -> list[Record]:
        """Return up to `keep` rollouts of each pool, all of one problem, without those that have a fault."""
        faults: Counter[str] = Counter()

        def accept(rollout: Record) -> bool:
            fault = self._fault(rollout)
            faults.update([fault] if fault else [])
            return fault is None

        plan = self.plan
        kept = [rollout for pool in pools for rollout in choose(pool, plan.keep, plan.select, plan.seed, accept)]
        for place, (fault, count) in enumerate(faults.items(), start=1):
            self.report.drop(fault, count, not kept and place == len(faults))
        self.report.spare += sum(map(len, pools)) - len(kept) - faults.total()
        return kept

    def _fault(self, rollout: Record) -> str | None:
        """Return why a rollout is not kept although it passes the filters, None where it is; note what is kept."""
        plan, prompt = self.plan, normalise(prompt_text(rollout))
        if plan.dedup != "none":
            chain = normalise(reasoning_of(rollout))
            if not self._chains.add((prompt, chain) if plan.dedup == "prompt" else chain):
                return DUPLICATE
        if plan.prose.mixed_language is not None:
            share = language_share(rollout)
            if share is not None and share < plan.prose.mixed_language:
                return LANGUAGE
        rows = range(plan.max_per_problem or 0)
        if rows and not any(self._rows_of_prompts.add((prompt, row)) for row in rows):
            return plan.crowd_name
        return None

    def _count(self, row: Record, rollout: Record) -> Record:
        self.report.add(rollout)
        return row


def _scored(rollout: Record, place: int) -> Record:
    """Return a scored rollout, whose sample is its place where it has none.

    Raises:
        UserError: it is none, or what it holds cannot be read.
    """
    if "reward" not in rollout:
        raise UserError(rollout.place, 'no "reward"', "run r1kit reward first")
    read_weight(rollout, "reward")
    question_of(rollout)
    if rollout.get("finish_reason") != "error" and not isinstance(rollout.get("completion"), str):
        raise UserError(rollout.place, 'no "completion"', "run r1kit rollout first")
    return rollout if isinstance(rollout.get("sample"), int) else rollout.derive(sample=place)


def _is_within(rollouts: list[Record], low: float, high: float) -> bool:
    """Tell whether the share of right ones among the rollouts that were judged is within the bounds."""
    grades = [grade for rollout in rollouts if (grade := is_right(rollout)) is not None]
    return bool(grades) and low <= sum(grades) / len(grades) <= high


def _badness(rollout: Record, chosen: Record) -> tuple[float, int, int]:
    return rollout["reward"], abs(length_of(rollout) - length_of(chosen)), rollout["sample"]


@dataclass(frozen=True)
class RowPlan:
    """What rows are made."""

    kind: Literal["examples", "pairs", "steps"] = "examples"
    form: ExampleFormat | None = None  # None: messages
    repair: bool = True
    mix: tuple[Share, ...] = ()
    margin: float = 0.0  # of pairs
    steps: StepPlan = field(default_factory=StepPlan)

    def __post_init__(self) -> None:
        """Raise UsageError where the settings do not go together."""
        if self.mix and self.kind != "examples":
            raise UsageError("--mix", "only examples of SFT can be mixed in", f"leave it or --{self.kind} out")
        if self.form == "messages" and self.kind == "steps":
            raise UsageError("--format", "stepwise rows are texts", "leave it out")


class RejectRun:
    """A run of rejection sampling: its rows, with those of other files among them, and what is to be said of it."""

    def __init__(self, plan: RejectPlan, rows: RowPlan):
        self.plan, self.rows = plan, rows
        self.writer = ExampleWriter(rows.form or "messages", rows.repair)
        self.sampler = RejectionSampler(plan, self.writer)
        self.mixed = [Mixed(share) for share in rows.mix]

    def records(self, scored: Iterable[Record]) -> Iterator[Record]:
        """Yield the rows.

        Raises:
            UserError: a rollout is not scored, those of a problem do not stand together, or a row that is to be mixed
                in is no example.
        """
        match self.rows.kind:
            case "pairs":
                return self.sampler.pairs(scored, self.rows.margin)
            case "steps":
                return self.sampler.stepwise(scored, self.rows.steps)
        return self._with_others(self.sampler.examples(scored))

    def settings(self) -> dict[str, Any]:
        """Return what decides the rows, beside the input, as JSON fields."""
        return {**asdict(self.plan), **asdict(self.rows)}

    def lines(self) -> list[str]:
        """Return the report as text."""
        total = self.sampler.report.rows + sum(one.rows for one in self.mixed)
        return [*self.sampler.report.lines(), *self.writer.lines(), *(one.line(total) for one in self.mixed)]

    def _with_others(self, examples: Iterator[Record]) -> Iterator[Record]:
        for row, source in mix_rows(examples, self.mixed, self.plan.seed):
            yield row if source is None else self.writer.other_example(row)
