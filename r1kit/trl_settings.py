"""What the plans of all training runs have in common: settings of TRL, and what must be installed for them."""

from importlib.util import find_spec
from typing import Any

from r1kit.errors import UserError

TINY, LARGE = 10_000_000, 1_000_000_000  # parameters: a rate of its own below, checkpointed activations above


def common_settings(plan: Any, parameters: int, gpu: bool) -> dict[str, Any]:
    """Return the fields that TRL's configurations share, as a plan says them for a model of so many parameters."""
    checkpointing = parameters > LARGE if plan.gradient_checkpointing is None else plan.gradient_checkpointing
    return {
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is no number shall show
        "save_total_limit": 2,
        "seed": plan.seed,
        "bf16": plan.dtype == "bfloat16",
        "gradient_checkpointing": checkpointing,
        "use_cpu": not gpu,
        "remove_unused_columns": False,
        "save_steps": plan.save_every,
        "report_to": plan.report_to or "none",
        "disable_tqdm": True,
    }


def check_installed(needed: dict[str, tuple[str, str]], trackers: list[str]) -> None:
    """Refuse flags whose packages are missing.

    needed: of each flag, the module, and what installs it.

    Raises:
        UserError: names the flag, and what to install.
    """
    for flag, (module, install) in needed.items():
        if find_spec(module) is None:
            raise UserError(flag, f"{module} is not installed", f"pip install '{install}'")
    for tracker in trackers:
        if tracker in ("tensorboard", "wandb", "trackio") and find_spec(tracker) is None:
            raise UserError("--report-to", f"{tracker} is not installed", f"pip install {tracker}")
