"""Draw tokens from logits: temperature, top-k and top-p, from random numbers that belong to a completion alone."""

import numpy as np
import torch

from r1kit.engines import Sampling, seed_of

BLOCK = 64  # tokens of the vocabulary whose probabilities are summed together
NUCLEUS = 256  # most likely tokens that usually hold top_p; more are sorted only where they do not


class RandomNumbers:
    """The random numbers of one completion: a stream that (seed, key) decides."""

    AHEAD = 64

    def __init__(self, seed: int, key: str):
        self._generator = np.random.Generator(np.random.Philox(key=seed_of(seed, key, 16)))
        self._drawn: list[float] = []

    def next(self) -> float:
        """Return the next number from [0, 1)."""
        if not self._drawn:
            self._drawn = self._generator.random(self.AHEAD).tolist()[::-1]
        return self._drawn.pop()


def draw_tokens(logits: torch.Tensor, uniform: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a token (R,) for each row of logits (R, V) and its log-probability, by inversion of the distribution.

    Args:
        uniform: (R,) numbers from [0, 1), float64; unused where the temperature is 0.

    The log-probabilities are those of the softmax at the temperature (1 where that is 0), before top-k and top-p.
    """
    scaled = logits.float() if sampling.temperature in (0, 1) else logits.float() / sampling.temperature
    highest, likeliest = scaled.max(-1, keepdim=True)
    weights = (scaled - highest).exp_()  # (R, V), in proportion to the probabilities
    total = weights.sum(-1, keepdim=True)
    if sampling.temperature == 0:
        chosen = likeliest
    else:
        if sampling.top_k or sampling.top_p < 1:
            weights = _keep_likely(weights, total, sampling)
        chosen = _invert(weights, uniform.unsqueeze(1))
    logprobs = scaled.gather(1, chosen) - highest - total.log()
    return chosen.squeeze(1), logprobs.squeeze(1)


def _invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Return the token (R, 1) at which the sum of weights (R, V) passes the share `uniform` (R, 1) of their total.

    The block of tokens in which that happens is found first, so that only its weights are added up one by one. A token
    of weight zero is never returned.
    """
    rows, size = weights.shape
    blocks = torch.nn.functional.pad(weights, (0, -size % BLOCK)).view(rows, -1, BLOCK)
    block, left = _first_past(blocks.sum(-1, dtype=torch.float64), uniform, share=True)
    within = blocks.gather(1, block.unsqueeze(2).expand(-1, 1, BLOCK)).squeeze(1)
    token, _ = _first_past(within.double(), left, share=False)
    return block * BLOCK + token


def _first_past(weights: torch.Tensor, target: torch.Tensor, share: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the place (R, 1) where the sum of weights (R, N) passes the target, and how far into it the target lies.

    Args:
        target: (R, 1), a share of the total or a sum itself.
    """
    sums = weights.cumsum(-1)
    total = sums[:, -1:]
    target = target * total if share else target
    target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))  # rounding may reach the total
    place = torch.searchsorted(sums, target, right=True)
    return place, (target - sums.gather(1, place) + weights.gather(1, place)).clamp_(min=0)


def _keep_likely(weights: torch.Tensor, total: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Zero all but the top_k largest weights (R, V), and of these all but the fewest that hold top_p of their sum."""
    size = weights.shape[1]
    count = min(sampling.top_k or NUCLEUS, size)
    ordered, order = weights.topk(count, dim=-1)
    whole = ordered.sum(-1, keepdim=True) if sampling.top_k else total
    before = ordered.cumsum(-1) - ordered  # the sum of those before each
    kept = torch.zeros_like(weights).scatter_(1, order, ordered.masked_fill(before >= sampling.top_p * whole, 0))
    if sampling.top_k or count == size:
        return kept
    wide = (before[:, -1] + ordered[:, -1] < sampling.top_p * whole[:, 0]).nonzero().squeeze(1)
    if len(wide):  # sorting everything is slow, so only where the likeliest do not hold top_p
        ordered, order = weights[wide].sort(dim=-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        ordered.masked_fill_(before >= sampling.top_p * whole[wide], 0)
        kept[wide] = torch.zeros_like(ordered).scatter_(1, order, ordered)
    return kept
