"""Steps of a solution and a label for each, to train a process reward model on."""

from typing import NamedTuple

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.thresholds import is_right

STEP_THRESHOLD = 0.5


class StepPlan(NamedTuple):
    """How steps are cut and labelled."""

    separator: str | None = None  # None: as the reward process:DIR cuts the reasoning
    threshold: float = STEP_THRESHOLD  # the least step score that counts as right


def labelled_steps(rollout: Record, plan: StepPlan) -> tuple[list[str], list[bool]] | None:
    """Return the steps of a rollout and whether each is right, None where its step scores are of other steps.

    A step with a score is right where that is at least the threshold. Without `step_scores` nothing says which step is
    wrong, and every label is the outcome: whether the answer is right. A model trained on such labels says how likely
    a beginning is to end in a right answer, as the token-level verifiers of Cobbe et al. do; it is no judge of the
    single step. For labels of steps, score them first (`r1kit reward --reward process:DIR`, or a search).

    Raises:
        UserError: the step scores are no numbers.

    Source: Cobbe et al. 2021 (arXiv 2110.14168), section 4.2.
    """
    steps = cut_completion(rollout["completion"], plan.separator)
    scores = rollout.get("step_scores")
    if scores is None:
        return (steps, [is_right(rollout) is True] * len(steps)) if steps else None
    if not (isinstance(scores, list) and all(isinstance(score, int | float) for score in scores)):
        raise UserError(rollout.place, '"step_scores" is no list of numbers', "run r1kit reward --reward process:DIR")
    return (steps, [score >= plan.threshold for score in scores]) if steps and len(scores) == len(steps) else None


def cut_completion(completion: str, separator: str | None) -> list[str]:
    """Return the steps of a completion: what a separator divides, as a search cuts it; None: as process:DIR does."""
    from r1kit.rewards.process import split_steps
    from r1kit.search import cut_steps

    return split_steps(completion) if separator is None else cut_steps(completion, separator)
