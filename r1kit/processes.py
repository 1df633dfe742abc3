"""The processes of a training run: which of them this is, and how they tell each other something.

torchrun and accelerate say in the environment who a process is, before anything heavy is imported.
"""

import os
from typing import Any

from r1kit.errors import UserError


def process_count() -> int:
    """Return how many processes the launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", 1))


def process_number() -> int:
    """Return the number of this process, 0 being the main one."""
    return int(os.environ.get("RANK", 0))


def is_main() -> bool:
    """Tell whether this is the main process: it alone writes and shows."""
    return process_number() == 0


def join() -> None:
    """Have the processes of a run find each other, before a trainer does it."""
    if process_count() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())


def share(value: Any) -> Any:
    """Return the main process's value, in all of them."""
    if process_count() == 1:
        return value
    import torch.distributed

    held = [value]
    torch.distributed.broadcast_object_list(held)
    return held[0]


def gather(values: list[Any]) -> list[list[Any]]:
    """Return the lists of all processes, in all of them."""
    if process_count() == 1:
        return [values]
    import torch.distributed

    held: list[list[Any]] = [[] for _ in range(process_count())]
    torch.distributed.all_gather_object(held, values)
    return held


def check_launch(accelerator: Any) -> None:
    """Hold what runs to what the launcher was asked for: some requests are dropped without a word.

    Raises:
        UserError: there are fewer processes than asked for, or FSDP or DeepSpeed was asked for and does not run.
    """
    if accelerator.num_processes != process_count():
        what = f"{process_count()} processes were asked for, {accelerator.num_processes} run"
        raise UserError("launch", what, "start with torchrun --nproc_per_node N")
    for name in ("FSDP", "DEEPSPEED"):
        asked = os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() in ("1", "true")
        if asked and name not in str(accelerator.distributed_type):
            what = f"{name} was asked for, {accelerator.distributed_type} runs"
            raise UserError("launch", what, "it needs a GPU; else start with torchrun")


def launch_note() -> str | None:
    """Return what to say of a launch that cannot be held to what it was asked for; None of all others."""
    if process_count() == 1 and os.environ.get("ACCELERATE_USE_CPU", "false").lower() in ("1", "true"):
        return "note: on a CPU accelerate starts one process, whatever --num_processes says; torchrun starts more"
    return None
