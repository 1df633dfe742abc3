"""What trainers share whose rows are given as tokens: what a step counts, and how other rows are measured."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from transformers import Trainer

from r1kit.chunks import cut_by_length, cut_by_tokens
from r1kit.passes import Passes
from r1kit.processes import gather, process_count, process_number
from r1kit.sft_rows import UNTRAINED

WINDOW = 64  # rows that are read at a time to be measured
Found = TypeVar("Found")


class Batch(NamedTuple):
    """Rows of token ids and labels, each (T,); a token that nothing is learnt at is labelled UNTRAINED."""

    rows: list[torch.Tensor]
    labels: list[torch.Tensor]

    @classmethod
    def of(cls, inputs: dict[str, torch.Tensor]) -> "Batch":
        """Return rows that stand one after another: `input_ids` and `labels` (1, T), and the `lengths` (B,)."""
        lengths = inputs["lengths"].tolist()
        return cls(*(list(inputs[name][0].split(lengths)) for name in ("input_ids", "labels")))

    def cut(self, packs: bool, budget: int) -> list[list[int]]:
        """Return the rows of passes of at most `budget` tokens, with padding or without, longest first."""
        return (cut_by_tokens if packs else cut_by_length)([len(row) for row in self.rows], budget)

    def take(self, chunk: list[int]) -> "Batch":
        """Return some of the rows."""
        return Batch([self.rows[row] for row in chunk], [self.labels[row] for row in chunk])

    def padded(self) -> dict[str, torch.Tensor]:
        """Return the rows filled up to the longest: `input_ids`, `attention_mask` and `labels`, each (B, T)."""
        mask = pad_sequence([torch.ones_like(row) for row in self.rows], batch_first=True)
        ids, labels = pad_sequence(self.rows, True), pad_sequence(self.labels, True, UNTRAINED)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


class RowPasses(Passes, Trainer):
    """Passes over rows that are given, `lengths` (B,) of them among a step's inputs; tokens and seconds in the log."""

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Take one step as the trainer does.

        Raises:
            UserError: the GPU's memory does not suffice.
        """
        started = time.perf_counter()
        with self._within_memory():
            loss = super().training_step(model, inputs, num_items_in_batch)
        self._seen["seconds/train"] += time.perf_counter() - started
        self._seen["tokens/train"] += int(inputs["lengths"].sum())
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as the trainer does, with what was spent and seen since the last line."""
        logs |= self._seen
        self._seen = defaultdict(float)
        super().log(logs, start_time)

    def _share_of(self, labels: torch.Tensor, num_items_in_batch) -> float:
        """Return what the summed loss of some labels counts: the mean is over those of a batch, in all processes."""
        everywhere = num_items_in_batch is not None and self.args.average_tokens_across_devices
        total = int((labels != UNTRAINED).sum() if num_items_in_batch is None else num_items_in_batch)
        return (self.accelerator.num_processes if everywhere else 1) / max(1, total)

    def _measure(self, dataset: Dataset, measure: Callable[[list[dict[str, Any]]], list[Found]]) -> list[Found]:
        """Return what is measured of each row of a data set, in order; each process computes a share of them."""
        with self._measuring():
            mine = [pair for places, rows in own_rows(dataset) for pair in zip(places, measure(rows), strict=False)]
        return [found for _, found in sorted(pair for process in gather(mine) for pair in process)]

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """Have the model measure: no dropout, no gradient."""
        training = self.model.training
        self.model.eval()
        with torch.no_grad():
            yield
        self.model.train(training)


def own_rows(dataset: Dataset) -> Iterator[tuple[list[int], list[dict[str, Any]]]]:
    """Yield this process's share of a data set, some rows at a time and where they stand; in each process as often.

    The first row stands where there is none left, without a place.
    """
    number, count = process_number(), process_count()
    for top in range(0, len(dataset), WINDOW * count):
        places = list(range(top + number, min(len(dataset), top + WINDOW * count), count))
        yield places, list(dataset.select(places or [0]))
