"""An SFT run as its flags say it."""

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from r1kit.processes import process_count
from r1kit.prompts import PromptStyle
from r1kit.sft_rows import TooLong
from r1kit.training_plan import TRAINING_FLAGS, TrainingPlan

FLAGS = TRAINING_FLAGS | {  # TRL's settings that are flags of sft, or that r1kit's own rows make idle
    "packing": "--token-budget",
    "padding_free": "--token-budget",
    "assistant_only_loss": "nothing: it is always so",
    "completion_only_loss": "nothing: it is always so",
    "label_smoothing_factor": "nothing: there is none",
}
WINDOW = 32_768  # tokens, R1's


@dataclass(frozen=True)
class SftPlan(TrainingPlan):
    """A run, as its flags say it; the epochs are those of R1's distilled models.

    Attributes:
        rates: of R1's distilled Qwen models of 1.5B, 7B, 14B and 32B.
    """

    rates: ClassVar = ((3.0, 1e-4), (10.0, 8e-5), (20.0, 7e-5), (float("inf"), 6e-5))

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

    def window(self, own: int | None) -> int:
        """Return the most tokens of a row, for a model with a window of its own."""
        return self.max_length or min(own or WINDOW, WINDOW)
