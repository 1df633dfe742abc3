"""Kinds of problems that wait for the last steps of a run.

As preferences did in R1: they are a reward that a model learns to please, so that it is shown to it only in the end.

Source: DeepSeek-R1 (arXiv 2501.12948), section on the second RL stage: general instruction data and preference-based
rewards are incorporated exclusively in the final 400 of 1,700 steps.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

from r1kit.errors import UsageError, UserError
from r1kit.jsonl import Record
from r1kit.reward_spec import KINDS
from r1kit.verdict import kind_of

FLAG = "--last-steps"
LastSteps = dict[str, int]  # steps of each kind that has them


def parse_last_steps(words: Iterable[str], steps: int) -> LastSteps:
    """Return {kind: steps} of "KIND:N" words, which commas or blanks may join.

    Raises:
        UsageError: a word of another form, an unknown kind, one that is said twice, or more steps than the run has.
    """
    found: LastSteps = {}
    for word in " ".join(words).replace(",", " ").split():
        kind, _, count = word.partition(":")
        if kind not in KINDS:
            raise UsageError(FLAG, f'unknown kind "{kind}"', f"the known ones are {', '.join(KINDS)}")
        if not (count.isdecimal() and int(count)):
            raise UsageError(FLAG, f'"{word}" is not KIND:N', f"write {kind}:400, for instance")
        if int(count) > steps:
            raise UsageError(FLAG, f"{word} is more than the {steps} steps of the run", f"say {kind}:{steps} or fewer")
        if kind in found:
            raise UsageError(FLAG, f'"{kind}" stands twice', "say each kind once")
        found[kind] = int(count)
    return found


def check_last_steps(problems: Sequence[Record], last_steps: LastSteps, steps: int) -> None:
    """Refuse what cannot be drawn, before a model is loaded.

    Raises:
        UserError: no problem is of a kind that waits, or all are.
    """
    waiting = [kind for kind, last in last_steps.items() if last < steps]
    kinds = {kind_of(problem) for problem in problems}
    for kind in last_steps.keys() - kinds:
        raise UserError(FLAG, f"no problem is of the kind {kind}", "leave it out, or give such problems")
    if waiting and not kinds - set(waiting):
        what = f"all problems wait, so that there is none for the first {steps - max(last_steps.values())} steps"
        raise UserError(FLAG, what, "give problems of another kind too, or leave it out")


@dataclass
class WaitingKinds:
    """Which problems are drawn at which step.

    Attributes:
        kinds: of the problems.
        last_steps: of each kind that waits, how many steps it is drawn in at the end.
        steps: of the run.
        seed: of the order.
    """

    kinds: Sequence[str]
    last_steps: LastSteps
    steps: int
    seed: int
    _known: dict[frozenset[str], list[int]] = field(default_factory=dict)

    def drawn_at(self, step: int) -> list[int] | None:
        """Return the numbers of the problems that are drawn at a step, steps counted from 0; None: all."""
        waiting = frozenset(kind for kind, last in self.last_steps.items() if step < self.steps - last)
        if not waiting:
            return None
        if waiting not in self._known:
            self._known[waiting] = [index for index, kind in enumerate(self.kinds) if kind not in waiting]
        return self._known[waiting]

    def at_place(self, drawn: list[int], place: int, shuffled: bool = True) -> int:
        """Return which of the problems stands at a place of their order, each round through them having its own.

        The order depends on the seed alone, so that a run that is resumed has it too.
        """
        round_, within = divmod(place, len(drawn))
        return drawn[_order(len(drawn), self.seed, round_)[within] if shuffled else within]


@lru_cache(maxsize=2)
def _order(count: int, seed: int, round_: int) -> list[int]:
    order = list(range(count))
    Random(f"{seed}/{count}/{round_}").shuffle(order)
    return order
