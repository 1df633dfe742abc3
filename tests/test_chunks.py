import pytest
import torch

from r1kit.chunks import cut_by_length, cut_by_prompt, merge_metrics, rows_of, share_of


def test_rows_of_like_length_go_together_within_the_budget_longest_first():
    assert cut_by_length([100, 3000, 90, 2000, 110], 4096) == [[1], [3, 4], [0, 2]]
    assert cut_by_length([5000], 4096) == [[0]]


def test_a_prompt_counts_once_in_a_pass():
    """Prompts of 10; budget 50: a (10 + 20 + 15) and 5 of its third row do not fit; b begins a pass of its own."""
    prompts, tokens = ["a", "b", "a", "a", "b"], [15, 8, 20, 6, 9]
    assert cut_by_prompt(prompts, [10] * 5, tokens, 50) == [[2, 0], [3, 4, 1]]
    assert cut_by_prompt(prompts, [10] * 5, tokens, 10**6) == [[2, 0, 3, 4, 1]]
    assert cut_by_prompt(prompts, [10] * 5, tokens, 1) == [[2], [0], [3], [4], [1]]


def inputs(lengths, width=6):
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    rows = len(lengths)
    return {
        "prompt_ids": torch.arange(rows * 3).view(rows, 3),
        "prompt_mask": torch.tensor([[0, 1, 1]] * rows),
        "completion_ids": torch.arange(rows * width).view(rows, width),
        "completion_mask": mask,
        "advantages": torch.arange(rows).float(),
        "importance_sampling_ratio": torch.ones(rows, 1),
        "num_items_in_batch": mask.sum(),
    }


def test_rows_are_trimmed_to_their_longest():
    part = rows_of(inputs([6, 2, 3]), [2, 1])
    assert part["completion_ids"].tolist() == [[12, 13, 14], [6, 7, 8]]
    assert part["prompt_ids"].tolist() == [[7, 8], [4, 5]]
    assert part["advantages"].tolist() == [2, 1]
    assert part["importance_sampling_ratio"].shape == (2, 1)
    assert part["num_items_in_batch"] == 11


@pytest.mark.parametrize(("loss_type", "share"), [("dapo", 1), ("grpo", 2 / 3), ("dr_grpo", 2 / 3), ("bnpo", 5 / 11)])
def test_a_parts_share_is_what_trl_divides_by(loss_type, share):
    whole = inputs([6, 2, 3])
    assert share_of(loss_type, rows_of(whole, [2, 1]), whole) == pytest.approx(share)


def test_metrics_are_weighted_by_tokens_and_extremes_stay():
    parts = [
        (30, {"entropy": [1.0], "clip_ratio/low_min": [0.2], "clip_ratio/high_max": [float("nan")]}),
        (10, {"entropy": [2.0], "clip_ratio/low_min": [0.1], "clip_ratio/high_max": [0.5]}),
        (0, {"entropy": [9.0], "clip_ratio/low_min": [0.3], "clip_ratio/high_max": [0.4]}),
    ]
    assert merge_metrics(parts) == {"entropy": 1.25, "clip_ratio/low_min": 0.1, "clip_ratio/high_max": 0.5}


def test_metrics_of_parts_that_taught_nothing_are_their_mean():
    assert merge_metrics([(0, {"entropy": [1.0]}), (0, {"entropy": [2.0]})]) == {"entropy": 1.5}
