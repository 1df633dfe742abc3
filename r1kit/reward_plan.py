"""A reward model's run as its flags say it, checked before anything heavy is loaded."""

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from r1kit.errors import UsageError
from r1kit.processes import process_count
from r1kit.training_plan import TRAINING_FLAGS, TrainingPlan, check_training_plan

RewardStyle = Literal["chat", "raw"]
FLAGS = TRAINING_FLAGS | {  # TRL's settings that are flags of reward-model, or that r1kit's own rows make idle
    "center_rewards_coefficient": "--center-rewards-coefficient",
    "pad_to_multiple_of": "nothing: no row is padded",
}
WINDOW = 8192  # tokens of a side, R1's


@dataclass(frozen=True)
class RewardPlan(TrainingPlan):
    """A run, as its flags say it.

    Attributes:
        rates: that of the largest is the rate of R1's helpful reward model.
        held_out: what is measured on, as a source of rows; None: a share of the rows.
        margin: how many times a pair's margin counts.
        centring: weight of the squared sum of a pair's rewards, TRL's center_rewards_coefficient.
        separator: what stands after each step, of a process reward model.
        last_step_only: whether only the label of the last step counts, TRL's train_on_last_step_only.
    """

    rates: ClassVar = ((3.0, 2e-5), (10.0, 1e-5), (float("inf"), 6e-6))

    model: str
    process: bool = False
    held_out: str | None = None
    epochs: float = 1.0
    steps: int | None = None  # None: by epochs
    batch_size: int = 64  # rows of each step
    token_budget: int | None = None  # tokens of each pass; None: by the device
    max_length: int | None = None  # None: the model's window, R1's at most
    learning_rate: float | None = None  # None: by the size of the model
    margin: float = 0.0
    centring: float | None = None
    separator: str = "\n"
    last_step_only: bool = False
    lora_rank: int | None = None
    gradient_checkpointing: bool | None = None  # None: by the size of the model
    seed: int = 0
    dtype: str = "float32"
    style: RewardStyle | None = None  # None: the model's own
    chat_template: str | None = None  # file
    held_out_share: float = 0.05
    eval_every: int | None = None  # None: at the end alone
    save_every: int = 100
    report_to: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)  # --set: any field of TRL's configuration

    def as_json(self) -> dict[str, Any]:
        """Return the settings that run.json holds, with the number of processes."""
        return {"command": "reward-model", "processes": process_count(), **asdict(self)}

    def window(self, own: int | None) -> int:
        """Return the most tokens of a side, for a model with a window of its own."""
        return min(self.max_length or WINDOW, own or WINDOW)


def check_reward_plan(plan: RewardPlan) -> None:
    """Refuse what cannot run, before a model is loaded.

    Raises:
        UserError: something is not installed.
        UsageError: the processes cannot share a batch, a file is not there, or a flag is not for this kind of model.
    """
    for flag, value in (("--margin", plan.margin), ("--center-rewards-coefficient", plan.centring)):
        if plan.process and value:
            raise UsageError(flag, "is for pairs, and a process reward model has none", "leave it out")
    for flag, said in (("--separator", plan.separator != "\n"), ("--last-step-only", plan.last_step_only)):
        if said and not plan.process:
            raise UsageError(flag, "is for steps, and pairs have none", "say --process, or leave it out")
    check_training_plan(plan)
