"""What the continuations of a chain's steps say of each step: the share of them that end right.

Source: Wang et al. 2023, "Math-Shepherd" (arXiv 2312.08935), section 3.3, equations 3 (hard: whether any does) and 4
(soft: the share).
"""

from collections.abc import Iterable, Iterator
from itertools import groupby

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.records import SeenKeys
from r1kit.thresholds import is_right

Name = tuple[str, int]  # of a chain: its id and its sample


def continued_chains(scored: Iterable[Record]) -> Iterator[Record]:
    """Yield the chains that `rollout --from-steps` continued, each with the soft labels of its steps as step_scores.

    A chain has its own id and sample again. The label of its last step is whether the chain itself is right. A chain
    with a step none of whose continuations was judged has no step_scores (an empty list). Buffers one chain.

    Raises:
        UserError: a record is no such continuation, those of a chain do not stand together, or some are missing.
    """
    seen = SeenKeys()
    for name, group in groupby(scored, key=_name):
        rollouts = list(group)
        if not seen.add(name):
            what = f'the continuations of "{name[0]}/{name[1]}" do not stand together'
            raise UserError(rollouts[0].place, what, "leave them in the order of r1kit rollout --from-steps")
        yield _labelled(name, rollouts)


def _name(rollout: Record) -> Name:
    chain = rollout.get("chain")
    if not isinstance(chain, dict) or not {"id", "sample", "steps"} <= chain.keys() or "step" not in rollout:
        raise UserError(rollout.place, 'no "chain" and "step"', "run r1kit rollout --from-steps first")
    return chain["id"], chain["sample"]


def _labelled(name: Name, rollouts: list[Record]) -> Record:
    """Return a chain with its labels."""
    steps = rollouts[0]["chain"]["steps"]
    grades: dict[int, list[bool]] = {step: [] for step in range(1, steps + 1)}
    for rollout in rollouts:
        grade = None if rollout.get("finish_reason") == "error" else is_right(rollout)
        grades[rollout["step"]] += [] if grade is None else [grade]
    missing = grades.keys() - {rollout["step"] for rollout in rollouts}
    if missing:
        what = f'no rollout of step {min(missing)} of "{name[0]}/{name[1]}"'
        raise UserError(rollouts[0].place, what, "give all that r1kit rollout --from-steps wrote")
    whole = next(rollout for rollout in rollouts if rollout["step"] == steps)
    judged = all(grades.values())
    scores = [sum(grades[step]) / len(grades[step]) for step in grades] if judged else []
    return whole.derive(id=name[0], sample=name[1], step_scores=scores)
