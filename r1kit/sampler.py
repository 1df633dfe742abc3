"""TRL's sampler of prompts, its order depending on the seed and the epoch alone, so that a resumed run has it too."""

from collections.abc import Iterator
from typing import Any

import torch
from trl.trainer.utils import RepeatSampler

from r1kit.last_steps import WaitingKinds


class EpochSampler(RepeatSampler):
    """TRL's sampler, which begins an epoch as a run that was never stopped does."""

    trainer: Any
    steps: int  # micro-steps of an epoch
    waiting: WaitingKinds | None

    def __iter__(self):
        epoch = self.trainer._step // self.steps
        if self.shuffle:
            self.generator.manual_seed(self.trainer.args.seed)
            for _ in range(epoch):  # as TRL's generator comes there
                torch.randperm(self.num_samples, generator=self.generator)
        yield from super().__iter__() if self.waiting is None else self._while_some_wait(epoch, self.waiting)

    def _while_some_wait(self, epoch: int, waiting: WaitingKinds) -> Iterator[int]:
        """Yield TRL's order; as long as problems wait, the others in an order of their own."""
        order = list(super().__iter__())
        size = self.batch_size * self.mini_repeat_count * self.repeat_count  # places that a batch of prompts takes
        batches = len(order) // size
        for number in range(epoch * batches, (epoch + 1) * batches):
            drawn = waiting.drawn_at(number * self.repeat_count // self.trainer.args.gradient_accumulation_steps)
            if drawn is None:
                start = (number - epoch * batches) * size
                yield from order[start : start + size]
                continue
            places = range(number * self.batch_size, (number + 1) * self.batch_size)
            prompts = [waiting.at_place(drawn, place, self.shuffle) for place in places]
            yield from [index for index in prompts for _ in range(self.mini_repeat_count)] * self.repeat_count


def by_epoch(sampler: RepeatSampler, trainer: Any, steps: int, waiting: WaitingKinds | None = None) -> RepeatSampler:
    """Return TRL's sampler as an `EpochSampler`, where it shuffles or problems wait.

    Args:
        steps: micro-steps of an epoch.
        waiting: which problems wait for the last steps.
    """
    if sampler.shuffle or waiting:
        sampler.__class__, sampler.trainer, sampler.steps, sampler.waiting = EpochSampler, trainer, steps, waiting
    return sampler
