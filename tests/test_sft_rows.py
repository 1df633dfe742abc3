"""What examples become as tokens, and what is found wrong with them before the first step."""
# ruff: noqa: E501 (whole messages)

import pytest
from conftest import write_jsonl

from r1kit.errors import UserError
from r1kit.jsonl import Record, read_records
from r1kit.model import load_tokenizer
from r1kit.prompts import Prompting
from r1kit.sft_rows import UNTRAINED, Encoder, write_rows

TURNS = [
    {"role": "user", "content": "What is 1 + 2?"},
    {"role": "assistant", "content": "<think> 1 + 2 = 3. </think> <answer> 3 </answer>"},
]
# turns that end in the end token, without generation markers
PLAIN_TEMPLATE = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
DROPS_REASONING = PLAIN_TEMPLATE.replace("{{ m.content }}", "{{ m.content.split('</think>')[-1] }}")
WRITES_OTHERWISE = PLAIN_TEMPLATE.replace(
    "{% if add_generation_prompt %}[assistant]", "{% if add_generation_prompt %}[asst]"
)


@pytest.fixture
def tokenizer():
    return load_tokenizer("base")


def encode(tokenizer, style="chat", **fields):
    encoder = Encoder(tokenizer, Prompting(style), frozenset([tokenizer.eos_token_id]))
    [(_, row)] = encoder.encode([Record(fields, "rows.jsonl:1")])
    return row


def parts(tokenizer, row):
    """Return the text of a row that is not trained on, and that which is."""
    trained = [token for token, label in zip(row.input_ids, row.labels, strict=True) if label != UNTRAINED]
    assert all(label in (token, UNTRAINED) for token, label in zip(row.input_ids, row.labels, strict=True))
    return tokenizer.decode(row.input_ids[: len(row.input_ids) - len(trained)]), tokenizer.decode(trained)


def test_a_completion_follows_the_prompt_that_the_model_would_be_given_and_ends(tokenizer):
    before, trained = parts(tokenizer, encode(tokenizer, "r1-zero", prompt="What is 1 + 2?", completion=" 3"))
    assert before.endswith(" User: What is 1 + 2? Assistant:")
    assert trained == " 3<|endoftext|>"


def test_tokens_of_a_prompt_are_those_of_sampling(tokenizer):
    row = encode(tokenizer, "raw", prompt="1 + 2 =", completion=" 3")
    prompt = tokenizer("1 + 2 =")["input_ids"]
    assert row.input_ids[: len(prompt)] == prompt


def test_what_follows_an_end_token_is_not_trained_on(tokenizer):
    _, trained = parts(tokenizer, encode(tokenizer, "raw", prompt="a", completion=" 3<|endoftext|> and more"))
    assert trained == " 3<|endoftext|>"


@pytest.mark.parametrize("form", ["messages", "prompt and completion"])
def test_of_a_chat_the_answer_and_its_end_are_trained_on(tokenizer, form):
    fields = {"messages": TURNS} if form == "messages" else {"prompt": TURNS[:1], "completion": TURNS[1:]}
    before, trained = parts(tokenizer, encode(tokenizer, **fields))
    assert before == "User: What is 1 + 2?\nAssistant:"
    assert trained == f" {TURNS[1]['content']}<|endoftext|>"


def test_messages_train_a_model_in_the_style_in_which_it_is_prompted(tokenizer):
    before, trained = parts(tokenizer, encode(tokenizer, "r1-zero", messages=TURNS))
    assert before.endswith(" User: What is 1 + 2? Assistant:")
    assert trained == f" {TURNS[1]['content']}<|endoftext|>"


def test_every_answer_of_a_talk_is_trained_on_by_the_templates_markers(tokenizer):
    row = encode(
        tokenizer, messages=[*TURNS, {"role": "user", "content": "And 2 + 2?"}, {"role": "assistant", "content": "4"}]
    )
    trained = [token for token in row.labels if token != UNTRAINED]
    assert tokenizer.decode(trained) == f" {TURNS[1]['content']}<|endoftext|> 4<|endoftext|>"


def test_a_template_without_markers_does_for_one_answer(tokenizer):
    tokenizer.chat_template = PLAIN_TEMPLATE
    before, trained = parts(tokenizer, encode(tokenizer, messages=TURNS))
    assert (before, trained) == ("[user]What is 1 + 2?[assistant]", f"{TURNS[1]['content']}<|endoftext|>")


@pytest.mark.parametrize(
    ("template", "fields", "message"),
    [
        (None, {"text": "a"}, 'rows.jsonl:1: neither "messages" nor "prompt" and "completion"; r1kit reject-sample writes such rows'),
        (None, {"prompt": "a"}, 'rows.jsonl:1: neither "messages" nor "prompt" and "completion"; r1kit reject-sample writes such rows'),
        (None, {"messages": "a"}, 'rows.jsonl:1: messages is no list of messages; write [{"role": …, "content": …}, …]'),
        (None, {"messages": [{"role": "user"}]}, "rows.jsonl:1: a message lacks role or content; each needs both, as text"),
        (PLAIN_TEMPLATE, {"messages": TURNS * 2}, "rows.jsonl:1: several answers, and the chat template has no {% generation %} markers to tell them by; give a --chat-template with them, or rows with one answer"),
        (DROPS_REASONING, {"messages": TURNS}, "rows.jsonl:1: the chat template drops the reasoning of the answer; give --chat-template FILE, or rows of prompt and completion as text"),
        (WRITES_OTHERWISE, {"messages": TURNS}, "rows.jsonl:1: the chat template writes the prompt otherwise once an answer follows; give --chat-template FILE, or rows of prompt and completion as text"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_on_is_refused_in_one_line(tokenizer, template, fields, message):
    tokenizer.chat_template = template or tokenizer.chat_template
    with pytest.raises(UserError) as raised:
        encode(tokenizer, **fields)
    assert str(raised.value) == message


def test_a_talk_does_not_fit_a_style_without_turns(tokenizer):
    with pytest.raises(
        UserError, match="messages of 4 turns do not fit the prompt style r1-zero; say --prompt-style chat"
    ):
        encode(tokenizer, "r1-zero", messages=TURNS * 2)


def write(tmp_path, rows, **settings):
    tokenizer = load_tokenizer("base")
    encoder = Encoder(tokenizer, Prompting("raw"), frozenset([tokenizer.eos_token_id]))
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    defaults = {"max_length": 100, "long": "drop", "held_out_share": 0.0, "seed": 0}
    return write_rows(read_records(str(path)), encoder, tmp_path / "rows", **{**defaults, **settings})


def stored(tmp_path, name="train"):
    from datasets import Dataset

    return Dataset.from_file(str(tmp_path / "rows" / f"{name}.arrow"))


LONG = {"prompt": "1 + 2", "completion": " 3" * 200}
SHORT = {"prompt": "1 + 2", "completion": " = 3"}


def test_rows_that_are_too_long_are_dropped_and_said(tmp_path):
    found = write(tmp_path, [SHORT, LONG, SHORT])
    assert (found.rows, found.trained, found.too_long) == (3, 2, 1)
    [_, warning] = found.lines(100, "drop")
    assert (
        warning
        == f"warning: 1 rows are longer than 100 tokens and dropped (first: {tmp_path}/rows.jsonl:2); --max-length, --too-long"
    )
    assert len(stored(tmp_path)) == 2


def test_rows_that_are_cut_are_said_not_to_end(tmp_path):
    found = write(tmp_path, [SHORT, LONG], long="cut")
    assert (found.trained, found.too_long, found.endless) == (2, 1, 1)
    assert [len(row) for row in stored(tmp_path)["input_ids"]][1] == 100
    assert "no end token is trained on, so that the model may not learn to stop" in found.lines(100, "cut")[2]


def test_a_row_with_nothing_to_train_on_is_dropped_and_said(tmp_path):
    found = write(tmp_path, [SHORT, {"prompt": "1 + 2" * 60, "completion": " 3"}], long="cut")
    assert (found.trained, found.untrained) == (1, 1)
    assert "1 rows have no token to train on and are dropped" in "\n".join(found.lines(100, "cut"))


def test_nothing_left_to_train_on_is_an_error(tmp_path):
    with pytest.raises(
        UserError, match="examples: none of 1 rows is left to train on; raise --max-length, or give others"
    ):
        write(tmp_path, [LONG])
    with pytest.raises(UserError, match="examples: no examples; give some"):
        write(tmp_path, [])


def test_a_share_is_held_out_the_same_each_time(tmp_path):
    rows = [{"prompt": f"{number} + 1", "completion": " = 3"} for number in range(400)]
    found = write(tmp_path, rows, held_out_share=0.1)
    first = stored(tmp_path, "held-out")["input_ids"][:]
    assert 20 <= found.held_out <= 60
    assert found.trained + found.held_out == 400
    again = write(tmp_path, rows, held_out_share=0.1)
    assert stored(tmp_path, "held-out")["input_ids"][:] == first
    assert again.data_hash == found.data_hash
    assert write(tmp_path, rows, held_out_share=0.1, seed=1).data_hash == found.data_hash
    assert stored(tmp_path, "held-out")["input_ids"][:] != first


def test_the_hash_of_the_examples_is_of_all_their_content(tmp_path):
    assert write(tmp_path, [SHORT]).data_hash != write(tmp_path, [{**SHORT, "completion": " = 4"}]).data_hash
