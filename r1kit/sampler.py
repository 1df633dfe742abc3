"""TRL's sampler of prompts, its order depending on the seed and the epoch alone, so that a resumed run has it too."""

from typing import Any

import torch
from trl.trainer.utils import RepeatSampler


class EpochSampler(RepeatSampler):
    """TRL's sampler, which begins an epoch as a run that was never stopped does."""

    trainer: Any
    steps: int  # micro-steps of an epoch

    def __iter__(self):
        self.generator.manual_seed(self.trainer.args.seed)
        for _ in range(self.trainer._step // self.steps):  # as TRL's generator comes there
            torch.randperm(self.num_samples, generator=self.generator)
        yield from super().__iter__()


def by_epoch(sampler: RepeatSampler, trainer: Any, steps: int) -> RepeatSampler:
    """Return TRL's sampler as an `EpochSampler`, where it shuffles; `steps` are the micro-steps of an epoch."""
    if sampler.shuffle:
        sampler.__class__, sampler.trainer, sampler.steps = EpochSampler, trainer, steps
    return sampler
