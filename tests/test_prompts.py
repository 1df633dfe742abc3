import pytest

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.model import load_model
from r1kit.prompts import default_style, encode_prompt, render_prompt


@pytest.fixture(scope="module")
def tokenizer():
    return load_model("base")[1]


def problem(**fields):
    return Record({"id": "1", "prompt": "What is 1 + 2?", **fields}, "f:1")


def test_r1_zero_is_the_papers_template(tokenizer):
    text = render_prompt(problem(), "r1-zero", tokenizer)
    assert text.startswith("A conversation between User and Assistant. The user asks a question,")
    assert text.endswith("<answer> answer here </answer>. User: What is 1 + 2? Assistant:")


def test_chat_uses_the_models_template_and_the_system_prompt(tokenizer):
    text = render_prompt(problem(system="Be brief."), "chat", tokenizer)
    assert text == "Be brief.\nUser: What is 1 + 2?\nAssistant:"


def test_cot_asks_for_steps_in_the_problems_language(tokenizer):
    assert "1 + 2? Let's think step by step.\n" in render_prompt(problem(), "cot", tokenizer)
    assert "让我们一步一步地思考。" in render_prompt(problem(language="zh"), "cot", tokenizer)


def test_raw_is_the_prompt_itself(tokenizer):
    assert render_prompt(problem(), "raw", tokenizer) == "What is 1 + 2?"


def test_chat_messages_are_a_prompt(tokenizer):
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "?"},
    ]
    text = render_prompt(problem(prompt=messages), "chat", tokenizer)
    assert text == "User: Hi\nAssistant: Yes<|endoftext|>\nUser: ?\nAssistant:"
    assert render_prompt(problem(prompt=messages[:1]), "raw", tokenizer) == "Hi"
    with pytest.raises(UserError, match="f:1: a prompt of 3 messages does not fit r1-zero"):
        render_prompt(problem(prompt=messages), "r1-zero", tokenizer)


def test_chat_without_a_template_names_the_remedy(tokenizer):
    template, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        with pytest.raises(UserError, match="use r1-zero or raw"):
            render_prompt(problem(), "chat", tokenizer)
        assert default_style({}, tokenizer) == "r1-zero"
    finally:
        tokenizer.chat_template = template


def test_a_models_card_decides_its_style(tokenizer):
    assert default_style({"prompt_style": "raw"}, tokenizer) == "raw"
    assert default_style({}, tokenizer) == "chat"


def test_the_papers_preamble_costs_one_token(tokenizer):
    assert len(encode_prompt(problem(), "r1-zero", tokenizer)) < 20
