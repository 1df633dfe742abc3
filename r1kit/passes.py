"""What trainers share that cut a step into passes of a token budget and pack the rows of each."""

from collections import defaultdict
from collections.abc import Callable, Iterator
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
        self._seen: defaultdict[str, float] = defaultdict(float)  # since the last line of the log

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

    def _add_up(
        self, model, passes: list[tuple[list[int], float]], loss_of: Callable[[list[int], float], torch.Tensor]
    ) -> torch.Tensor:
        """Return the sum of the losses of passes, most of which have gone backward already.

        The gradient of all passes but the last is there when this returns; the caller takes the last one backward.

        loss_of: returns the loss of rows, times a weight: 0 where a pass only keeps step with other processes.
        """
        done: torch.Tensor | float = 0.0
        for number, (rows, weight) in enumerate(passes):
            last = number == len(passes) - 1
            with nullcontext() if last else self.accelerator.no_sync(model):
                loss = loss_of(rows, weight)
                if not last:
                    self.accelerator.backward(loss)
                    done += loss.detach()
        return loss + done

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
