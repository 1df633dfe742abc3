"""An SFT run as its flags say it, checked before anything heavy is loaded, and as TRL's settings."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from r1kit.errors import UsageError
from r1kit.processes import process_count
from r1kit.prompts import PromptStyle
from r1kit.sft_rows import TooLong
from r1kit.trl_settings import TINY, check_installed, common_settings

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
    "packing": "--token-budget",
    "padding_free": "--token-budget",
    "assistant_only_loss": "nothing: it is always so",
    "completion_only_loss": "nothing: it is always so",
    "chat_template_path": "--chat-template",
    "label_smoothing_factor": "nothing: there is none",
}
CPU_BUDGET, GPU_BUDGET = 2048, 16384  # tokens of a pass
WINDOW = 32_768  # tokens, R1's
# up to so many billion parameters: the initial rate of R1's distilled Qwen models of 1.5B, 7B, 14B and 32B
RATES = ((3.0, 1e-4), (10.0, 8e-5), (20.0, 7e-5), (float("inf"), 6e-5))


@dataclass(frozen=True)
class SftPlan:
    """A run, as its flags say it."""

    model: str
    epochs: float = 2.0
    steps: int | None = None  # None: by epochs
    batch_size: int = 64  # examples of each step
    token_budget: int | None = None  # tokens of each pass; None: by the device
    max_length: int | None = None  # None: the model's window, R1's at most
    too_long: TooLong = "drop"
    learning_rate: float | None = None  # None: by the size of the model
    lora_rank: int | None = None
    gradient_checkpointing: bool | None = None  # None: by the size of the model
    seed: int = 0
    dtype: str = "float32"
    style: PromptStyle | None = None  # None: the model's own
    chat_template: str | None = None  # file
    held_out_share: float = 0.02
    eval_every: int | None = None  # None: before and after alone
    eval_samples: int = 16
    temperature: float = 1.0
    max_tokens: int = 128  # of an evaluation's completion
    save_every: int = 100
    report_to: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)  # --set: any field of TRL's configuration

    def as_json(self, command: str = "sft") -> dict[str, Any]:
        """Return the settings that run.json holds, with the number of processes."""
        return {"command": command, "processes": process_count(), **asdict(self)}

    def budget(self, gpu: bool) -> int:
        """Return the tokens of a pass."""
        return self.token_budget or (GPU_BUDGET if gpu else CPU_BUDGET)

    def window(self, own: int | None) -> int:
        """Return the most tokens of a row, for a model with a window of its own."""
        return self.max_length or min(own or WINDOW, WINDOW)

    def rate(self, parameters: int) -> float:
        """Return the initial learning rate for a model of so many parameters.

        An adapter takes ten times that of a whole model (Schulman et al., LoRA Without Regret, 2025).
        """
        if self.learning_rate is not None:
            return self.learning_rate
        own = 1e-3 if parameters < TINY else next(rate for most, rate in RATES if parameters <= most * 1e9)
        return own * (10 if self.lora_rank else 1)

    def trl_settings(self, parameters: int, processes: int, gpu: bool) -> dict[str, Any]:
        """Return the fields that TRL's configurations share: defaults, flags, --set.

        Epochs, batch of 64, and a cosine from the initial rate to a tenth of it are those of R1's distilled models
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


def check_sft_plan(plan: SftPlan) -> None:
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
