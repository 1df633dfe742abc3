"""A distillation as its flags say it, checked before anything heavy is loaded."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from r1kit.engines.opening import EngineOptions
from r1kit.errors import UsageError, UserError
from r1kit.jsonl import is_stream
from r1kit.model import resolve_model
from r1kit.reward_spec import RewardPart
from r1kit.sft_plan import FLAGS, SftPlan
from r1kit.thresholds import CORRECT, Condition

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Method = Literal["traces", "logits", "on-policy"]
DISTILL_FLAGS = FLAGS | {  # TRL's settings of a distillation that are flags of ours
    "beta": "--beta",
    "max_completion_length": "--max-tokens",
    "temperature": "--temperature",
    "per_device_train_batch_size": "--token-budget",
}
FORWARD_KL, REVERSE_KL = 0.0, 1.0


@dataclass(frozen=True)
class DistillPlan:
    """A run, as its flags say it.

    Attributes:
        teacher: a model, or a file of its traces.
        traces: a file of the teacher's traces, beside a model.
        student: how the student is trained.
        n: completions that the teacher draws of each problem.
        keep: of them, how many are imitated at most.
        beta: of the divergence: 0 forward KL, 1 reverse KL; None: forward for logits, reverse for on-policy.
    """

    method: Method
    teacher: str
    student: SftPlan
    traces: str | None = None
    n: int = 4
    keep: int = 1
    threshold: tuple[Condition, ...] = (Condition(CORRECT, 1.0),)
    rewards: list[RewardPart] = field(default_factory=lambda: [RewardPart("accuracy"), RewardPart("format", 0.2)])
    options: EngineOptions = field(default_factory=EngineOptions)
    beta: float | None = None

    @property
    def trace_file(self) -> str | None:
        """The file of traces, None where the teacher is to make them."""
        return self.traces or (self.teacher if Path(self.teacher).is_file() else None)

    @property
    def divergence(self) -> float:
        """TRL's beta."""
        own = FORWARD_KL if self.method == "logits" else REVERSE_KL
        return own if self.beta is None else self.beta

    def as_json(self, data_hash: str) -> dict[str, Any]:
        """Return the settings that run.json holds."""
        mine = {name: value for name, value in asdict(self).items() if name != "student"}
        return {**self.student.as_json("distill"), **mine, "data_hash": data_hash}


def check_distill_plan(plan: DistillPlan) -> None:
    """Refuse what cannot run, before a model is loaded.

    Raises:
        UserError: the teacher is neither a model nor a file, or has another vocabulary than its student; the file of
            traces is not there.
        UsageError: the method needs a teacher that is a model and here, or a temperature.
    """
    resolve_model(plan.student.model)
    if plan.traces and not is_stream(plan.traces) and not Path(plan.traces).exists():
        raise UserError(plan.traces, "no such file", "name one of rollouts, scored or not, or of examples")
    needs_model = plan.method != "traces" or plan.trace_file is None
    if needs_model and Path(plan.teacher).is_file():
        what = f"{plan.method} needs a teacher that is a model, and {plan.teacher} is a file"
        raise UsageError("--teacher", what, "name its folder, and the file by --traces")
    if plan.method == "traces":
        if needs_model and plan.options.engine != "openai":
            resolve_model(plan.teacher)
        return
    if plan.options.engine == "openai":
        raise UsageError("--engine", f"{plan.method} needs the teacher's weights here", "say --method traces")
    if not plan.student.temperature:
        what = f"{plan.method} compares distributions, and at 0 there are none"
        raise UsageError("--temperature", what, "say one above 0, or --method traces")
    _check_vocabularies(plan)


def _check_vocabularies(plan: DistillPlan) -> None:
    from r1kit.model import load_tokenizer

    teacher, student = load_tokenizer(plan.teacher), load_tokenizer(plan.student.model)
    widths = [_logits_of(name) for name in (plan.teacher, plan.student.model)]
    difference = vocabulary_difference(teacher, student)
    if not difference and widths[0] != widths[1]:
        difference = f"{widths[0]:,} and {widths[1]:,} logits"
    if difference:
        what = f"teacher and student have different vocabularies ({difference}), and {plan.method} compares the two"
        raise UserError("--student", what, "say --method traces, which works with any")


def _logits_of(name: str) -> int:
    """Return how many logits a model has: embeddings are padded to more than the tokens, by one size otherwise."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(resolve_model(name)).get_text_config().vocab_size


def vocabulary_difference(teacher: "PreTrainedTokenizerBase", student: "PreTrainedTokenizerBase") -> str:
    """Return in which way two vocabularies differ, "" where they are the same."""
    theirs, ours = teacher.get_vocab(), student.get_vocab()
    if len(theirs) != len(ours):
        return f"{len(theirs):,} and {len(ours):,} tokens"
    other = next((token for token, number in theirs.items() if ours.get(token) != number), None)
    return "" if other is None else f"{other!r} is token {theirs[other]} and {ours.get(other, 'none')}"
