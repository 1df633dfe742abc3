"""What trainers share that cut a step into passes of a token budget and pack the rows of each."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch

from r1kit.attention import attention_by
from r1kit.errors import UserError


class Passes:
    """Beside a trainer: passes of a token budget, as many in each process.

    Attributes:
        token_budget: tokens of one pass.
    """

    accelerator: Any
    token_budget: int

    def _begin_passes(self, token_budget: int) -> None:
        self.token_budget = token_budget
        self._until_backward = ExitStack()  # a checkpointed layer attends once more in the backward pass

    def _causal(self, model):
        """Return the causal language model below what wraps it."""
        model = self.accelerator.unwrap_model(model)
        return model.get_base_model() if hasattr(model, "peft_config") else model

    def _even(self, chunks: list[list[int]]) -> list[tuple[list[int], float]]:
        """Return passes, as many in each process: where they share a model, each waits for the others at each pass."""
        most = len(chunks)
        if self.accelerator.num_processes > 1:
            most = int(self.accelerator.gather(torch.tensor([most], device=self.accelerator.device)).max())
        return [(chunk, 1.0) for chunk in chunks] + [(chunks[0][:1], 0.0)] * (most - len(chunks))

    def _attending(self, model, name: str) -> AbstractContextManager:
        """Have a model attend to packed rows: until after the backward pass where there will be one."""
        context = attention_by(name, self._causal(model))
        if not torch.is_grad_enabled():
            return context
        self._until_backward.enter_context(context)
        return nullcontext()

    @contextmanager
    def _within_memory(self) -> Iterator[None]:
        """Run a step, and say what to lower where it needs too much memory.

        Raises:
            UserError: the GPU's memory does not suffice.
        """
        try:
            with self._until_backward:
                yield
        except torch.OutOfMemoryError as error:
            what = f"a pass of {self.token_budget} tokens needs more memory ({str(error).splitlines()[0]})"
            raise UserError("--token-budget", what, "halve it, or say --gradient-checkpointing") from None
