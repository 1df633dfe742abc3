"""Training examples without padding: whole rows stand one after another, and attention alone keeps them apart.

All layers but attention see one row of tokens. Attention takes the rows of like length together, each of them causal in
itself, so that no row sees another, and nothing is computed between rows that would be masked away.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from r1kit.packing import Bin, alike, attend_causally, bin_of
from r1kit.sft_rows import UNTRAINED

NAME = "r1kit_examples"


@dataclass(eq=False)
class PackedExamples:
    """A pass over rows of T tokens in all, longest row first.

    Attributes:
        input_ids, position_ids: (1, T).
        predicting: of the K tokens that are trained on, the token whose hidden state predicts it.
        labels: those tokens themselves (1, K).
        counts: tokens of each bin.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    predicting: torch.Tensor
    labels: torch.Tensor
    bins: list[Bin]
    counts: list[int]


def pack_examples(rows: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]) -> PackedExamples:
    """Pack token ids (T,) and labels (T,) of rows, which come longest first; a row's first token has no label."""
    lengths = [len(row) for row in rows]
    device = rows[0].device
    bins = [bin_of([lengths[row] for row in alike_rows], None, [], device) for alike_rows in alike(lengths)]
    flat = torch.cat(list(labels))
    trained = (flat != UNTRAINED).nonzero().squeeze(1)
    return PackedExamples(
        torch.cat(list(rows)).unsqueeze(0),
        torch.cat([torch.arange(length, device=device) for length in lengths]).unsqueeze(0),
        trained - 1,
        flat[trained].unsqueeze(0),
        bins,
        [len(rows.back) for rows in bins],
    )


def attend(
    module, query, key, value, attention_mask, dropout=0.0, scaling=None, sliding_window=None, softcap=None, **kwargs
):
    """Return the attention (1, T, heads, size) of packed queries (1, heads, T, size), keys, values (1, H, T, size)."""
    packed: PackedExamples = kwargs["packed"]
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    options = (scaling, dropout if module.training else 0.0, softcap)
    parts = [states[0].transpose(0, 1).split(packed.counts) for states in (query, key, value)]
    found = []
    for number, rows in enumerate(packed.bins):
        q, k, v = (rows.spread(part[number]) for part in parts)
        found.append(rows.gather(_attend_rows(q, k, v, sliding_window, options)))
    return torch.cat(found).unsqueeze(0), None


def _attend_rows(query, key, value, window, options):
    """Return the attention of rows (R, heads, W, size); what pads a row comes after it, where none of it looks."""
    scaling, dropout, softcap = options
    if softcap is not None or (window is not None and window < query.shape[2]):
        return attend_causally(query, key, value, window, options)
    group = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(group, dim=1) if group > 1 else states for states in (key, value))
    return scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=scaling, is_causal=True)


AttentionInterface.register(NAME, attend)
