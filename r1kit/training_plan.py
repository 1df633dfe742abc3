"""What the plans of runs share that train on rows which are given, sft and reward-model, and how they are checked."""

from pathlib import Path
from typing import Any, ClassVar

from r1kit.errors import UsageError
from r1kit.processes import process_count
from r1kit.trl_settings import TINY, check_installed, common_settings

TRAINING_FLAGS = {  # TRL's settings that are flags of ours
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
    "chat_template_path": "--chat-template",
}
CPU_BUDGET, GPU_BUDGET = 2048, 16384  # tokens of a pass


class TrainingPlan:
    """A run on rows that are given, as its flags say it.

    Attributes:
        rates: up to so many billion parameters, the initial rate.
    """

    rates: ClassVar[tuple[tuple[float, float], ...]]
    epochs: float
    steps: int | None
    batch_size: int
    token_budget: int | None
    learning_rate: float | None
    lora_rank: int | None
    chat_template: str | None
    report_to: list[str]
    settings: dict[str, Any]

    def budget(self, gpu: bool) -> int:
        """Return the tokens of a pass."""
        return self.token_budget or (GPU_BUDGET if gpu else CPU_BUDGET)

    def rate(self, parameters: int) -> float:
        """Return the initial learning rate for a model of so many parameters.

        An adapter takes ten times that of a whole model (Schulman et al., LoRA Without Regret, 2025).
        """
        if self.learning_rate is not None:
            return self.learning_rate
        own = 1e-3 if parameters < TINY else next(rate for most, rate in self.rates if parameters <= most * 1e9)
        return own * (10 if self.lora_rank else 1)

    def trl_settings(self, parameters: int, processes: int, gpu: bool) -> dict[str, Any]:
        """Return the fields that TRL's configurations share: defaults, flags, --set.

        A batch of 64, and a cosine from the initial rate to a tenth of it are those of R1's distilled models
        (DeepSeek-R1, Nature 645 (2025), supplementary information B.4.3).
        """
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


def check_training_plan(plan: TrainingPlan) -> None:
    """Refuse what cannot run, before a model is loaded.

    Raises:
        UserError: something is not installed.
        UsageError: the processes cannot share a batch, or a file is not there.
    """
    count = process_count()
    if plan.batch_size % count:
        what = f"{plan.batch_size} cannot be shared by {count} processes"
        nearest = max(1, round(plan.batch_size / count)) * count
        raise UsageError("--batch-size", what, f"the nearest is {nearest}")
    if plan.chat_template and not Path(plan.chat_template).is_file():
        raise UsageError("--chat-template", f"no file {plan.chat_template}", "name a Jinja file")
    check_installed({"--lora-rank": ("peft", "r1kit[lora]")} if plan.lora_rank else {}, plan.report_to)
