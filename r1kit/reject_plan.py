"""What rejection sampling keeps: its settings, and its filters in the order in which they are applied."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from r1kit.jsonl import Record
from r1kit.prose import ProseFilters, has_code_block, longest_paragraph, reasoning_of, repeated_share
from r1kit.records import DedupScope, SelectName
from r1kit.steps import StepPlan, labelled_steps
from r1kit.thresholds import CORRECT, Condition, is_right

NOTHING_WORSE = "nothing worse to pair it with"
DUPLICATE = "chain of thought seen before"
LANGUAGE = "mixed languages"


class Filter(NamedTuple):
    """What a filter is called in the report, and whether it lets a rollout pass."""

    name: str
    passes: Callable[[Record], bool]


@dataclass(frozen=True)
class RejectPlan:
    """What is kept of a problem's rollouts."""

    keep: int | None = 1  # of a problem; None: all
    select: SelectName = "best"
    threshold: tuple[Condition, ...] = (Condition(CORRECT, 1.0),)
    pass_rate: tuple[float, float] | None = None  # bounds of a problem's share of right rollouts
    max_per_problem: int | None = None  # of a prompt's text, whatever the ids
    min_tokens: int | None = None
    max_tokens: int | None = None
    truncated: bool = False  # whether completions that were cut off may be kept
    prose: ProseFilters = field(default_factory=ProseFilters)
    max_repetition: float | None = None  # share of the reasoning's 20-grams of words that have stood before
    dedup: DedupScope = "prompt"
    seed: int = 0

    @property
    def pass_rate_name(self) -> str:
        """What drops problems that are solved too seldom or too often."""
        return "pass rate outside {:g}:{:g}".format(*(self.pass_rate or (0, 1)))

    @property
    def crowd_name(self) -> str:
        """What drops rollouts of a prompt that comes under several ids."""
        return f"the prompt has its {self.max_per_problem} rows"

    def usable(self) -> list[Filter]:
        """Return the filters of what can be no example at all, neither a good nor a bad one."""
        whole = Filter("cut off at the length limit", lambda rollout: rollout.get("finish_reason") != "length")
        return [
            Filter("ended in an error", lambda rollout: rollout.get("finish_reason") != "error"),
            *([] if self.truncated else [whole]),
        ]

    def imitable(self) -> list[Filter]:
        """Return the filters of what is imitated: good by its rewards, of the length asked for, and readable."""
        marks = [filter_ for condition in self.threshold for filter_ in above(condition)]
        return [*marks, *self._in_form()]

    def stepwise(self, steps: StepPlan) -> list[Filter]:
        """Return the filters of what is labelled step by step, right or wrong."""
        return [
            Filter("not judged (no verdict)", lambda rollout: is_right(rollout) is not None),
            *self._in_form(),
            Filter("no steps, or not those of step_scores", lambda rollout: labelled_steps(rollout, steps) is not None),
        ]

    def _in_form(self) -> list[Filter]:
        """Return the filters of a completion's length and of its prose, but for that of languages, which is slow."""
        return [*of_length(self.min_tokens, self.max_tokens), *readable(self.prose, self.max_repetition)]


REWARDED = Filter("reward is null", lambda rollout: rollout["reward"] is not None)


def above(condition: Condition) -> list[Filter]:
    """Return the filters of a mark: what was not graded, and what does not reach it."""
    graded = "not judged (no verdict)" if condition.field == CORRECT else f"{condition.field} is null"
    return [
        Filter(graded, lambda rollout: condition.meets(rollout) is not None),
        Filter(condition.name, lambda rollout: bool(condition.meets(rollout))),
    ]


def of_length(least: int | None, most: int | None) -> list[Filter]:
    """Return the filters of a completion's length in tokens."""
    filters = []
    if least is not None:
        filters.append(Filter(f"shorter than {least} tokens", lambda rollout: _tokens(rollout) >= least))
    if most is not None:
        filters.append(Filter(f"longer than {most} tokens", lambda rollout: _tokens(rollout) <= most))
    return filters


def _tokens(rollout: Record) -> int:
    return rollout.need("completion_tokens", "run r1kit rollout first, or leave --min-tokens and --max-tokens out")


def readable(prose: ProseFilters, repetition: float | None) -> list[Filter]:
    """Return the filters of prose but for that of languages."""
    filters, words = [], prose.max_paragraph
    if not prose.code_blocks:
        filters.append(Filter("code block in the reasoning", lambda rollout: not has_code_block(reasoning_of(rollout))))
    if words is not None:
        name = f"paragraph of more than {words} words"
        filters.append(Filter(name, lambda rollout: longest_paragraph(reasoning_of(rollout)) <= words))
    if repetition is not None:
        name = f"repetition above {repetition:g}"
        filters.append(Filter(name, lambda rollout: repeated_share(reasoning_of(rollout)) <= repetition))
    return filters
