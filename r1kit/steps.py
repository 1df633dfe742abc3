"""Steps of a solution and a label for each, to train a process reward model on."""

from typing import Literal, NamedTuple

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.thresholds import is_right

STEP_THRESHOLD = 0.5
THINK = "<think>"
StepLabels = Literal["soft", "hard"]


class StepPlan(NamedTuple):
    """How steps are cut and labelled."""

    separator: str | None = None  # None: as the reward process:DIR cuts the reasoning
    threshold: float = STEP_THRESHOLD  # the least step score that counts as right
    labels: StepLabels | None = None  # of continued chains (see step_labels.py)


def labelled_steps(rollout: Record, plan: StepPlan) -> tuple[list[str], list[bool] | list[float]] | None:
    """Return the steps of a rollout and the label of each, None where its step scores are of other steps.

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
    return (steps, _labels(scores, plan)) if steps and len(scores) == len(steps) else None


def _labels(scores: list[float], plan: StepPlan) -> list[bool] | list[float]:
    """Return the labels of steps by their scores, which of a continued chain are shares of right continuations."""
    match plan.labels:
        case "soft":
            return [float(score) for score in scores]
        case "hard":
            return [score > 0 for score in scores]
    return [score >= plan.threshold for score in scores]


def cut_completion(completion: str, separator: str | None) -> list[str]:
    """Return the steps of a completion: what a separator divides, as a search cuts it; None: as process:DIR does."""
    from r1kit.rewards.process import split_steps
    from r1kit.search import cut_steps

    return split_steps(completion) if separator is None else cut_steps(completion, separator)


def step_starts(completion: str, separator: str | None) -> list[int]:
    """Return where each step of a completion starts, as `cut_completion` cuts it.

    None of them where a step does not stand there as it is: of a mere answer, tags are taken out.
    """
    place = len(completion) - len(completion.lstrip())
    place += len(THINK) * completion.startswith(THINK, place)
    if separator is not None:
        return _starts_by(separator, completion, place)
    starts = []
    for step in cut_completion(completion, None):
        start = completion.find(step, place)
        if start < 0:
            return []
        starts.append(start)
        place = start + len(step)
    return starts


def _starts_by(separator: str, completion: str, place: int) -> list[int]:
    starts = []
    for part in completion.rstrip()[place:].split(separator):
        if part.strip():
            starts.append(place + len(part) - len(part.lstrip()))
        place += len(part) + len(separator)
    return starts
