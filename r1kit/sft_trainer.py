"""TRL's SFTTrainer on tokenised examples, with a training pass that computes less for the same loss and gradient.

The rows of a step go through the model in passes of a token budget, the longest first; in a pass they stand one after
another without padding, and only what predicts a token that is trained on reaches the output head. The loss is TRL's
own: the sum over those tokens, divided by how many the whole step has.
"""

import time
from collections import defaultdict
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from trl import SFTTrainer

from r1kit.chunks import cut_by_length, cut_by_prompt
from r1kit.example_packing import NAME, pack_examples
from r1kit.packing import CompletionHead, can_pack
from r1kit.passes import Passes
from r1kit.processes import process_count, process_number
from r1kit.sft_rows import UNTRAINED

WINDOW = 64  # rows that are read at a time to measure a loss


class Batch(NamedTuple):
    """Rows of token ids and labels, each (T,)."""

    rows: list[torch.Tensor]
    labels: list[torch.Tensor]

    def take(self, chunk: list[int]) -> "Batch":
        """Return some of the rows, the longest first."""
        order = sorted(chunk, key=lambda row: -len(self.rows[row]))
        return Batch([self.rows[row] for row in order], [self.labels[row] for row in order])


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Return rows one after another: `input_ids` and `labels` (1, T), and the `lengths` of the rows (B,)."""
    return {
        "input_ids": torch.tensor([[token for row in rows for token in row["input_ids"]]]),
        "labels": torch.tensor([[label for row in rows for label in row["labels"]]]),
        "lengths": torch.tensor([len(row["input_ids"]) for row in rows]),
    }


class PackedTrainer(Passes, SFTTrainer):
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
        self._seen: defaultdict[str, float] = defaultdict(float)  # since the last line of the log, and
        self._sums = self._no_sums()

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Take one step as TRL does.

        Raises:
            UserError: the GPU's memory does not suffice.
        """
        started = time.perf_counter()
        with self._within_memory():
            loss = super().training_step(model, inputs, num_items_in_batch)
        self._seen["seconds/train"] += time.perf_counter() - started
        self._seen["tokens/train"] += int(inputs["lengths"].sum())
        return loss

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return TRL's loss of a step's rows, most of whose passes have gone backward already.

        The gradient of all passes but the last is there when this returns; the caller takes the last one backward.
        """
        if self.aux_loss_enabled:  # a router's loss is no sum over rows
            padded = self._padded(self._batch(inputs))
            return super().compute_loss(model, padded, return_outputs, num_items_in_batch)
        batch = self._batch(inputs)
        everywhere = num_items_in_batch is not None and self.args.average_tokens_across_devices
        weight_of_all = self.accelerator.num_processes if everywhere else 1
        total = int((inputs["labels"] != UNTRAINED).sum() if num_items_in_batch is None else num_items_in_batch)
        passes = self._even(self._cut(batch))
        done: torch.Tensor | float = 0.0
        for number, (chunk, weight) in enumerate(passes):
            last = number == len(passes) - 1
            with nullcontext() if last else self.accelerator.no_sync(model):
                loss = self._loss(model, batch.take(chunk), weight) * (weight_of_all / max(1, total))
                if not last:
                    self.accelerator.backward(loss)
                    done += loss.detach()
        return loss + done

    def held_out_loss(self, dataset: Dataset) -> float:
        """Return the mean loss (nats a token) of rows that are not trained on; each process takes a share of them."""
        training, sums, self._sums = self.model.training, self._sums, self._no_sums()
        self.model.eval()
        number, count = process_number(), process_count()
        with torch.no_grad():
            for top in range(0, len(dataset), WINDOW * count):  # in each process as often
                own = dataset.select(range(top + number, min(len(dataset), top + WINDOW * count), count))
                batch = self._batch(self._prepare_inputs(collate(list(own) or [dataset[0]])))
                for chunk, weight in self._even(self._cut(batch)):
                    self._loss(self.model_wrapped, batch.take(chunk), weight if len(own) else 0.0)
        loss, *_, tokens = self._sum_up()
        self._sums = sums
        self.model.train(training)
        return loss / max(1.0, tokens)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as TRL does, with what was spent and seen since the last line."""
        _, entropy, right, tokens = self._sum_up()
        if tokens:
            logs |= {"entropy": entropy / tokens, "mean_token_accuracy": right / tokens, "tokens/trained": tokens}
        logs |= self._seen
        self._seen, self._sums = defaultdict(float), self._no_sums()
        super().log(logs, start_time)

    def _no_sums(self) -> torch.Tensor:
        """Return sums over no token: loss, entropy, tokens that are the likeliest, tokens."""
        return torch.zeros(4, device=self.accelerator.device, dtype=torch.float64)

    def _sum_up(self) -> list[float]:
        return self.accelerator.reduce(self._sums.clone(), "sum").tolist()

    @staticmethod
    def _batch(inputs: dict[str, torch.Tensor]) -> Batch:
        lengths = inputs["lengths"].tolist()
        return Batch(*(list(inputs[name][0].split(lengths)) for name in ("input_ids", "labels")))

    def _cut(self, batch: Batch) -> list[list[int]]:
        """Return the rows of passes of at most a token budget each."""
        lengths = [len(row) for row in batch.rows]
        if not self.packs:
            return cut_by_length(lengths, self.token_budget)
        return cut_by_prompt(range(len(lengths)), [0] * len(lengths), lengths, self.token_budget)

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
        padded = self._padded(batch)
        labels = padded.pop("labels")
        row, column = (labels != UNTRAINED).nonzero(as_tuple=True)
        predicting = row * labels.shape[1] + column - 1
        with self.accelerator.autocast():
            return model(
                **padded, predicting=predicting, shift_labels=labels[row, column].unsqueeze(0), fused_lm_head=True
            )

    @staticmethod
    def _padded(batch: Batch) -> dict[str, torch.Tensor]:
        def pad(rows: list[torch.Tensor], value: int) -> torch.Tensor:
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)

        mask = pad([torch.ones_like(row) for row in batch.rows], 0)
        return {"input_ids": pad(batch.rows, 0), "attention_mask": mask, "labels": pad(batch.labels, UNTRAINED)}
