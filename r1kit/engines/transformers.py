"""The engine that runs everywhere: sampling on a transformers model's own forward and KV cache.

A prompt is computed once for its completions, rows leave the batch when they end, and every token is drawn from random
numbers that belong to (seed, key) alone, never to a place in a batch.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from r1kit.engines import Completion, Sampling
from r1kit.model import end_token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SHRINK_BELOW = 0.8  # ended rows are dropped from the batch once fewer than this share of its rows still run


class _RoomyLayer(DynamicLayer):
    """A cache layer that is written in place and grows by `ROOM` tokens, where its parent copies all at each token."""

    ROOM = 64
    length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        batch, heads, _, key_size = key_states.shape
        self._keys = key_states.new_empty(batch, heads, 0, key_size)
        self._values = value_states.new_empty(batch, heads, 0, value_states.shape[-1])

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        """Append states (B, heads, T, size); return all that is held."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[-2]
        if end > self._keys.shape[-2]:
            self._keys, self._values = (self._grow(held, end) for held in (self._keys, self._values))
        self._keys[..., self.length : end, :] = key_states
        self._values[..., self.length : end, :] = value_states
        self.length = end
        self.keys, self.values = self._keys[..., :end, :], self._values[..., :end, :]
        return self.keys, self.values

    def _grow(self, held: torch.Tensor, end: int) -> torch.Tensor:
        batch, heads, _, size = held.shape
        grown = held.new_empty(batch, heads, end + self.ROOM, size)
        grown[..., : self.length, :] = held[..., : self.length, :]
        return grown

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep (or repeat) the given rows of the batch."""
        self._keys, self._values = self._keys[indices], self._values[indices]
        self.keys, self.values = self._keys[..., : self.length, :], self._values[..., : self.length, :]


@torch.no_grad()
def sample_completions(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: list[list[int]],
    keys: list[list[str]],
    sampling: Sampling,
) -> list[list[Completion]]:
    """Return the completions of each prompt, one for each of its keys.

    Args:
        prompts: token ids of P prompts, each of at least one token.
        keys: for each prompt, a key per completion: the same seed and key give the same random numbers.

    The log-probabilities are those of the softmax at the sampling temperature (1 where that is 0), before top-p.
    """
    device = model.device
    counts = [len(k) for k in keys]
    owner = torch.repeat_interleave(torch.arange(len(prompts)), torch.tensor(counts)).to(device)
    uniform = torch.from_numpy(np.stack([_uniforms(sampling, key) for group in keys for key in group])).to(device)
    ends = end_token_ids(model, tokenizer)

    cache, mask, logits = _read_prompts(model, tokenizer, prompts)
    cache.batch_select_indices(owner)
    mask, logits = mask[owner], logits[owner]
    rows = torch.arange(len(owner), device=device)  # (R,) the completion that each row of the batch belongs to
    position = mask.sum(1)
    tokens = torch.zeros(len(owner), sampling.max_tokens, dtype=torch.long, device=device)
    logprobs = torch.zeros(len(owner), sampling.max_tokens, device=device)
    lengths = torch.full((len(owner),), sampling.max_tokens, device=device)
    stopped = torch.zeros(len(owner), dtype=torch.bool, device=device)

    for step in range(sampling.max_tokens):
        chosen, chosen_logprobs = draw_tokens(logits, uniform[rows, step], sampling)
        tokens[rows, step], logprobs[rows, step] = chosen, chosen_logprobs
        ended = torch.isin(chosen, ends) & ~stopped[rows]
        lengths[rows[ended]] = step + 1
        stopped[rows[ended]] = True
        running = ~stopped[rows]
        alive = int(running.sum())
        if alive == 0 or step + 1 == sampling.max_tokens:
            break
        if alive < SHRINK_BELOW * len(rows):
            kept = running.nonzero().squeeze(1)
            cache.batch_select_indices(kept)
            rows, chosen, mask, position = rows[kept], chosen[kept], mask[kept], position[kept]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        output = model(
            input_ids=chosen.unsqueeze(1),
            attention_mask=mask,
            position_ids=position.unsqueeze(1),
            past_key_values=cache,
            use_cache=True,
        )
        logits, position = output.logits[:, -1], position + 1

    return _gather(tokens, logprobs, lengths, stopped, counts)


def draw_tokens(logits: torch.Tensor, uniform: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a token (R,) for each row of logits (R, V) and its log-probability, by inversion of the distribution.

    Args:
        uniform: (R,) numbers from [0, 1), float64; unused where the temperature is 0.
    """
    if sampling.temperature == 0:
        logprobs = logits.float().log_softmax(-1)
        chosen = logprobs.argmax(-1)
        return chosen, logprobs.gather(1, chosen.unsqueeze(1)).squeeze(1)
    logprobs = (logits.float() / sampling.temperature).log_softmax(-1)
    probabilities = logprobs.double().exp()
    if sampling.top_p < 1:
        probabilities = _keep_top_p(probabilities, sampling.top_p)
    cumulated = probabilities.cumsum(-1)
    target = uniform.unsqueeze(1) * cumulated[:, -1:]
    chosen = torch.searchsorted(cumulated, target, right=True).clamp_(max=logits.shape[1] - 1)
    return chosen.squeeze(1), logprobs.gather(1, chosen).squeeze(1)


def _keep_top_p(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Zero all but the fewest most likely tokens whose probabilities (R, V) add up to top_p."""
    ordered, order = probabilities.sort(dim=-1, descending=True)
    ordered[ordered.cumsum(-1) - ordered >= top_p] = 0
    return torch.zeros_like(probabilities).scatter(1, order, ordered)


def _uniforms(sampling: Sampling, key: str) -> np.ndarray:
    digest = hashlib.blake2b(f"{sampling.seed}\x1f{key}".encode(), digest_size=16).digest()
    philox = np.random.Philox(key=int.from_bytes(digest, "little"))
    return np.random.Generator(philox).random(sampling.max_tokens)


def _read_prompts(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", prompts: list[list[int]]
) -> tuple[DynamicCache, torch.Tensor, torch.Tensor]:
    """Return the KV cache of P prompts, left-padded to T, their mask (P, T) and the logits (P, V) of what follows."""
    width = max(map(len, prompts))
    pad = tokenizer.pad_token_id or 0
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    cache = DynamicCache(config=model.config)
    cache.layers = [_RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    position = (mask.cumsum(1) - 1).clamp(min=0)
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=position,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return cache, mask, output.logits[:, -1]


def _gather(
    tokens: torch.Tensor, logprobs: torch.Tensor, lengths: torch.Tensor, stopped: torch.Tensor, counts: list[int]
) -> list[list[Completion]]:
    rows = zip(tokens.tolist(), logprobs.tolist(), lengths.tolist(), stopped.tolist(), strict=True)
    flat = iter([Completion(t[:n], p[:n], "stop" if ended else "length") for t, p, n, ended in rows])
    return [[next(flat) for _ in range(count)] for count in counts]
