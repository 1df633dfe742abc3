"""Prompt styles: how a problem becomes the text that a model continues."""

from typing import TYPE_CHECKING, Literal, get_args

from r1kit.errors import UserError
from r1kit.jsonl import Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PromptStyle = Literal["r1-zero", "chat", "cot", "raw"]
STYLES: tuple[PromptStyle, ...] = get_args(PromptStyle)

# DeepSeek-R1 (arXiv 2501.12948), table 1
R1_ZERO_PREAMBLE = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, "
    "i.e., <think> reasoning process here </think> <answer> answer here </answer>."
)
# "Let's think step by step": Kojima et al. 2022 (arXiv 2205.11916), table 1
STEP_BY_STEP = {"en": " Let's think step by step.", "zh": "让我们一步一步地思考。"}


def encode_prompt(problem: Record, style: PromptStyle, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the token ids (T,) that the model is to continue.

    A chat template writes its own special tokens; the other styles get those that the tokenizer adds.

    Raises:
        UserError: the style does not fit the problem or the tokenizer.
    """
    text = render_prompt(problem, style, tokenizer)
    return tokenizer(text, add_special_tokens=takes_special_tokens(style))["input_ids"]


def takes_special_tokens(style: PromptStyle) -> bool:
    """Tell whether the tokenizer adds its special tokens: a chat template has written them already."""
    return style not in ("chat", "cot")


def render_prompt(problem: Record, style: PromptStyle, tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the exact text of the prompt in one of `STYLES`.

    r1-zero: the template of DeepSeek-R1's table 1. chat: the model's chat template. cot: the chat template, with
    "think step by step" after the question, in the problem's language. raw: the prompt as it stands.
    """
    prompt = problem["prompt"]
    if style == "raw":
        return _question(problem, style)
    if style == "r1-zero":
        return f"{R1_ZERO_PREAMBLE} User: {_question(problem, style)} Assistant:"
    if tokenizer.chat_template is None:
        raise UserError("--prompt-style", f"{style} needs a chat template, which the model lacks", "use r1-zero or raw")
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    if problem.get("system"):
        messages.insert(0, {"role": "system", "content": problem["system"]})
    if style == "cot":
        ask = STEP_BY_STEP.get(problem.get("language", "en"), STEP_BY_STEP["en"])
        messages[-1] = {**messages[-1], "content": messages[-1]["content"] + ask}
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def _question(problem: Record, style: PromptStyle) -> str:
    """Return the prompt as one text; of chat messages, only a single one from the user has one."""
    prompt = problem["prompt"]
    if isinstance(prompt, str):
        return prompt
    if len(prompt) != 1:
        raise UserError(
            problem.place, f"a prompt of {len(prompt)} messages does not fit {style}", "use --prompt-style chat"
        )
    return prompt[0]["content"]


def default_style(card: dict[str, object], tokenizer: "PreTrainedTokenizerBase") -> PromptStyle:
    """Return the style that a model is prompted in: as its r1kit.json says, else chat where it has a template."""
    style = card.get("prompt_style")
    if style in STYLES:
        return style
    return "chat" if tokenizer.chat_template is not None else "r1-zero"
