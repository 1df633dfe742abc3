"""transformers' Trainer for process reward models, on packed rows (TRL, which had a PRMTrainer, has none since 1.14).

The rows of a step go through the model in passes of a token budget, the longest first; in a pass they stand one after
another without padding, and only the last token of each step's separator reaches the head. The loss is the cross
entropy there between the two labels and the step's own label p (p for right, 1 - p for wrong), the mean over the
labelled steps of the batch: PRMTrainer's where labels are true or false, Math-Shepherd's (arXiv 2312.08935, equation 2)
where they are soft.
"""

from dataclasses import replace
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy

from r1kit.example_packing import NAME, pack_examples
from r1kit.packing import CompletionHead, can_pack
from r1kit.row_passes import Batch, RowPasses
from r1kit.sft_rows import UNTRAINED
from r1kit.step_rows import RIGHT


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


class StepTrainer(RowPasses):
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
        self._sums = self._no_sums()  # since the last line of the log

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the mean loss of the labelled steps, most passes of which went backward already (see `_add_up`)."""
        batch = Batch.of(inputs)
        share = self._share_of(inputs["labels"], num_items_in_batch)
        passes = self._even(batch.cut(self.packs, self.token_budget))
        return self._add_up(model, passes, lambda chunk, weight: self._loss(model, batch.take(chunk), weight) * share)

    def score_steps(self, dataset: Dataset) -> list[list[float]]:
        """Return the probability that each step of rows is right, in order; each process computes a share of them."""
        return self._measure(dataset, self._scores)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as transformers does, with what was spent and seen since the last line."""
        right, steps = self.accelerator.reduce(self._sums.clone(), "sum").tolist()
        if steps:
            logs |= {"accuracy": right / steps, "steps/trained": steps}
        self._sums = self._no_sums()
        super().log(logs, start_time)

    def _no_sums(self) -> torch.Tensor:
        """Return sums over no step: those that are told right from wrong, and all."""
        return torch.zeros(2, device=self.accelerator.device, dtype=torch.float64)

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
        batch = Batch.of(self._prepare_inputs(collate(rows)))
        found: dict[int, list[float]] = {}
        for chunk, weight in self._even(batch.cut(self.packs, self.token_budget)):
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
        padded = batch.padded()
        predicting = (padded.pop("labels").flatten() != UNTRAINED).nonzero().squeeze(1)
        return model(**padded, predicting=predicting)
