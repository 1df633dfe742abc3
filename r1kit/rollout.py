"""Problems to rollouts: n completions of each prompt, as records, in input order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING

from r1kit.engines import Completion, Sampling
from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.prompts import PromptStyle, default_style, encode_prompt
from r1kit.records import unique_problems

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class RolloutPlan:
    """How problems become rollouts."""

    n: int = 1  # completions of each problem
    sampling: Sampling = field(default_factory=Sampling)
    style: PromptStyle | None = None  # None: the model's own
    batch_size: int = 256  # completions generated side by side
    with_logprobs: bool = False


def rollout_problems(problems: Iterable[Record], model_name: str, dtype: str, plan: RolloutPlan) -> Iterator[Record]:
    """Yield the rollouts of problems as they stream in; the model is loaded once the first ones are read."""
    windows = _windows(problems, plan)
    first = next(windows, None)
    if first is None:
        return
    model, tokenizer, style = load_for_prompts(model_name, dtype, plan.style)
    for window in chain([first], windows):
        yield from _rollout_window(window, model, tokenizer, style, plan)


def load_for_prompts(
    model_name: str, dtype: str, style: PromptStyle | None
) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase", PromptStyle]:
    """Return a model, its tokenizer, and the style to prompt it in: as said, else the model's own."""
    from r1kit.model import load_model, read_card

    model, tokenizer = load_model(model_name, dtype)
    return model, tokenizer, style or default_style(read_card(model_name), tokenizer)


def sample_rollouts(
    problems: Iterable[Record],
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    style: PromptStyle,
    plan: RolloutPlan,
) -> Iterator[Record]:
    """Yield the rollouts of problems by a model that is loaded."""
    for window in _windows(problems, plan):
        yield from _rollout_window(window, model, tokenizer, style, plan)


def _windows(problems: Iterable[Record], plan: RolloutPlan) -> Iterator[list[Record]]:
    """Yield the problems of one batch after another."""
    stream = unique_problems(problems)
    while window := list(islice(stream, max(1, plan.batch_size // plan.n))):
        yield window


def _rollout_window(
    window: list[Record],
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    style: PromptStyle,
    plan: RolloutPlan,
) -> Iterator[Record]:
    from r1kit.engines.transformers import sample_completions

    prompts = [encode_prompt(problem, style, tokenizer) for problem in window]
    _check_lengths(window, prompts, getattr(model.config, "max_position_embeddings", None), plan.sampling.max_tokens)
    keys = [[f"{problem['id']}/{sample}" for sample in range(plan.n)] for problem in window]
    groups = sample_completions(model, tokenizer, prompts, keys, plan.sampling)
    for problem, prompt, group in zip(window, prompts, groups, strict=True):
        for sample, completion in enumerate(group):
            text = tokenizer.decode(completion.token_ids, skip_special_tokens=True)
            yield _as_rollout(problem, sample, text, len(prompt), completion, plan)


def _as_rollout(
    problem: Record, sample: int, text: str, prompt_tokens: int, completion: Completion, plan: RolloutPlan
) -> Record:
    rollout = problem.derive(
        sample=sample,
        completion=text,
        finish_reason=completion.finish_reason,
        prompt_tokens=prompt_tokens,
        completion_tokens=len(completion.token_ids),
    )
    if plan.with_logprobs:
        rollout["logprobs"] = [round(value, 6) for value in completion.logprobs]
    return rollout


def _check_lengths(window: list[Record], prompts: list[list[int]], limit: int | None, max_tokens: int) -> None:
    for problem, prompt in zip(window, prompts, strict=True):
        if not prompt:
            raise UserError(problem.place, "the prompt is empty", "give the problem a prompt")
        if limit is not None and len(prompt) + max_tokens > limit:
            what = f"{len(prompt)} prompt tokens and --max-tokens {max_tokens} pass the model's {limit}"
            raise UserError(problem.place, what, "lower --max-tokens or shorten the prompt")
