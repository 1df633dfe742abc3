"""Training examples without padding: whole rows stand one after another, and attention alone keeps them apart.

All layers but attention see one row of tokens. On a GPU, in half precision, PyTorch's attention for rows of various
lengths takes them as they stand. Elsewhere attention takes the rows of like length together, each of them causal in
itself. Either way no row sees another, and nothing is computed between rows that would be masked away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from inspect import signature
from itertools import accumulate
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from r1kit.packing import Bin, alike, attend_causally, bin_of
from r1kit.sft_rows import UNTRAINED

NAME = "r1kit_examples"
WIDEST_HEAD = 256  # that PyTorch's attention for rows of various lengths takes


@dataclass(eq=False)
class PackedExamples:
    """A pass over rows of T tokens in all, longest row first.

    Attributes:
        input_ids, position_ids: (1, T).
        predicting: of the K tokens that are trained on, the token whose hidden state predicts it.
        labels: those tokens themselves (1, K).
        lengths: of the rows, in tokens.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    predicting: torch.Tensor
    labels: torch.Tensor
    lengths: list[int]

    @cached_property
    def starts(self) -> torch.Tensor:
        """Where each row begins, and where the last one ends."""
        return torch.tensor([0, *accumulate(self.lengths)], dtype=torch.int32, device=self.input_ids.device)

    @cached_property
    def bins(self) -> list[Bin]:
        """The rows by those of like length."""
        device = self.input_ids.device
        return [bin_of([self.lengths[row] for row in rows], None, [], device) for rows in alike(self.lengths)]


def pack_examples(rows: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]) -> PackedExamples:
    """Pack token ids (T,) and labels (T,) of rows, which come longest first; a row's first token has no label."""
    lengths = [len(row) for row in rows]
    device = rows[0].device
    flat = torch.cat(list(labels))
    trained = (flat != UNTRAINED).nonzero().squeeze(1)
    return PackedExamples(
        torch.cat(list(rows)).unsqueeze(0),
        torch.cat([torch.arange(length) for length in lengths]).to(device).unsqueeze(0),
        trained - 1,
        flat[trained].unsqueeze(0),
        lengths,
    )


def attend(
    module, query, key, value, attention_mask, dropout=0.0, scaling=None, sliding_window=None, softcap=None, **kwargs
):
    """Return the attention (1, T, heads, size) of packed queries (1, heads, T, size), keys, values (1, H, T, size)."""
    packed: PackedExamples = kwargs["packed"]
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    dropout = dropout if module.training else 0.0
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    if softcap is None and dropout == 0 and takes_ragged_rows(query):
        return _attend_ragged(query, key, value, packed, scaling, sliding_window).unsqueeze(0), None
    parts = [states.split([len(rows.back) for rows in packed.bins]) for states in (query, key, value)]
    found = []
    for number, rows in enumerate(packed.bins):
        q, k, v = (rows.spread(part[number]) for part in parts)
        found.append(rows.gather(_attend_alike(q, k, v, sliding_window, (scaling, dropout, softcap))))
    return torch.cat(found).unsqueeze(0), None


def takes_ragged_rows(query: torch.Tensor) -> bool:
    """Tell whether PyTorch has attention for rows of various lengths on this device, in this precision."""
    return (
        query.is_cuda
        and _half(query) in (torch.bfloat16, torch.float16)
        and query.shape[-1] <= WIDEST_HEAD
        and _varlen_attn() is not None
    )


@cache
def _varlen_attn() -> Callable[..., Any] | None:
    """Return PyTorch's attention for rows of various lengths, None where it has none with a window (before 2.11)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if {"scale", "window_size"} <= signature(varlen_attn).parameters.keys() else None


def _half(query: torch.Tensor) -> torch.dtype:
    """Return the precision in which attention is computed."""
    return torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else query.dtype


def _attend_ragged(query, key, value, packed: PackedExamples, scaling: float, window: int | None):
    """Return the attention (T, heads, size) of rows as they stand."""
    query, key, value = (states.to(_half(query)).contiguous() for states in (query, key, value))
    group = query.shape[1] // key.shape[1]
    if group > 1:
        key, value = (states.repeat_interleave(group, dim=1) for states in (key, value))
    longest = packed.lengths[0]
    attention = _varlen_attn()
    assert attention is not None
    seen = (-1 if window is None else window - 1, 0)  # tokens before one, and after it
    return attention(query, key, value, packed.starts, packed.starts, longest, longest, scale=scaling, window_size=seen)


def _attend_alike(query, key, value, window, options):
    """Return the attention of rows (R, heads, W, size); what pads a row comes after it, where none of it looks."""
    scaling, dropout, softcap = options
    if softcap is not None or (window is not None and window < query.shape[2]):
        return attend_causally(query, key, value, window, options)
    group = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(group, dim=1) if group > 1 else states for states in (key, value))
    return scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=scaling, is_causal=True)


AttentionInterface.register(NAME, attend)
