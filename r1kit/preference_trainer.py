"""TRL's RewardTrainer on tokenised pairs, with a training pass that computes less for the same loss and gradient.

The pairs of a step go through the model in passes of a token budget, the longest first, both sides of a pair in one.
In a pass no row is padded, what both sides begin with stands once, and only the last token of a side reaches the head.
The loss is TRL's own (Bradley and Terry 1952; margins: Touvron et al., arXiv 2307.09288, equation 2; centring:
Eisenstein et al., arXiv 2312.09244, equation 2): the mean over the step's pairs, each with a term of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import logsigmoid
from transformers.modeling_layers import GenericForSequenceClassification
from trl import RewardTrainer

from r1kit import example_packing, packing
from r1kit.chunks import cut_by_length, cut_by_tokens
from r1kit.example_packing import pack_examples
from r1kit.packing import can_pack, pack_rows
from r1kit.preference_rows import shared_length
from r1kit.reward_report import Scores
from r1kit.row_passes import RowPasses
from r1kit.sft_rows import UNTRAINED

WORTH_SHARING = 0.05  # share of a pass's tokens that stand once for both sides: below, its rows stand as they are


@dataclass(frozen=True)
class Pairs:
    """Pairs of token ids (T,), cut where a side's score is read, and their margins (B,)."""

    chosen: list[list[int]]
    rejected: list[list[int]]
    margins: torch.Tensor

    @property
    def shared(self) -> list[int]:
        """How many tokens the sides of each pair begin with in common."""
        return [shared_length(*pair) for pair in zip(self.chosen, self.rejected, strict=True)]


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Return rows one after another.

    `input_ids` (1, T) hold the chosen sides, then the rejected ones; `lengths` (2B,) theirs; `margin` (B,).
    """
    sides = [row["chosen_ids"] for row in rows] + [row["rejected_ids"] for row in rows]
    return {
        "input_ids": torch.tensor([[token for side in sides for token in side]]),
        "lengths": torch.tensor([len(side) for side in sides]),
        "margin": torch.tensor([row["margin"] for row in rows], dtype=torch.float),
    }


class LastTokens:
    """Has a classifier score the last tokens of packed rows.

    The classifier is given these tokens as rows of one, and so finds the last of each where it is. Its body is given
    the packed rows (`packed`) instead, and returns the hidden states of the last tokens (`last`, (K,)) alone.

    Args:
        body: the model below the head.
    """

    def __init__(self, body: torch.nn.Module):
        self.last: torch.Tensor | None = None
        body.register_forward_pre_hook(self._take, with_kwargs=True)
        body.register_forward_hook(self._select)

    def _take(self, module, args, kwargs):
        self.last = kwargs.pop("last", None)
        if self.last is None:
            return args, kwargs
        packed = kwargs["packed"]
        return (), {**kwargs, "input_ids": packed.input_ids, "position_ids": packed.position_ids}

    def _select(self, module, args, output):
        if self.last is not None:
            output.last_hidden_state = output.last_hidden_state[0].index_select(0, self.last).unsqueeze(1)
        return output


class PreferenceTrainer(RowPasses, RewardTrainer):
    """Reward modelling on rows of `chosen_ids`, `rejected_ids` and `margin`, packed; its log has tokens and seconds.

    Beside TRL's arguments:
        token_budget: tokens of one pass.
    """

    def __init__(self, *args: Any, token_budget: int = 4096, **kwargs: Any):
        super().__init__(*args, data_collator=collate, **kwargs)
        self._begin_passes(token_budget)
        classifier = self._causal(self.model)
        self.packs = reads_last_token(classifier) and can_pack(classifier)
        self._pad = classifier.config.get_text_config().pad_token_id
        LastTokens(classifier.base_model)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return TRL's loss of a step's pairs, most of whose passes have gone backward already (see `_add_up`)."""
        pairs = self._pairs(inputs)
        scores = inputs["margin"].new_zeros(2, len(pairs.chosen))

        def loss_of(chunk: list[int], weight: float) -> torch.Tensor:
            found = self._score(model, pairs, chunk)
            if weight:
                scores[:, chunk] = found.detach()
            return self._losses(found[0], found[1], pairs.margins[chunk]).sum() * (weight / len(pairs.chosen))

        loss = self._add_up(model, self._even(self._cut(pairs)), loss_of)
        self._count(scores, inputs)
        return loss

    def score_pairs(self, dataset: Dataset) -> list[Scores]:
        """Return the scores of pairs that are not trained on, in order; each process computes a share of them."""
        return self._measure(dataset, self._score_all)

    def held_out_loss(self, dataset: Dataset, scores: Sequence[Scores]) -> float:
        """Return the mean loss of pairs by their scores."""
        chosen, rejected = (torch.tensor([getattr(pair, side) for pair in scores]) for side in ("chosen", "rejected"))
        return float(self._losses(chosen, rejected, torch.tensor(dataset["margin"][:])).mean())

    def _losses(self, chosen: torch.Tensor, rejected: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
        """Return the loss of each pair (B,)."""
        losses = -logsigmoid(chosen - rejected - margins)
        centring = self.args.center_rewards_coefficient
        return losses if centring is None else losses + centring * (chosen + rejected) ** 2

    def _count(self, scores: torch.Tensor, inputs: dict[str, torch.Tensor]) -> None:
        """Keep what the log tells of a step: pairs, tokens, extremes and mean of the rewards, accuracy and margin."""
        self._seen["pairs/train"] += len(inputs["margin"])
        self._total_train_tokens += int(self.accelerator.gather(inputs["lengths"].sum()).sum())
        everywhere = self.accelerator.gather(scores.T.contiguous())
        margins = everywhere[:, 0] - everywhere[:, 1]
        found = {
            "min_reward": everywhere.min(),
            "mean_reward": everywhere.mean(),
            "max_reward": everywhere.max(),
            "accuracy": (margins > 0).float().mean(),
            "margin": margins.mean(),
        }
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["num_tokens"] = [self._total_train_tokens]
        for name, value in found.items():
            metrics[name].append(value.item())

    def _pairs(self, inputs: dict[str, torch.Tensor]) -> Pairs:
        ids, ends = inputs["input_ids"][0].tolist(), [0, *accumulate(inputs["lengths"].tolist())]
        sides = [self._cut_side(ids[start:end]) for start, end in pairwise(ends)]
        half = len(sides) // 2
        return Pairs(sides[:half], sides[half:], inputs["margin"])

    def _cut_side(self, ids: list[int]) -> list[int]:
        """Return token ids (T,) up to the one that the score is read at: the last that is no padding token."""
        last = next((place for place in range(len(ids), 0, -1) if ids[place - 1] != self._pad), 1)
        return ids[:last]

    def _cut(self, pairs: Pairs) -> list[list[int]]:
        """Return the pairs of passes of at most a token budget each."""
        lengths = [(len(chosen), len(rejected)) for chosen, rejected in zip(pairs.chosen, pairs.rejected, strict=True)]
        if not self.packs:
            return cut_by_length([2 * max(pair) for pair in lengths], self.token_budget)
        tokens = [sum(pair) - shared for pair, shared in zip(lengths, pairs.shared, strict=True)]
        return cut_by_tokens(tokens, self.token_budget)

    def _score_all(self, rows: list[dict[str, Any]]) -> list[Scores]:
        """Return the scores of rows."""
        pairs = self._pairs(self._prepare_inputs(collate(rows)))
        scores = torch.zeros(2, len(rows))
        for chunk, weight in self._even(self._cut(pairs)):
            found = self._score(self.model_wrapped, pairs, chunk)
            if weight:
                scores[:, chunk] = found.float().cpu()
        return [_scores(row, *pair) for row, pair in zip(rows, scores.T.tolist(), strict=True)]

    def _score(self, model, pairs: Pairs, chunk: list[int]) -> torch.Tensor:
        """Return the scores (2, K) of K pairs, the chosen sides' first."""
        sides = [pairs.chosen[pair] for pair in chunk] + [pairs.rejected[pair] for pair in chunk]
        if not self.packs:
            return self._run_padded(model, sides).view(2, -1)
        shared = 2 * [shared_length(pairs.chosen[pair], pairs.rejected[pair]) for pair in chunk]
        if sum(shared) / 2 < WORTH_SHARING * sum(map(len, sides)):
            shared = [0] * len(sides)
        order = sorted(range(len(sides)), key=lambda side: shared[side] - len(sides[side]))
        scores = self._run_packed(model, [sides[side] for side in order], [shared[side] for side in order])
        place = torch.tensor(order, device=scores.device)
        return torch.zeros_like(scores).index_copy(0, place, scores).view(2, -1)

    def _run_packed(self, model, sides: list[list[int]], shared: list[int]) -> torch.Tensor:
        """Return the scores (R,) of sides, each of which begins with so many tokens that stand once where they can.

        What follows these comes longest first.
        """
        device, own = self.accelerator.device, [len(side) - count for side, count in zip(sides, shared, strict=True)]
        packed: Any
        if any(shared):
            beginnings = [side[:count] for side, count in zip(sides, shared, strict=True)]
            ends = [side[count:] for side, count in zip(sides, shared, strict=True)]
            name, packed = packing.NAME, pack_rows(beginnings, ends, device)
        else:
            rows = [torch.tensor(side, device=device) for side in sides]
            name = example_packing.NAME
            packed = pack_examples(rows, [torch.full_like(row, UNTRAINED) for row in rows])
        before = packed.input_ids.shape[1] - sum(own)
        last = torch.tensor([before + end - 1 for end in accumulate(own)], device=device)
        with self._attending(model, name), self.accelerator.autocast():
            output = model(input_ids=packed.input_ids[0, last].unsqueeze(1), packed=packed, last=last)
        return output.logits[:, 0].float()

    def _run_padded(self, model, sides: list[list[int]]) -> torch.Tensor:
        """Return the scores (R,) of sides that are filled up to the longest of them."""
        device, width = self.accelerator.device, max(map(len, sides))
        ids = torch.tensor([side + [self._pad] * (width - len(side)) for side in sides], device=device)
        mask = torch.tensor([[1] * len(side) + [0] * (width - len(side)) for side in sides], device=device)
        with self.accelerator.autocast():
            return model(input_ids=ids, attention_mask=mask).logits[:, 0].float()


def reads_last_token(classifier: Any) -> bool:
    """Tell whether a classifier reads its score at the last token of a row, and no token looks at those after it."""
    config = classifier.config.get_text_config()
    causal = getattr(config, "is_causal", True) and not getattr(config, "use_bidirectional_attention", False)
    return isinstance(classifier, GenericForSequenceClassification) and causal


def _scores(row: dict[str, Any], chosen: float, rejected: float) -> Scores:
    return Scores(chosen, rejected, len(row["chosen_ids"]), len(row["rejected_ids"]), row["prompt"])
