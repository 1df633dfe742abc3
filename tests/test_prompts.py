import pytest
from conftest import write_jsonl

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.model import load_tokenizer
from r1kit.prompts import STYLES, Prompting, chat_messages, default_style, encode_prompt, read_examples, render_prompt


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("base")


def problem(**fields):
    return Record({"id": "1", "prompt": "What is 1 + 2?", **fields}, "f:1")


def render(tokenizer, style, asked=None, **fields):
    return render_prompt(asked or problem(), Prompting(style, **fields), tokenizer)


def test_r1_zero_is_the_papers_template(tokenizer):
    text = render(tokenizer, "r1-zero")
    assert text.startswith("A conversation between User and Assistant. The user asks a question,")
    assert text.endswith("<answer> answer here </answer>. User: What is 1 + 2? Assistant:")


def test_chat_uses_the_models_template_and_the_problems_system_prompt(tokenizer):
    text = render(tokenizer, "chat", problem(system="Be brief."))
    assert text == "Be brief.\nUser: What is 1 + 2?\nAssistant:"


def test_a_system_prompt_is_for_problems_that_have_none(tokenizer):
    assert render(tokenizer, "chat", system="Be kind.") == "Be kind.\nUser: What is 1 + 2?\nAssistant:"
    assert render(tokenizer, "chat", problem(system="Be brief."), system="Be kind.").startswith("Be brief.\n")
    for style in ("r1-zero", "raw"):
        with pytest.raises(UserError, match=f"--system: {style} has no system prompt; use --prompt-style chat"):
            Prompting(style, system="Be kind.")


def test_cot_asks_for_steps_in_the_problems_language(tokenizer):
    assert "1 + 2? Let's think step by step.\n" in render(tokenizer, "cot")
    assert "让我们一步一步地思考。" in render(tokenizer, "cot", problem(language="zh"))
    assert "step by step" not in render(tokenizer, "chat")


def test_boxed_asks_for_a_box_in_the_words_of_r1s_authors(tokenizer):
    asked = "1 + 2?\nPlease reason step by step, and put your final answer within \\boxed{}.\nAssistant:"
    assert render(tokenizer, "boxed").endswith(asked)
    assert render(tokenizer, "boxed", system="Be kind.").startswith("Be kind.\n")
    zh = "1 + 2?\n请通过逐步推理来解答问题，并把最终答案放置于\\boxed{}中。\nAssistant:"
    assert render(tokenizer, "boxed", problem(language="zh")).endswith(zh)
    assert render(tokenizer, "boxed", problem(language="de")).endswith(asked)


def test_raw_is_the_prompt_itself(tokenizer):
    assert render(tokenizer, "raw") == "What is 1 + 2?"


@pytest.mark.parametrize("style", STYLES)
def test_a_prefill_is_the_end_of_the_prompt(tokenizer, style):
    begun = render(tokenizer, style, prefill="<think>\n")
    space = " " if style == "r1-zero" else ""  # as between the words of its template
    assert begun == render(tokenizer, style) + space + "<think>\n"


def test_examples_are_shown_before_the_question(tokenizer):
    shown = (("2 + 2?", "4"),)
    assert render(tokenizer, "raw", examples=shown) == "2 + 2?4\n\nWhat is 1 + 2?"
    assert render(tokenizer, "r1-zero", examples=shown).endswith(
        "</answer>. User: 2 + 2? Assistant: 4 User: What is 1 + 2? Assistant:"
    )
    asked = problem(prompt=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 2?"}])
    assert [(m["role"], m["content"]) for m in chat_messages(asked, Prompting("cot", examples=shown))] == [
        ("system", "Be brief."),
        ("user", "2 + 2?"),
        ("assistant", "4"),
        ("user", "1 + 2? Let's think step by step."),
    ]
    assert asked["prompt"][1]["content"] == "1 + 2?"


def test_examples_are_read_from_a_file(tmp_path):
    rows = [{"question": "2 + 2?", "answer": 4}, {"prompt": "3 + 3?", "completion": "It is 6.", "answer": "6"}]
    path = write_jsonl(tmp_path / "shots.jsonl", rows)
    assert read_examples(str(path)) == (("2 + 2?", "4"), ("3 + 3?", "It is 6."))
    write_jsonl(path, [{"prompt": "2 + 2?"}])
    with pytest.raises(UserError, match=r'shots.jsonl:1: no "answer"; an example needs a completion or an answer'):
        read_examples(str(path))


def test_chat_messages_are_a_prompt(tokenizer):
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "?"},
    ]
    text = render(tokenizer, "chat", problem(prompt=messages))
    assert text == "User: Hi\nAssistant: Yes<|endoftext|>\nUser: ?\nAssistant:"
    assert render(tokenizer, "raw", problem(prompt=messages[:1])) == "Hi"
    with pytest.raises(UserError, match="f:1: a prompt of 3 messages does not fit r1-zero"):
        render(tokenizer, "r1-zero", problem(prompt=messages))


def test_chat_without_a_template_names_the_remedy(tokenizer):
    template, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        with pytest.raises(UserError, match="use r1-zero or raw"):
            render(tokenizer, "chat")
        assert default_style({}, tokenizer) == "r1-zero"
    finally:
        tokenizer.chat_template = template


def test_a_models_card_decides_its_style(tokenizer):
    assert default_style({"prompt_style": "raw"}, tokenizer) == "raw"
    assert default_style({}, tokenizer) == "chat"


def test_the_papers_preamble_costs_one_token(tokenizer):
    assert len(encode_prompt(problem(), Prompting("r1-zero"), tokenizer)) < 20
