"""Chains to problems of their prefixes, which `rollout --from-steps` continues to find out how good each step is.

Source: Wang et al. 2023, "Math-Shepherd: Verify and Reinforce LLMs Step-by-step without Human Annotations" (arXiv
2312.08935), section 3.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from r1kit.errors import UsageError
from r1kit.jsonl import Record
from r1kit.records import ADDED, as_problem
from r1kit.steps import step_starts

ERROR, NO_STEPS = "ended in an error", "have no steps"


class Prefix(Record):
    """A problem whose completions begin as a chain does: with its first `length` characters, or a little less."""

    def __init__(self, fields: dict[str, Any], place: str, chain: str, length: int):
        super().__init__(fields, place)
        self.chain, self.length = chain, length


class Drawn(Record):
    """A rollout that is there already, among problems whose rollouts are not."""


@dataclass
class FromSteps:
    """How chains are cut into steps, and what they came to.

    Attributes:
        separator: what ends a step; None: as the reward process:DIR cuts the reasoning.
    """

    separator: str | None = None
    chains: int = 0
    prefixes: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)  # the place of the first that was left out, by reason

    def __post_init__(self) -> None:
        """Raise UsageError where the separator ends no step."""
        if self.separator == "":
            raise UsageError("--separator", "an empty separator ends no step", "say another separator")

    def settings(self) -> dict[str, Any]:
        """Return what decides the rollouts, by the names of the flags."""
        return {"from_steps": True, "separator": self.separator}

    def problems(self, chains: Iterable[Record]) -> Iterator[Record]:
        """Yield each chain's proper prefixes as problems, then the chain itself as the rollout of its last step.

        The id of a prefix is "ID/SAMPLE/STEP", and with the sample all that a continuation's random numbers depend on.
        A chain that ended in an error or has no steps is left out.

        Raises:
            UserError: a record is no rollout.
        """
        for chain in map(as_problem, chains):
            completion = _completion(chain)
            starts = [] if completion is None else step_starts(completion, self.separator)
            if not starts:
                self._leave_out(chain, ERROR if completion is None else NO_STEPS)
                continue
            self.chains += 1
            self.prefixes += len(starts) - 1
            for step, start in enumerate(starts[1:], start=1):
                assert completion is not None
                fields = {name: value for name, value in chain.items() if name not in ADDED}
                yield Prefix(fields | _place(chain, step, len(starts)), chain.place, completion, start)
            yield Drawn({**chain, **_place(chain, len(starts), len(starts)), "sample": 0}, chain.place)

    def lines(self) -> list[str]:
        """Return what the chains came to as text."""
        lines = [f"{self.chains} chains, {self.prefixes} beginnings of them continued"]
        for reason, count in self.left_out.items():
            lines.append(f"  {count} left out: they {reason} (first: {self.first[reason]})")
        return lines

    def _leave_out(self, chain: Record, reason: str) -> None:
        self.left_out[reason] += 1
        self.first.setdefault(reason, chain.place)


def _completion(chain: Record) -> str | None:
    """Return the completion of a rollout, None where it ended in an error.

    Raises:
        UserError: it has none, or no sample.
    """
    remedy = "--from-steps reads rollouts; run r1kit rollout first"
    chain.need("sample", remedy)
    completion = chain.need("completion", remedy)
    return None if chain.get("finish_reason") == "error" else completion


def _place(chain: Record, step: int, steps: int) -> dict[str, Any]:
    """Return the fields that say which step of which chain a record is of."""
    name = {"id": chain["id"], "sample": chain["sample"]}
    return {"id": f"{chain['id']}/{chain['sample']}/{step}", "chain": {**name, "steps": steps}, "step": step}
