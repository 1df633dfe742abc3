"""Stepwise rows as tokens, and what is refused."""

import math

import pytest

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.model import load_tokenizer
from r1kit.step_rows import StepEncoder, StepPreflight, write_steps


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("base")


def row(**fields):
    own = {"prompt": "What is 2 + 3?", "completions": ["2 + 3 = 5", "So 5."], "labels": [True, False]}
    return Record({**own, **fields}, "f:1")


def written(tokenizer, tmp_path, rows, held_out=None, max_length=999, share=0.0):
    from datasets import Dataset

    found = write_steps(rows, held_out, StepEncoder(tokenizer, "\n"), tmp_path, max_length, share, 0)
    return found, *(list(Dataset.from_file(str(tmp_path / f"{name}.arrow"))) for name in ("train", "held-out"))


def test_labels_sit_on_the_last_token_of_each_separator(tokenizer):
    found = StepEncoder(tokenizer, ".\n").encode(row())
    assert tokenizer.decode(found.input_ids) == "What is 2 + 3?2 + 3 = 5.\nSo 5..\n"
    assert [tokenizer.decode(found.input_ids[: end + 1]).endswith(".\n") for end in found.ends] == [True, True]
    assert found.ends[-1] == len(found.input_ids) - 1
    assert found.labels == [1.0, 0.0]


def test_the_last_label_alone_counts_where_that_is_said(tokenizer):
    whole, last = (StepEncoder(tokenizer, "\n", only).encode(row()) for only in (False, True))
    assert (last.input_ids, last.ends, last.labels) == (whole.input_ids, whole.ends[-1:], [0.0])


@pytest.mark.parametrize("labels", [[1, 0], [0.25, 1.0], [True, 0.5]])
def test_labels_may_be_probabilities(tokenizer, labels):
    assert StepEncoder(tokenizer, "\n").encode(row(labels=labels)).labels == [float(label) for label in labels]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": None}, 'f:1: no "prompt"; a stepwise row has prompt, completions and labels'),
        ({"prompt": [{"role": "user", "content": "p"}]}, "f:1: the prompt is no text; write it as a text"),
        ({"completions": [], "labels": []}, "f:1: completions holds no steps; leave such rows out"),
        ({"completions": "a"}, "f:1: completions is no list of texts; write the steps, one text each"),
        ({"completions": ["a", 1]}, "f:1: completions is no list of texts; write the steps, one text each"),
        ({"labels": [True]}, "f:1: 1 labels for 2 steps; give each step its label"),
        ({"labels": True}, "f:1: labels that are no list for 2 steps; give each step its label"),
        ({"labels": [True, "+"]}, "f:1: the label '+' is neither true, false nor within 0 and 1; write true or false"),
        ({"labels": [None, True]}, "f:1: the label None is neither true, false nor within 0 and 1"),
        ({"labels": [0.5, 1.5]}, "f:1: the label 1.5 is neither true, false nor within 0 and 1"),
        ({"labels": [math.nan, 1]}, "f:1: the label nan is neither true, false nor within 0 and 1"),
    ],
)
def test_what_is_no_stepwise_row_is_named(tokenizer, fields, message):
    with pytest.raises(UserError) as caught:
        StepEncoder(tokenizer, "\n").encode(row(**fields))
    assert message in str(caught.value)


def test_a_separator_of_no_tokens_is_refused(tokenizer):
    with pytest.raises(UserError, match="m: no token stands for the separator ''; say another separator"):
        StepEncoder(tokenizer, "", name="m")


def test_rows_are_counted_and_those_too_long_dropped(tokenizer, tmp_path):
    rows = [row(), row(labels=[True, 0.75]), row(completions=["a " * 60, "b"])]
    found, train, held_out = written(tokenizer, tmp_path, rows, max_length=60)
    assert (found.rows, found.trained, found.too_long, found.first) == (3, 2, 1, {"too_long": "f:1"})
    assert (found.steps, found.wrong_steps, found.wrong_rows, found.soft) == (4, 1, 1, 1)
    assert [one["labels"] for one in train] == [[1.0, 0.0], [1.0, 0.75]]
    assert held_out == []
    told = found.lines(60)
    assert told[0].startswith("3 rows: 2 to train on, 0 held out; ")
    assert told[1] == "warning: 1 rows are longer than 60 tokens and are dropped (first: f:1); --max-length"


def test_rows_that_are_held_out_share_no_prompt_with_the_others(tokenizer, tmp_path):
    rows = [row(prompt=f"What is {number % 40}?") for number in range(120)]
    found, train, held_out = written(tokenizer, tmp_path, rows, share=0.5)
    assert (found.trained, found.held_out) == (len(train), len(held_out))
    assert min(len(train), len(held_out)) > 20
    assert not {one["prompt"] for one in train} & {one["prompt"] for one in held_out}


def test_rows_of_another_source_are_held_out_as_they_are(tokenizer, tmp_path):
    found, train, held_out = written(tokenizer, tmp_path, [row()], [row(labels=[0.5, 0.5])], share=1.0)
    assert [one["labels"] for one in train + held_out] == [[1.0, 0.0], [0.5, 0.5]]
    assert (found.trained, found.held_out) == (1, 1)


def test_labels_that_are_all_alike_are_warned_of():
    assert "warning: all steps are right: nothing can be learnt" in StepPreflight(steps=3).lines(9)
    assert "warning: all steps are wrong: nothing can be learnt" in StepPreflight(steps=3, wrong_steps=3).lines(9)


def test_no_rows_are_refused(tokenizer, tmp_path):
    with pytest.raises(UserError, match="rows: no rows; give some"):
        written(tokenizer, tmp_path, [])
    with pytest.raises(UserError, match="rows: none of 1 rows is left to train on; raise --max-length"):
        written(tokenizer, tmp_path, [row()], max_length=3)
