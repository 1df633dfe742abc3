"""Prompts and their completions in one row of tokens: no padding, and a prompt stands there once for its completions.

A model's matrix products see the tokens of a pass side by side, (1, T). Only attention knows where they belong: it
spreads them out into padded rows, in which a completion looks at its prompt and at itself. Gradients flow back into
the one prompt from all of its completions; gradient checkpointing works as ever, since nothing leaves a layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from r1kit.attention import is_exchangeable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "r1kit_packed"
ALIKE = 0.7  # rows of one attention product are at least so long as this share of the longest


@dataclass(eq=False)
class Bin:
    """Rows (R, W) of like length: where their tokens stand among those of their part, and back.

    Attributes:
        place: of the R * W places, padding included, the token that stands there.
        back: of the tokens, the place where they stand.
        owner: of the R rows, the prompt; None for the prompts themselves.
        start: position of the first token of each row (R,), 0 for prompts.
    """

    rows: int
    width: int
    place: torch.Tensor
    back: torch.Tensor
    owner: torch.Tensor | None
    start: torch.Tensor

    def spread(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens (T, H, size) in their rows, (R, H, W, size)."""
        spread = _Spread.apply(tokens.flatten(1), self.place, self.back)
        return spread.view(self.rows, self.width, *tokens.shape[1:]).transpose(1, 2)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the tokens (T, H, size) of rows (R, H, W, size)."""
        flat = rows.transpose(1, 2).reshape(self.rows * self.width, -1)
        return _Gather.apply(flat, self.back).unflatten(1, (rows.shape[1], rows.shape[3]))


@dataclass(eq=False)
class Packed:
    """A pass over P prompts and R completions of them: T tokens, prompts first.

    Attributes:
        input_ids, position_ids: (1, T).
        predicting: of the K completion tokens, the token whose hidden state predicts it.
        labels: the completion tokens themselves (1, K), row by row.
        counts: tokens of the prompts, then of each bin of completions.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    predicting: torch.Tensor
    labels: torch.Tensor
    prompts: Bin
    bins: list[Bin]
    counts: list[int]
    masks: dict[Any, torch.Tensor] = field(default_factory=dict)

    def mask(self, number: int, window: int | None, group: int) -> torch.Tensor:
        """Return what the rows of a bin look at, (R, 1, group * W, P + W), P being the width of the prompts."""
        key = (number, window, group)
        if key not in self.masks:
            rows = self.bins[number]
            assert rows.owner is not None
            own = torch.arange(rows.width, device=rows.start.device)
            place = torch.arange(self.prompts.width, device=rows.start.device)
            seen = (place < rows.start[:, None])[:, None].expand(-1, rows.width, -1)
            seen = torch.cat([seen, (own <= own[:, None]).expand(rows.rows, -1, -1)], dim=2)
            if window is not None:
                at = torch.cat([place.expand(rows.rows, -1), rows.start[:, None] + own], dim=1)
                seen = seen & (at[:, None] > (rows.start[:, None] + own)[:, :, None] - window)
            self.masks[key] = seen[:, None].repeat(1, 1, group, 1)
        return self.masks[key]


def pack_rows(prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], device: torch.device) -> Packed:
    """Pack the completions, longest first, each with its prompt; prompts that are equal stand there once.

    The labels are in the order of the completions as they are given.
    """
    numbers: dict[tuple[int, ...], int] = {}
    owners = [numbers.setdefault(tuple(prompt), len(numbers)) for prompt in prompts]
    unique = list(numbers)
    ends = _running([len(prompt) for prompt in unique])
    tokens = [token for prompt in unique for token in prompt] + [token for row in completions for token in row]
    positions = [place for prompt in unique for place in range(len(prompt))]
    predicting: list[int] = []
    top = ends[-1]
    for owner, row in zip(owners, completions, strict=True):
        positions += range(len(unique[owner]), len(unique[owner]) + len(row))
        predicting += [ends[owner + 1] - 1, *range(top, top + len(row) - 1)][: len(row)]
        top += len(row)
    bins = [
        bin_of([len(completions[row]) for row in rows], [owners[row] for row in rows], unique, device)
        for rows in alike([len(row) for row in completions])
    ]
    return Packed(
        torch.tensor([tokens], device=device),
        torch.tensor([positions], device=device),
        torch.tensor(predicting, dtype=torch.long, device=device),
        torch.tensor([tokens[ends[-1] :]], dtype=torch.long, device=device),
        bin_of([len(prompt) for prompt in unique], None, unique, device),
        bins,
        [ends[-1], *(len(rows.back) for rows in bins)],
    )


def _running(lengths: Sequence[int]) -> list[int]:
    ends = [0]
    for length in lengths:
        ends.append(ends[-1] + length)
    return ends


def alike(lengths: list[int]) -> list[list[int]]:
    """Return the rows that hold something, in the order in which they stand, by those that are alike in length."""
    bins: list[list[int]] = []
    for row, length in enumerate(lengths):
        if length == 0:
            continue
        if not bins or not ALIKE * lengths[bins[-1][0]] <= length <= lengths[bins[-1][0]]:
            bins.append([])
        bins[-1].append(row)
    return bins


def bin_of(lengths: list[int], owners: list[int] | None, prompts: list[tuple[int, ...]], device: torch.device) -> Bin:
    """Return where rows of so many tokens stand; `owners`: of each row the number of the prompt that it follows."""
    width = max(lengths)
    length = torch.tensor(lengths, device=device)
    ends = length.cumsum(0)
    own = torch.arange(width, device=device)
    held = own < length[:, None]
    place = torch.where(held, (ends - length)[:, None] + own, 0).flatten()
    start = (
        torch.zeros_like(length) if owners is None else torch.tensor([len(prompts[o]) for o in owners], device=device)
    )
    owner = None if owners is None else torch.tensor(owners, device=device)
    return Bin(len(lengths), width, place, held.flatten().nonzero().squeeze(1), owner, start)


class _Spread(torch.autograd.Function):
    """Copy tokens (T, F) to places (N, F). What stands in padding is never looked at and has no gradient."""

    @staticmethod
    def forward(ctx, tokens, place, back):
        ctx.save_for_backward(back)
        return tokens.index_select(0, place)

    @staticmethod
    def backward(ctx, grad):
        return grad.index_select(0, *ctx.saved_tensors), None, None


class _Gather(torch.autograd.Function):
    """Copy places (N, F) to tokens (T, F)."""

    @staticmethod
    def forward(ctx, rows, back):
        ctx.save_for_backward(back)
        ctx.places = len(rows)
        return rows.index_select(0, back)

    @staticmethod
    def backward(ctx, grad):
        full = grad.new_zeros(ctx.places, grad.shape[1])
        full[ctx.saved_tensors[0]] = grad
        return full, None


def attend(
    module, query, key, value, attention_mask, dropout=0.0, scaling=None, sliding_window=None, softcap=None, **kwargs
):
    """Return the attention (1, T, heads, size) of packed queries (1, heads, T, size), keys and values (1, H, T, size).

    The query heads that share keys go through a product together, so that these are never repeated.
    """
    packed: Packed = kwargs["packed"]
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    options = (scaling, dropout if module.training else 0.0, softcap)
    parts = [states[0].transpose(0, 1).split(packed.counts) for states in (query, key, value)]
    prompt, keys, values = (packed.prompts.spread(part[0]) for part in parts)
    found = [packed.prompts.gather(attend_causally(prompt, keys, values, sliding_window, options))]
    for number, rows in enumerate(packed.bins):
        q, k, v = (rows.spread(part[number + 1]) for part in parts)
        # not by indexing, whose gradient is summed in any order
        k, v = (torch.cat([p.index_select(0, rows.owner), c], dim=2) for p, c in ((keys, k), (values, v)))
        shared = (q.shape[0], k.shape[1], -1, q.shape[3])
        mask = packed.mask(number, sliding_window, q.shape[1] // k.shape[1])
        found.append(rows.gather(_product(q.reshape(shared), k, v, mask, options).reshape(*q.shape[:3], -1)))
    return torch.cat(found).unsqueeze(0), None


def attend_causally(query, key, value, window, options):
    """Return what rows (R, H, W, size) attend to among their own tokens, the last `window` of them; None: all."""
    group, width = query.shape[1] // key.shape[1], query.shape[2]
    key, value = (states.repeat_interleave(group, dim=1) for states in (key, value))
    place = torch.arange(width, device=query.device)
    seen = place <= place[:, None]
    if window is not None:
        seen &= place > place[:, None] - window
    return _product(query, key, value, seen, options)


def _product(query, key, value, mask, options):
    scaling, dropout, softcap = options
    if softcap is None:
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)
    scores = ((query @ key.transpose(2, 3)) * (scaling / softcap)).tanh() * softcap
    weights = scores.float().masked_fill(~mask, float("-inf")).softmax(-1).to(value.dtype)
    return torch.nn.functional.dropout(weights, dropout) @ value


AttentionInterface.register(NAME, attend)


def can_pack(model: "PreTrainedModel") -> bool:
    """Tell whether `attend` does what the layers of a model do."""
    others = ("gpt_oss", "t5gemma")  # sinks; two stacks
    return is_exchangeable(model) and model.config.get_text_config().model_type not in others


class CompletionHead:
    """Lets only the hidden states that predict completion tokens reach a model's output head.

    Args:
        backbone: the model below the head; it takes `predicting` (K,), places in the flattened (B * T).
    """

    def __init__(self, backbone: torch.nn.Module):
        self.predicting: torch.Tensor | None = None
        backbone.register_forward_pre_hook(self._take, with_kwargs=True)
        backbone.register_forward_hook(self._select)

    def _take(self, module, args, kwargs):
        self.predicting = kwargs.pop("predicting", None)
        return args, kwargs

    def _select(self, module, args, output):
        if self.predicting is not None:
            hidden = output.last_hidden_state.flatten(0, 1)
            output.last_hidden_state = hidden.index_select(0, self.predicting).unsqueeze(0)
        return output
