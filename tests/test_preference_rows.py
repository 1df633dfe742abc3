"""What preference pairs become as tokens, in every form in which they are published, and what is refused."""
# ruff: noqa: E501 (whole messages)

import pytest
from conftest import write_jsonl

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.model import load_tokenizer
from r1kit.preference_rows import PairEncoder, shared_length, write_pairs
from r1kit.reward_model import read_sources

USER = {"role": "user", "content": "What is 2 + 3?"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("It is 5.", "6"))
CHAT = ("User: What is 2 + 3?\nAssistant: It is 5.<|endoftext|>\n", "User: What is 2 + 3?\nAssistant: 6<|endoftext|>\n")


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("base")


def encode(tokenizer, row, style="chat", margin=0.0):
    [(_, pair)] = PairEncoder(tokenizer, style, margin).encode([Record(row, "pairs.jsonl:1")])
    return pair


def texts(tokenizer, row, style="chat"):
    pair = encode(tokenizer, row, style)
    return tokenizer.decode(pair.chosen_ids), tokenizer.decode(pair.rejected_ids)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": USER["content"], "chosen": "It is 5.", "rejected": "6"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": USER["content"], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [USER], "chosen": "It is 5.", "rejected": "6"},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": USER["content"], "chosen": [USER, GOOD], "rejected": [USER, BAD], "score_chosen": 9.0},
        {"prompt": [USER], "chosen": [USER, GOOD], "rejected": [USER, BAD]},
    ],
    ids=["texts", "conversations", "text prompt", "conversation prompt", "implicit", "ultrafeedback", "prompt twice"],
)
def test_every_published_form_is_the_same_conversation(tokenizer, row):
    assert texts(tokenizer, row) == CHAT


def test_each_side_is_encoded_as_the_reward_model_reads_it(tokenizer, tiny_folder):
    from r1kit.rewards.model import encode_rollout

    row = {"prompt": "What is 2 + 3?", "system": "Be brief.", "chosen": "5", "rejected": "six"}
    for style in ("chat", "raw"):
        pair = encode(tokenizer, row, style)
        expected = [
            encode_rollout({**row, "completion": row[side]}, tokenizer, style) for side in ("chosen", "rejected")
        ]
        assert [pair.chosen_ids, pair.rejected_ids] == expected


def test_plain_texts_are_joined_and_end_as_trl_makes_them(tokenizer):
    row = {"prompt": "2 + 3 = ", "chosen": "5", "rejected": "6<|endoftext|>"}
    assert texts(tokenizer, row, "raw") == ("2 + 3 = 5<|endoftext|>", "2 + 3 = 6<|endoftext|>")
    whole = {"chosen": "2 + 3 = 5", "rejected": "2 + 3 = 6"}
    assert texts(tokenizer, whole, "raw") == ("2 + 3 = 5<|endoftext|>", "2 + 3 = 6<|endoftext|>")


def test_conversations_may_part_before_their_last_turn(tokenizer):
    more = [{"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes."}]
    chosen, rejected = texts(tokenizer, {"chosen": [USER, GOOD, *more], "rejected": [USER, BAD, *more]})
    assert chosen.endswith("It is 5.<|endoftext|>\nUser: Sure?\nAssistant: Yes.<|endoftext|>\n")
    assert rejected.endswith("Assistant: 6<|endoftext|>\nUser: Sure?\nAssistant: Yes.<|endoftext|>\n")


def test_what_a_search_for_pairs_writes_is_understood(tokenizer):
    from r1kit.examples import ExampleWriter

    rollouts = [
        Record(
            {
                "id": "1",
                "prompt": "What is 2 + 3?",
                "sample": n,
                "completion": text,
                "reward": float(n),
                "verdict": "wrong",
            },
            "s:1",
        )
        for n, text in enumerate(("6", "It is 5."))
    ]
    for form in ("messages", "prompt-completion"):
        row = ExampleWriter(form).pair(rollouts[1], rollouts[0], 1.0)
        assert texts(tokenizer, row) == CHAT
        assert encode(tokenizer, row, margin=2.0).margin == 2.0


def test_a_margin_counts_where_it_is_asked_for(tokenizer):
    row = {"prompt": "a", "chosen": "b", "rejected": "c"}
    assert encode(tokenizer, {**row, "margin": 0.5}).margin == 0
    assert encode(tokenizer, {**row, "margin": 0.5}, margin=2).margin == 1
    assert encode(tokenizer, {**row, "score_chosen": 8, "score_rejected": 6.5}, margin=1).margin == 1.5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "chosen": "b"}, 'no "rejected"; a pair has prompt, chosen and rejected'),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "chosen and rejected are equal; leave such pairs out"),
        ({"chosen": "b", "rejected": "c"}, 'no "prompt", and texts that hold it do not fit a chat template; give each pair its prompt, or say --prompt-style raw'),
        ({"prompt": "a", "chosen": 5, "rejected": 6}, 'chosen is neither text nor a list of messages; write texts in all columns, or [{"role": …, "content": …}, …] with texts'),
        ({"prompt": 5, "chosen": "b", "rejected": "c"}, 'prompt is neither text nor a list of messages; write texts in all columns, or [{"role": …, "content": …}, …] with texts'),
        ({"prompt": "a", "chosen": [GOOD], "rejected": "c"}, "of chosen and rejected one is a text, the other is none; write texts in both, or lists of messages"),
        ({"chosen": [USER, GOOD], "rejected": [{"role": "user", "content": "Hi"}, BAD]}, "chosen and rejected do not share their beginning, and there is no prompt; give both sides the same prompt"),
        ({"chosen": [USER, GOOD], "rejected": [USER]}, "rejected does not end with an answer of the assistant; end both sides with one"),
    ],
)  # fmt: skip
def test_what_is_no_pair_is_refused_in_one_line(tokenizer, row, message):
    with pytest.raises(UserError) as raised:
        encode(tokenizer, row)
    assert str(raised.value) == f"pairs.jsonl:1: {message}"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, 'neither "margin" nor "score_chosen" and "score_rejected"; leave out --margin'),
        ({"margin": "high"}, "margin is no number; give a number, or leave out --margin"),
    ],
)
def test_a_margin_that_is_asked_for_must_be_there(tokenizer, fields, message):
    with pytest.raises(UserError) as raised:
        encode(tokenizer, {"prompt": "a", "chosen": "b", "rejected": "c", **fields}, margin=1)
    assert str(raised.value) == f"pairs.jsonl:1: {message}"


def test_plain_text_has_no_turns(tokenizer):
    with pytest.raises(UserError, match=r"pairs\.jsonl:1: a prompt of 2 messages, and a model without a chat template"):
        encode(tokenizer, {"prompt": [USER, GOOD], "chosen": "b", "rejected": "c"}, "raw")


def test_a_shared_beginning_leaves_a_token_of_each_side():
    assert shared_length([1, 2, 3], [1, 2, 4]) == 2
    assert shared_length([1, 2], [1, 2, 3]) == 1
    assert shared_length([1], [1, 2]) == 0
    assert shared_length([5, 2], [1, 2]) == 0


def write(tokenizer, folder, rows, held_out=None, share=0.0, longest=30, seed=0):
    made = [Record(row, f"pairs.jsonl:{number}") for number, row in enumerate(rows, start=1)]
    return write_pairs(made, held_out, PairEncoder(tokenizer, "chat"), folder, longest, share, seed)


def stored(folder, name):
    from datasets import Dataset

    return Dataset.from_file(str(folder / f"{name}.arrow"))


def pair(number, **fields):
    return {"prompt": f"What is {number} + 1?", "chosen": str(number + 1), "rejected": "no", **fields}


def test_pairs_with_a_side_that_is_too_long_are_dropped_and_said(tokenizer, tmp_path):
    found = write(tokenizer, tmp_path, [pair(1), pair(2, rejected="six " * 30), pair(3)])
    assert (found.rows, found.trained, found.too_long) == (3, 2, 1)
    assert (
        found.lines(30, 0)[1]
        == "warning: 1 pairs have a side of more than 30 tokens and are dropped (first: pairs.jsonl:2); --max-length"
    )
    assert len(stored(tmp_path, "train")) == 2
    with pytest.raises(
        UserError, match="pairs: none of 1 pairs is left to train on; raise --max-length, or give others"
    ):
        write(tokenizer, tmp_path, [pair(2, rejected="six " * 30)])
    with pytest.raises(UserError, match="pairs: no pairs; give some"):
        write(tokenizer, tmp_path, [])


def test_margins_that_do_not_count_are_said(tokenizer, tmp_path):
    found = write(tokenizer, tmp_path, [pair(1, margin=1.0)])
    assert found.lines(30, 0)[1] == "note: 1 pairs say a margin, which counts with --margin 1"
    assert len(found.lines(30, 1.0)) == 1


def test_a_share_of_the_prompts_is_held_out_whole_and_the_same_each_time(tokenizer, tmp_path):
    rows = [pair(number % 200, rejected=f"no {number}") for number in range(600)]
    found = write(tokenizer, tmp_path, rows, share=0.1)
    train, test = (set(stored(tmp_path, name)["prompt"][:]) for name in ("train", "held-out"))
    assert not train & test
    assert len(train | test) == 200
    assert 8 <= len(test) <= 35
    assert found.held_out == 3 * len(test)
    assert write(tokenizer, tmp_path, rows, share=0.1).data_hash == found.data_hash
    assert set(stored(tmp_path, "held-out")["prompt"][:]) == test


def test_pairs_that_are_given_to_measure_on_are_held_out(tokenizer, tmp_path):
    found = write(tokenizer, tmp_path, [pair(1), pair(2)], held_out=[Record(pair(3), "test.jsonl:1")], share=0.5)
    assert (found.trained, found.held_out) == (2, 1)
    assert found.data_hash == write(tokenizer, tmp_path, [pair(1), pair(2)]).data_hash


def test_lengths_are_counted_where_they_are_trained_on(tokenizer, tmp_path):
    found = write(
        tokenizer,
        tmp_path,
        [pair(1, rejected="no, it is not"), pair(2, chosen="it is 3, yes"), pair(3, chosen="yes it is")],
    )
    assert (found.chosen_longer, found.chosen_shorter) == (2, 1)


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "saved"])
def test_pairs_are_read_from_what_they_are_published_in(tmp_path, kind):
    import json

    from datasets import Dataset

    rows = [{"chosen": [USER, GOOD], "rejected": [USER, BAD], "score_chosen": 9.0, "score_rejected": 2.0}] * 2
    path = tmp_path / f"pairs.{kind}"
    if kind == "jsonl":
        write_jsonl(path, rows)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "parquet":
        Dataset.from_list(rows).to_parquet(str(path))
    else:
        Dataset.from_list(rows).save_to_disk(str(path))
    assert list(read_sources(str(path))) == rows
