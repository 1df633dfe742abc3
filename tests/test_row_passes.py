"""Rows that are given as tokens: how they are cut, filled up and shared out among processes."""

import pytest
import torch
from datasets import Dataset

from r1kit.row_passes import Batch, own_rows
from r1kit.sft_rows import UNTRAINED

INPUTS = {
    "input_ids": torch.tensor([[5, 6, 7, 8, 9, 4]]),
    "labels": torch.tensor([[UNTRAINED, 6, UNTRAINED, 8, 9, 4]]),
    "lengths": torch.tensor([2, 3, 1]),
}


def test_rows_are_cut_longest_first_with_padding_or_without():
    batch = Batch.of(INPUTS)
    assert [row.tolist() for row in batch.rows] == [[5, 6], [7, 8, 9], [4]]
    assert batch.cut(True, 5) == batch.cut(False, 6) == [[1, 0], [2]]
    assert batch.cut(False, 5) == [[1], [0, 2]]


def test_rows_are_filled_up_to_the_longest_of_those_that_are_taken():
    padded = Batch.of(INPUTS).take([1, 2]).padded()
    assert padded["input_ids"].tolist() == [[7, 8, 9], [4, 0, 0]]
    assert padded["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert padded["labels"].tolist() == [[UNTRAINED, 8, 9], [4, UNTRAINED, UNTRAINED]]


@pytest.mark.parametrize("rows", [1, 64, 129, 300])
def test_processes_share_all_rows_and_come_as_often(monkeypatch, rows):
    dataset, shares = Dataset.from_dict({"row": range(rows)}), []
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(list(own_rows(dataset)))
    assert len({len(share) for share in shares}) == 1
    taken = [(place, row["row"]) for share in shares for window in share for place, row in zip(*window, strict=False)]
    assert sorted(taken) == [(row, row) for row in range(rows)]
