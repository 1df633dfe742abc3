"""transformers' Trainer for process reward models, on packed rows (TRL, which had a PRMTrainer, has none since 1.14).

The rows of a step go through the model in passes of a token budget, the longest first; in a pass they stand one after
another without padding, and only the last token of each step's separator reaches the head. The loss is the cross
entropy there between the two labels and the step's own label p (p for right, 1 - p for wrong), the mean over the
labelled steps of the batch: PRMTrainer's where labels are true or false, Math-Shepherd's (arXiv 2312.08935, equation 2)
where they are soft.
"""

import time
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from transformers import Trainer

from r1kit.chunks import cut_by_length, cut_by_prompt
from r1kit.example_packing import NAME, pack_examples
from r1kit.packing import CompletionHead, can_pack
from r1kit.passes import Passes
from r1kit.processes import gather, process_count, process_number
from r1kit.sft_rows import UNTRAINED
from r1kit.step_rows import RIGHT

WINDOW = 64  # rows that are read at a time to be scored


class Batch(NamedTuple):
    """Rows of token ids and labels, each (T,); the label of a token that ends no step is UNTRAINED."""

    rows: list[torch.Tensor]
    labels: list[torch.Tensor]

    def take(self, chunk: list[int]) -> "Batch":
        """Return some of the rows."""
        return Batch([self.rows[row] for row in chunk], [self.labels[row] for row in chunk])


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Return rows one after another: `input_ids` and `labels` (1, T), and the `lengths` of the rows (B,)."""
    labels = []
    for row in rows:
        own = torch.full((len(row["input_ids"]),), float(UNTRAINED))
        own[torch.tensor(row["ends"])] = torch.tensor(row["labels"])
        labels.append(own)
    return {
        "input_ids": torch.tensor([[token for row in rows for token in row["input_ids"]]]),
        "labels": torch.cat(labels).unsqueeze(0),
        "lengths": torch.tensor([len(row["input_ids"]) for row in rows]),
    }


class StepTrainer(Passes, Trainer):
    """Process reward modelling on rows of `input_ids`, `ends` and `labels`, with tokens and seconds in its log.

    The model is a token classifier with two labels, of which 1 is "right". Dropout before its head, which transformers
    sets to 0.1 where a configuration says nothing, is taken out: the run is exact.

    Beside the Trainer's arguments:
        token_budget: tokens of one pass.
        peft_config: peft's settings of an adapter, where one is trained.
    """

    def __init__(self, model: Any, *args: Any, token_budget: int = 4096, peft_config: Any = None, **kwargs: Any):
        if peft_config is not None:
            from peft import get_peft_model

            model = get_peft_model(model, peft_config)
        super().__init__(model, *args, data_collator=collate, **kwargs)
        self._begin_passes(token_budget)
        classifier = self._causal(self.model)
        self.packs = can_pack(classifier)
        CompletionHead(classifier.base_model)
        if isinstance(getattr(classifier, "dropout", None), torch.nn.Dropout):
            classifier.dropout.p = 0.0
        self._seen: defaultdict[str, float] = defaultdict(float)  # since the last line of the log, and
        self._sums = self._no_sums()

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Take one step as transformers does.

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
        """Return the mean loss of the labelled steps of some rows, most of whose passes have gone backward already.

        The gradient of all passes but the last is there when this returns; the caller takes the last one backward.
        """
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

    def score_steps(self, dataset: Dataset) -> list[list[float]]:
        """Return the probability that each step of rows is right, in order; each process computes a share of them."""
        training = self.model.training
        self.model.eval()
        number, count = process_number(), process_count()
        mine: list[tuple[int, list[float]]] = []
        with torch.no_grad():
            for top in range(0, len(dataset), WINDOW * count):  # in each process as often
                places = list(range(top + number, min(len(dataset), top + WINDOW * count), count))
                rows = list(dataset.select(places or [0]))
                mine += zip(places, self._scores(rows), strict=False)
        self.model.train(training)
        return [scores for _, scores in sorted(pair for process in gather(mine) for pair in process)]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as transformers does, with what was spent and seen since the last line."""
        right, steps = self.accelerator.reduce(self._sums.clone(), "sum").tolist()
        if steps:
            logs |= {"accuracy": right / steps, "steps/trained": steps}
        logs |= self._seen
        self._seen, self._sums = defaultdict(float), self._no_sums()
        super().log(logs, start_time)

    def _no_sums(self) -> torch.Tensor:
        """Return sums over no step: those that are told right from wrong, and all."""
        return torch.zeros(2, device=self.accelerator.device, dtype=torch.float64)

    @staticmethod
    def _batch(inputs: dict[str, torch.Tensor]) -> Batch:
        lengths = inputs["lengths"].tolist()
        return Batch(*(list(inputs[name][0].split(lengths)) for name in ("input_ids", "labels")))

    def _cut(self, batch: Batch) -> list[list[int]]:
        """Return the rows of passes of at most a token budget each, longest first."""
        lengths = [len(row) for row in batch.rows]
        if not self.packs:
            return cut_by_length(lengths, self.token_budget)
        return cut_by_prompt(range(len(lengths)), [0] * len(lengths), lengths, self.token_budget)

    def _loss(self, model, batch: Batch, weight: float) -> torch.Tensor:
        """Return the summed loss of rows, times a weight: 0 where a pass only keeps step with other processes."""
        labels = torch.cat(batch.labels)
        labels = labels[labels != UNTRAINED]
        logits = self._logits(model, batch)
        targets = torch.stack([1 - labels, labels], dim=1)
        told = (logits[:, 1] > logits[:, 0]) == (labels > RIGHT)
        self._sums += weight * torch.stack([told.sum(), told.new_tensor(len(labels), dtype=torch.long)]).double()
        return cross_entropy(logits, targets, reduction="sum") * weight

    def _scores(self, rows: list[dict[str, Any]]) -> list[list[float]]:
        batch = self._batch(self._prepare_inputs(collate(rows)))
        found: dict[int, list[float]] = {}
        for chunk, weight in self._even(self._cut(batch)):
            right = self._logits(self.model_wrapped, batch.take(chunk)).softmax(-1)[:, 1]
            counts = [int((batch.labels[row] != UNTRAINED).sum()) for row in chunk]
            if weight:
                found |= zip(chunk, (part.tolist() for part in right.split(counts)), strict=True)
        return [found[row] for row in range(len(rows))]

    def _logits(self, model, batch: Batch) -> torch.Tensor:
        """Return the logits (K, 2), float32, of the K labelled steps of rows, which come longest first."""
        with self.accelerator.autocast():
            if self.packs:
                return self._run_packed(model, batch).logits[0].float()
            return self._run_padded(model, batch).logits[0].float()

    def _run_packed(self, model, batch: Batch):
        packed = pack_examples(*batch)
        packed = replace(packed, predicting=packed.predicting + 1)  # a label's own token, not the one before it
        with self._attending(model, NAME):
            return model(
                input_ids=packed.input_ids,
                position_ids=packed.position_ids,
                packed=packed,
                predicting=packed.predicting,
            )

    @staticmethod
    def _run_padded(model, batch: Batch):
        def pad(rows: list[torch.Tensor], value: int) -> torch.Tensor:
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)

        mask = pad([torch.ones_like(row) for row in batch.rows], 0)
        predicting = (pad(batch.labels, UNTRAINED).flatten() != UNTRAINED).nonzero().squeeze(1)
        return model(input_ids=pad(batch.rows, 0), attention_mask=mask, predicting=predicting)
