"""Completions that a trainer draws from its own model, in r1kit's engine."""

from collections.abc import Iterator
from typing import Any

from trl.models import unwrap_model_for_generation

from r1kit.engines import Completion, Request, Sampling
from r1kit.engines.transformers import TransformersEngine


def draw(trainer: Any, tokenizer: Any, requests: list[Request]) -> Iterator[tuple[Request, Completion]]:
    """Yield the completions of requests as they finish, sampled as the settings of a trainer say."""
    sampling = Sampling(
        trainer.temperature,
        trainer.top_p,
        trainer.max_completion_length,
        trainer.args.seed,
        max(0, trainer.top_k or 0),
    )
    with unwrap_model_for_generation(
        trainer.model_wrapped,
        trainer.accelerator,
        gather_deepspeed3_params=trainer.args.ds3_gather_for_generation,
        gradient_checkpointing_kwargs=trainer.args.gradient_checkpointing_kwargs,
    ) as model:
        yield from TransformersEngine(model, tokenizer, max(1, len(requests))).complete(requests, sampling)
