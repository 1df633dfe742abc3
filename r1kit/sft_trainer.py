"""TRL's SFTTrainer on tokenised examples, with a training pass that computes less for the same loss and gradient.

The rows of a step go through the model in passes of a token budget, the longest first; in a pass they stand one after
another without padding, and only what predicts a token that is trained on reaches the output head. The loss is TRL's
own: the sum over those tokens, divided by how many the whole step has.
"""

from typing import Any

import torch
from datasets import Dataset
from trl import SFTTrainer

from r1kit.example_packing import NAME, pack_examples
from r1kit.packing import CompletionHead, can_pack
from r1kit.row_passes import Batch, RowPasses, own_rows
from r1kit.sft_rows import UNTRAINED


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Return rows one after another: `input_ids` and `labels` (1, T), and the `lengths` of the rows (B,)."""
    return {
        "input_ids": torch.tensor([[token for row in rows for token in row["input_ids"]]]),
        "labels": torch.tensor([[label for row in rows for label in row["labels"]]]),
        "lengths": torch.tensor([len(row["input_ids"]) for row in rows]),
    }


class PackedTrainer(RowPasses, SFTTrainer):
    """SFT on rows of `input_ids` and `labels`, packed; with tokens and seconds in its log.

    Beside TRL's arguments:
        token_budget: tokens of one pass.
    """

    def __init__(self, *args: Any, token_budget: int = 4096, **kwargs: Any):
        super().__init__(*args, data_collator=collate, **kwargs)
        self._begin_passes(token_budget)
        causal = self._causal(self.model)
        self.packs = can_pack(causal)
        CompletionHead(causal.base_model)
        self._sums = self._no_sums()  # since the last line of the log

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return TRL's loss of a step's rows, most of whose passes have gone backward already (see `_add_up`)."""
        batch = Batch.of(inputs)
        if self.aux_loss_enabled:  # a router's loss is no sum over rows
            return super().compute_loss(model, batch.padded(), return_outputs, num_items_in_batch)
        share = self._share_of(inputs["labels"], num_items_in_batch)
        passes = self._even(batch.cut(self.packs, self.token_budget))
        return self._add_up(model, passes, lambda chunk, weight: self._loss(model, batch.take(chunk), weight) * share)

    def held_out_loss(self, dataset: Dataset) -> float:
        """Return the mean loss (nats a token) of rows that are not trained on; each process takes a share of them."""
        sums, self._sums = self._sums, self._no_sums()
        with self._measuring():
            for places, rows in own_rows(dataset):
                batch = Batch.of(self._prepare_inputs(collate(rows)))
                for chunk, weight in self._even(batch.cut(self.packs, self.token_budget)):
                    self._loss(self.model_wrapped, batch.take(chunk), weight if places else 0.0)
        loss, *_, tokens = self._sum_up()
        self._sums = sums
        return loss / max(1.0, tokens)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as TRL does, with what was spent and seen since the last line."""
        _, entropy, right, tokens = self._sum_up()
        if tokens:
            logs |= {"entropy": entropy / tokens, "mean_token_accuracy": right / tokens, "tokens/trained": tokens}
        self._sums = self._no_sums()
        super().log(logs, start_time)

    def _no_sums(self) -> torch.Tensor:
        """Return sums over no token: loss, entropy, tokens that are the likeliest, tokens."""
        return torch.zeros(4, device=self.accelerator.device, dtype=torch.float64)

    def _sum_up(self) -> list[float]:
        return self.accelerator.reduce(self._sums.clone(), "sum").tolist()

    def _loss(self, model, batch: Batch, weight: float) -> torch.Tensor:
        """Return the summed loss of rows, times a weight: 0 where a pass only keeps step with other processes."""
        output = self._run_packed(model, batch) if self.packs else self._run_padded(model, batch)
        losses = -output.log_probs
        if self.args.loss_type == "dft":  # arXiv 2508.05629
            losses = losses * output.log_probs.exp().detach()
        counts = losses.new_tensor(losses.numel())
        found = torch.stack([part.detach().sum().double() for part in (losses, output.entropy, output.is_top1, counts)])
        self._sums += weight * found
        return losses.sum() * weight

    def _run_packed(self, model, batch: Batch):
        packed = pack_examples(*batch)
        with self._attending(model, NAME), self.accelerator.autocast():
            return model(
                input_ids=packed.input_ids,
                position_ids=packed.position_ids,
                packed=packed,
                predicting=packed.predicting,
                shift_labels=packed.labels,
                fused_lm_head=True,
            )

    def _run_padded(self, model, batch: Batch):
        padded = batch.padded()
        labels = padded.pop("labels")
        row, column = (labels != UNTRAINED).nonzero(as_tuple=True)
        predicting = row * labels.shape[1] + column - 1
        with self.accelerator.autocast():
            return model(
                **padded, predicting=predicting, shift_labels=labels[row, column].unsqueeze(0), fused_lm_head=True
            )
