"""A reward model's run as its flags say it, checked before anything heavy is loaded, and as TRL's settings."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from r1kit.errors import UsageError
from r1kit.processes import process_count
from r1kit.trl_settings import TINY, check_installed, common_settings

RewardStyle = Literal["chat", "raw"]
FLAGS = {  # TRL's settings that are flags of ours, or that r1kit's own rows make idle
    "output_dir": "--output",
    "max_steps": "--steps",
    "num_train_epochs": "--epochs",
    "per_device_train_batch_size": "--batch-size",
    "gradient_accumulation_steps": "--token-budget",
    "gradient_checkpointing": "--gradient-checkpointing",
    "max_length": "--max-length",
    "learning_rate": "--learning-rate",
    "report_to": "--report-to",
    "seed": "--seed",
    "save_steps": "--save-every",
    "center_rewards_coefficient": "--center-rewards-coefficient",
    "chat_template_path": "--chat-template",
    "pad_to_multiple_of": "nothing: no row is padded",
}
CPU_BUDGET, GPU_BUDGET = 2048, 16384  # tokens of a pass
WINDOW = 8192  # tokens of a side, R1's
# up to so many billion parameters: the initial rate, of R1's helpful reward model for the largest
RATES = ((3.0, 2e-5), (10.0, 1e-5), (float("inf"), 6e-6))


@dataclass(frozen=True)
class RewardPlan:
    """A run, as its flags say it.

    Attributes:
        held_out: what is measured on, as a source of rows; None: a share of the rows.
        margin: how many times a pair's margin counts.
        centring: weight of the squared sum of a pair's rewards, TRL's center_rewards_coefficient.
        separator: what stands after each step, of a process reward model.
        last_step_only: whether only the label of the last step counts, TRL's train_on_last_step_only.
    """

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

    def budget(self, gpu: bool) -> int:
        """Return the tokens of a pass."""
        return self.token_budget or (GPU_BUDGET if gpu else CPU_BUDGET)

    def window(self, own: int | None) -> int:
        """Return the most tokens of a side, for a model with a window of its own."""
        return min(self.max_length or WINDOW, own or WINDOW)

    def rate(self, parameters: int) -> float:
        """Return the initial learning rate for a model of so many parameters; an adapter takes ten times that."""
        if self.learning_rate is not None:
            return self.learning_rate
        own = 1e-3 if parameters < TINY else next(rate for most, rate in RATES if parameters <= most * 1e9)
        return own * (10 if self.lora_rank else 1)

    def trl_settings(self, parameters: int, processes: int, gpu: bool) -> dict[str, Any]:
        """Return the fields that TRL's configurations share: defaults, flags, --set."""
        return {
            "lr_scheduler_type": "cosine_with_min_lr",
            "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
            "max_steps": self.steps or -1,
            "num_train_epochs": self.epochs,
            "per_device_train_batch_size": self.batch_size // processes,
            "learning_rate": self.rate(parameters),
            **common_settings(self, parameters, gpu),
            **self.settings,
        }


def check_reward_plan(plan: RewardPlan) -> None:
    """Refuse what cannot run, before a model is loaded.

    Raises:
        UserError: something is not installed.
        UsageError: the processes cannot share a batch, a file is not there, or a flag is not for this kind of model.
    """
    count = process_count()
    if plan.batch_size % count:
        what = f"{plan.batch_size} cannot be shared by {count} processes"
        nearest = max(1, round(plan.batch_size / count)) * count
        raise UsageError("--batch-size", what, f"the nearest is {nearest}")
    if plan.chat_template and not Path(plan.chat_template).is_file():
        raise UsageError("--chat-template", f"no file {plan.chat_template}", "name a Jinja file")
    for flag, value in (("--margin", plan.margin), ("--center-rewards-coefficient", plan.centring)):
        if plan.process and value:
            raise UsageError(flag, "is for pairs, and a process reward model has none", "leave it out")
    for flag, said in (("--separator", plan.separator != "\n"), ("--last-step-only", plan.last_step_only)):
        if said and not plan.process:
            raise UsageError(flag, "is for steps, and pairs have none", "say --process, or leave it out")
    check_installed({"--lora-rank": ("peft", "r1kit[lora]")} if plan.lora_rank else {}, plan.report_to)
