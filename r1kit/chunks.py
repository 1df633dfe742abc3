"""How the rows of a micro-batch are cut into passes, and what each pass weighs in the loss."""

from collections.abc import Sequence
from typing import Any

import torch


def cut_by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Return the rows in chunks of at most `budget` tokens, padding included, longest rows first."""
    chunks: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if not chunks or (len(chunks[-1]) + 1) * lengths[chunks[-1][0]] > budget:
            chunks.append([])
        chunks[-1].append(row)
    return chunks


def cut_by_tokens(tokens: Sequence[int], budget: int) -> list[list[int]]:
    """Return the rows in chunks of at most `budget` tokens, which no padding adds to, longest rows first."""
    return cut_by_prompt(range(len(tokens)), [0] * len(tokens), tokens, budget)


def cut_by_prompt(prompts: Sequence[Any], prompt_tokens: Sequence[int], tokens: Sequence[int], budget: int):
    """Return the rows in chunks of at most `budget` tokens, where a prompt counts once in a chunk.

    The rows of a prompt stay together; the prompt with the longest row comes first, and its longest row.

    Args:
        prompts: of each row, what its prompt is known by.
        prompt_tokens, tokens: of each row.
    """
    length = [prompt + own for prompt, own in zip(prompt_tokens, tokens, strict=True)]
    longest: dict[Any, int] = {}
    for prompt, tokens_of_row in zip(prompts, length, strict=True):
        longest[prompt] = max(longest.get(prompt, 0), tokens_of_row)
    number = {prompt: place for place, prompt in enumerate(longest)}
    chunks: list[list[int]] = []
    room = 0
    for row in sorted(range(len(tokens)), key=lambda r: (-longest[prompts[r]], number[prompts[r]], -tokens[r])):
        shared = bool(chunks) and prompts[chunks[-1][-1]] == prompts[row]
        cost = tokens[row] if shared else length[row]
        if not chunks or cost > room:
            chunks.append([])
            room, cost = budget, length[row]
        chunks[-1].append(row)
        room -= cost
    return chunks


def rows_of(inputs: dict[str, Any], rows: list[int]) -> dict[str, Any]:
    """Return the inputs of some rows of a micro-batch, trimmed to the longest of them."""
    index = torch.tensor(rows, device=inputs["prompt_ids"].device)
    count, width = inputs["completion_ids"].shape
    prompt = max(1, int(inputs["prompt_mask"][index].sum(1).max()))
    own = max(1, int(inputs["completion_mask"][index].sum(1).max()))
    part = dict(inputs)
    for name, value in inputs.items():
        if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) != count:
            continue
        part[name] = value[index]
        if name.startswith("prompt_"):
            part[name] = part[name][:, -prompt:]
        elif value.ndim == 2 and value.shape[1] == width:
            part[name] = part[name][:, :own]
    return part


def share_of(loss_type: str, part: dict[str, Any], whole: dict[str, Any]) -> float:
    """Return the weight of a part's loss in that of the whole micro-batch, so that the weighted sum is TRL's loss.

    TRL divides by the rows of what it is given (grpo, dr_grpo, luspo, sapo), by its tokens (bnpo), or by the tokens of
    the whole batch (dapo, cispo, vespo).
    """
    if loss_type in ("dapo", "cispo", "vespo"):
        return 1.0
    if loss_type == "bnpo":
        return _tokens(part) / max(1, _tokens(whole))
    return len(part["completion_ids"]) / len(whole["completion_ids"])


def _tokens(inputs: dict[str, Any]) -> int:
    return int((inputs["completion_mask"] * inputs.get("tool_mask", 1)).sum())


def merge_metrics(parts: list[tuple[int, dict[str, list[float]]]]) -> dict[str, float]:
    """Return the metrics of a micro-batch from those of its parts, weighted by tokens where any has some.

    Extremes stay extremes.
    """
    merged = {}
    for key in parts[0][1]:
        values = [(tokens, metrics[key][-1]) for tokens, metrics in parts if metrics.get(key)]
        values = [(tokens, value) for tokens, value in values if value == value]
        if not values:
            merged[key] = float("nan")
        elif key.endswith(("_min", "/min")):
            merged[key] = min(value for _, value in values)
        elif key.endswith(("_max", "/max")):
            merged[key] = max(value for _, value in values)
        else:
            total = sum(tokens for tokens, _ in values)
            weighted = values if total else [(1, value) for _, value in values]
            merged[key] = sum(tokens * value for tokens, value in weighted) / (total or len(values))
    return merged
