"""The keys and values of completions that run side by side, and attention over them.

Every completion has a row, in which its tokens stand from the left, each at its own position. So its result does not
depend on how many rows there are, nor on how long the others are: on a CPU not even in the last bit, where matrix
products add up each row by itself as long as their number is a multiple of `ROWS`, and widths are ones of `STEP`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from transformers import AttentionInterface, Cache
from transformers.cache_utils import CacheLayerMixin

from r1kit.attention import is_exchangeable
from r1kit.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS = 4  # the number of rows is a multiple of this
STEP = 64  # and the number of tokens that a row is looked at of this
SCORES = 1 << 25  # attention scores that are held at a time
NAME = "r1kit_rows"


class RowLayer(CacheLayerMixin):
    """Keys and values (R, H, room, size) of one layer; H is the number of key-value heads."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, rows: "Rows"):
        super().__init__()
        self.rows = rows

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make room for all rows, like states (…, H, T, size)."""
        for name, states in (("keys", key_states), ("values", value_states)):
            shape = (self.rows.count, states.shape[1], self.rows.room, states.shape[3])
            setattr(self, name, states.new_zeros(shape))
        self.is_initialized = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        """Write the states (R, H, 1, size) of each row's next token; return those of all that are looked at."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        place = (self.rows.index, slice(None), self.rows.position)
        self.keys[place], self.values[place] = key_states.squeeze(2), value_states.squeeze(2)
        return self.keys[:, :, : self.rows.width], self.values[:, :, : self.rows.width]

    def fill(self, index: torch.Tensor, prompts: CacheLayerMixin, owner: torch.Tensor) -> None:
        """Copy the states of prompts (P, H, T, size) into the rows `index`, for each those of its `owner`."""
        if not self.is_initialized:
            self.lazy_initialization(prompts.keys, prompts.values)
        width = prompts.keys.shape[2]
        self.keys[index, :, :width], self.values[index, :, :width] = prompts.keys[owner], prompts.values[owner]

    def select(self, source: torch.Tensor) -> None:
        """Have the rows `source`, in that order."""
        if self.is_initialized:
            self.keys, self.values = self.keys[source], self.values[source]

    def grow(self) -> None:
        """Make room for as many tokens as the rows have."""
        if self.is_initialized:
            more = (0, 0, 0, self.rows.room - self.keys.shape[2])
            self.keys, self.values = (torch.nn.functional.pad(held, more) for held in (self.keys, self.values))

    def get_seq_length(self) -> int:
        """Return the width that is looked at."""
        return self.rows.width

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the width that is looked at, and where it begins."""
        return self.rows.width, 0

    def get_max_length(self) -> int:
        """Return -1: rows grow without bound."""
        return -1


class Rows:
    """R rows: the cache of a model's layers, and where the next token of each row stands in it."""

    def __init__(self, layers: int, device: torch.device):
        self.device, self.count, self.room, self.width = device, 0, 0, 0
        self.index = self.position = torch.zeros(0, dtype=torch.long, device=device)
        self.layers = [RowLayer(self) for _ in range(layers)]
        self.cache = Cache(layers=self.layers)

    def arrange(self, source: Sequence[int]) -> None:
        """Have row i hold what row `source[i]` held; nothing is copied where nothing moves."""
        if list(source) == list(range(self.count)):
            return
        self.count = len(source)
        self.index = torch.arange(self.count, device=self.device)
        moved = torch.tensor(source, device=self.device)
        for layer in self.layers:
            layer.select(moved)

    def fill(self, index: list[int], prompts: Cache, owner: list[int]) -> None:
        """Copy prompts into the rows `index`, into each that of its `owner`."""
        self._make_room(prompts.get_seq_length())
        to, of = (torch.tensor(places, device=self.device) for places in (index, owner))
        for layer, prompt in zip(self.layers, prompts.layers, strict=True):
            layer.fill(to, prompt, of)

    def place(self, position: list[int]) -> torch.Tensor:
        """Have each row's next token stand at `position`; return what it looks at, as a mask (R, 1, 1, width)."""
        self.width = -(-(max(position) + 1) // STEP) * STEP
        self._make_room(self.width)
        self.position = torch.tensor(position, device=self.device)
        return (torch.arange(self.width, device=self.device) <= self.position[:, None])[:, None, None]

    def _make_room(self, tokens: int) -> None:
        if tokens > self.room:
            self.room = -(-max(tokens, self.room * 5 // 4) // STEP) * STEP
            for layer in self.layers:
                layer.grow()


def attend(module, query, key, value, attention_mask, scaling=None, sliding_window=None, softcap=None, **kwargs):
    """Return the attention (R, T, heads, size) of queries (R, heads, T, size) over keys and values (R, H, width, size).

    The query heads that share keys go through the product together, so that these are read once and never repeated.
    `attention_mask` (R, 1, T, width) is true where a query looks; the last true one is its own place.
    """
    if kwargs.get("s_aux") is not None or kwargs.get("position_bias") is not None:
        raise UserError(type(module).__name__, "its attention has sinks or a bias", "use --engine vllm")
    if sliding_window is not None and sliding_window < key.shape[2]:
        place = attention_mask.sum(-1, keepdim=True) - 1
        attention_mask = attention_mask & (torch.arange(key.shape[2], device=key.device) > place - sliding_window)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.device.type == "cpu" or softcap is not None:
        return _attend_by_products(query, key, value, attention_mask, scaling, softcap), None
    return _attend_fused(query, key, value, attention_mask, scaling), None


def _attend_by_products(query, key, value, mask, scaling, softcap):
    rows, heads, length, size = query.shape
    shared, width = key.shape[1], key.shape[2]
    group = heads // shared
    result = query.new_empty(rows, length, heads, value.shape[-1])
    few = max(1, SCORES // (heads * width * min(length, STEP * 4)))  # rows at a time
    for top in range(0, rows, few):
        for left in range(0, length, STEP * 4):
            place = (slice(top, top + few), slice(left, left + STEP * 4))
            part = query[place[0], :, place[1]]
            r, t = part.shape[0], part.shape[2]
            scores = part.reshape(r, shared, group * t, size) @ key[place[0]].transpose(2, 3) * scaling
            if softcap is not None:
                scores = (scores / softcap).tanh_() * softcap
            scores = scores.view(r, shared, group, t, width)
            scores.masked_fill_(~mask[place[0], :, None, place[1]], float("-inf"))
            weights = scores.float().softmax(-1).to(value.dtype).view(r, shared, group * t, width)
            found = (weights @ value[place[0]]).view(r, heads, t, -1)
            result[place] = found.transpose(1, 2)
    return result


def _attend_fused(query, key, value, mask, scaling):
    rows, heads, length, size = query.shape
    shared = key.shape[1]
    if length == 1:  # the heads that share keys are so many queries
        query = query.reshape(rows, shared, heads // shared, size)
        mask = mask.expand(-1, shared, heads // shared, -1)
    else:
        key, value = (states.repeat_interleave(heads // shared, dim=1) for states in (key, value))
    found = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    return found.reshape(rows, heads, length, -1).transpose(1, 2)


AttentionInterface.register(NAME, attend)


def check_rows_fit(model: "PreTrainedModel") -> None:
    """Tell whether a model's layers are of a kind that rows can hold.

    Raises:
        UserError: they are not: recurrent states, or attention that is not transformers' interface.
    """
    if is_exchangeable(model):
        return
    what = f"{model.config.model_type} is no kind of model that the transformers engine can run"
    raise UserError("--model", what, "use --engine vllm or --engine openai")
