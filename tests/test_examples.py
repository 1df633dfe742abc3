import json

import pytest

from r1kit.errors import UserError
from r1kit.examples import ExampleWriter, exchange_of, question_of, repair_format
from r1kit.jsonl import Record

SAID = " <think> 2 + 3 = 5. </think> <answer> 5 </answer>\n"
ROLLOUT = {"id": "p", "sample": 1, "prompt": "2 + 3?", "completion": SAID, "reward": 1, "language": "en"}
ORIGIN = {"id": "p", "sample": 1, "reward": 1.0, "kind": "math"}


def record(**fields):
    return Record(fields, "f:1")


def message(role, content):
    return {"role": role, "content": content}


TALK = [message("user", "Hi"), message("assistant", "Hello"), message("user", "2 + 3?")]


def rollout(**fields):
    return Record({**ROLLOUT, **fields}, "f:1")


def test_messages_hold_system_user_and_the_answer_without_blanks_around_it():
    assert ExampleWriter("messages").example(rollout(system="Be brief.")) == {
        "messages": [message("system", "Be brief."), message("user", "2 + 3?"), message("assistant", SAID.strip())],
        **ORIGIN,
    }


def test_texts_are_exactly_what_was_sampled():
    assert ExampleWriter("prompt-completion").example(rollout()) == {
        "prompt": "2 + 3?", "system": "", "language": "en", "completion": SAID, **ORIGIN,
    }  # fmt: skip


def test_every_row_has_the_same_columns_of_the_same_types():
    writer = ExampleWriter("prompt-completion")
    rows = [
        writer.example(rollout(reward=0.5, system="s")),
        writer.example(Record({k: v for k, v in ROLLOUT.items() if k != "language"}, "f:1")),
    ]
    assert list(rows[0]) == list(rows[1])
    assert [[type(value) for value in row.values()] for row in rows] == [[str, str, str, str, str, int, float, str]] * 2


def test_a_conversation_that_is_one_question_is_written_as_text():
    one = question_of(record(prompt=[message("system", "s"), message("user", "q")]))
    assert one == ("q", "s")
    assert question_of(record(prompt=[message("user", "q")])) == ("q", "")
    assert question_of(record(prompt="q", system="s")) == ("q", "s")
    assert one.messages() == [message("system", "s"), message("user", "q")]


def test_a_longer_conversation_stays_one_with_its_system_prompt():
    assert question_of(record(prompt=TALK, system="s")).messages() == [message("system", "s"), *TALK]
    row = ExampleWriter("prompt-completion").example(rollout(prompt=TALK))
    assert (row["prompt"], row["completion"]) == (TALK, [message("assistant", SAID)])


def test_texts_and_conversations_do_not_go_into_one_file():
    writer = ExampleWriter("prompt-completion")
    writer.example(rollout())
    with pytest.raises(UserError, match="f:1: some prompts are conversations and others are not; say --format message"):
        writer.example(rollout(prompt=TALK))


@pytest.mark.parametrize(
    ("completion", "repaired"),
    [
        ("one</think>two", "<think>\none</think>two"),
        ("\none</think>two", "<think>\none</think>two"),
        ("< think >one</ Think >two", "<think>one</think>two"),
        ("<think>one</think >\n< answer>2< / answer>", "<think>one</think>\n<answer>2</answer>"),
    ],
)
def test_lost_and_torn_tags_are_repaired_without_loss(completion, repaired):
    assert repair_format(completion) == repaired
    bare = "".join(completion.lower().split())
    assert "".join(repaired.split()) in (bare, f"<think>{bare}")


@pytest.mark.parametrize(
    "completion",
    [
        "<think>one</think>two",  # nothing to repair
        "no tags",
        "<think>never closed",
        "one</think>two</think>three",
        "one</think>",
        "</think>two",
        "first <think>one</think>two",
        "<think>one<think>two</think>three",
    ],
)
def test_what_no_lossless_repair_mends_stays(completion):
    assert repair_format(completion) is None
    row = ExampleWriter().example(rollout(completion=completion))
    assert row["messages"][-1]["content"] == completion


def test_repair_is_counted_and_can_be_left_out():
    for repair, said in ((True, "<think>\none</think>two"), (False, "one</think>two")):
        writer = ExampleWriter("messages", repair)
        assert writer.example(rollout(completion="one</think>two"))["messages"][-1]["content"] == said
        assert (writer.examples, writer.repaired, writer.well_formed) == (1, repair, repair)
    assert ExampleWriter("messages").lines() == []


def test_texts_are_never_repaired():
    writer = ExampleWriter("prompt-completion")
    assert writer.example(rollout(completion="one</think>two"))["completion"] == "one</think>two"
    assert writer.lines() == ["  <think>…</think> and then text: 0 of 1 rows"]


def test_pairs_are_written_in_either_form_and_not_repaired():
    chosen, rejected = rollout(completion="one</think>two"), rollout(completion=" bad ", sample=2)
    row = ExampleWriter("messages").pair(chosen, rejected, 0.5)
    assert row == {
        "prompt": [message("user", "2 + 3?")],
        "chosen": [message("assistant", "one</think>two")],
        "rejected": [message("assistant", "bad")],
        **ORIGIN, "rejected_sample": 2, "margin": 0.5,
    }  # fmt: skip
    row = ExampleWriter("prompt-completion").pair(chosen, rejected, 0.5)
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("2 + 3?", "one</think>two", " bad ")


def test_steps_need_a_text():
    assert ExampleWriter().steps(rollout(), ["a"], [True]) == {
        "prompt": "2 + 3?", "completions": ["a"], "labels": [True], **ORIGIN,
    }  # fmt: skip
    with pytest.raises(UserError, match="f:1: a prompt of 3 messages is no text, which stepwise rows need; leave such"):
        ExampleWriter().steps(rollout(prompt=TALK), ["a"], [True])


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [message("system", "s"), message("user", "q"), message("assistant", "a")]},
        {"prompt": "q", "completion": "a", "system": "s"},
        {"prompt": [message("system", "s"), message("user", "q")], "completion": [message("assistant", "a")]},
        {"prompt": "q", "completion": [message("assistant", "a")], "system": "s"},
    ],
)
def test_examples_in_any_of_trls_columns_are_understood(row):
    assert exchange_of(record(**row)) == (("q", "s"), "a")


def test_other_examples_get_the_columns_of_rollouts_and_keep_their_text():
    other = record(messages=[message("user", "q"), message("assistant", " a</think>b ")], topic="cats")
    for form in ("messages", "prompt-completion"):
        writer = ExampleWriter(form)
        mine, theirs = writer.example(rollout()), writer.other_example(other)
        assert list(theirs) == list(mine)
        assert {key: theirs[key] for key in ("sample", "reward", "kind")} == {
            "sample": None, "reward": None, "kind": "general",
        }  # fmt: skip
        assert " a</think>b " in json.dumps(theirs)
        assert writer.examples == 1  # the report is of the rollouts alone
    assert theirs["id"] == writer.other_example(other)["id"]
    assert writer.other_example(record(prompt="q", completion="a", id=7))["id"] == "7"
    drawn = writer.other_example(record(prompt="q", completion="a", sample=3, reward=1.5))
    assert (drawn["sample"], drawn["reward"]) == (3, 1.5)


@pytest.mark.parametrize(
    ("row", "message_"),
    [
        ({"prompt": "q", "answer": "a"}, 'neither "messages" nor "prompt" and "completion"; mix in examples as TRL'),
        ({"text": "q"}, 'neither "messages" nor "prompt" and "completion"'),
        ({"messages": []}, "the prompt or messages are no list of messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "the prompt or messages are no list of mes"),
        ({"messages": [message("user", "q")]}, "does not end with an answer of the assistant; end each example with"),
        ({"messages": [message("assistant", "a")]}, "does not end with an answer of the assistant"),
    ],
)
def test_a_row_that_is_no_example_is_named(row, message_):
    with pytest.raises(UserError, match=f"f:1: {message_}"):
        exchange_of(record(**row))


def test_a_prompt_that_is_neither_text_nor_messages_is_named():
    for prompt in (7, [], ["q"], [{"role": "user"}]):
        with pytest.raises(UserError, match=r"f:1: the prompt or messages are no list of messages; write a text, or"):
            question_of(record(prompt=prompt))
