"""Prompts: how a problem becomes the text, or the chat messages, that a model continues."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from r1kit.errors import UsageError, UserError
from r1kit.jsonl import Record, read_records
from r1kit.records import Message, as_problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PromptStyle = Literal["r1-zero", "chat", "cot", "boxed", "raw"]
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
# DeepSeek-R1's README, "Usage Recommendations"; in Chinese DeepSeekMath's (github.com/deepseek-ai/DeepSeek-Math)
IN_A_BOX = {
    "en": "\nPlease reason step by step, and put your final answer within \\boxed{}.",
    "zh": "\n请通过逐步推理来解答问题，并把最终答案放置于\\boxed{}中。",
}
ASKED = {"cot": STEP_BY_STEP, "boxed": IN_A_BOX}  # what a style puts after the question, by language


@dataclass(frozen=True)
class Prompting:
    """How prompts are written."""

    style: PromptStyle
    system: str | None = None  # where the problem has none of its own; chat, cot and boxed
    prefill: str = ""  # the beginning of every completion, written for the model
    examples: tuple[tuple[str, str], ...] = ()  # few-shot: prompts and what is said to them

    def __post_init__(self) -> None:
        if self.system is not None and not self.is_chat:
            raise UsageError("--system", f"{self.style} has no system prompt", "use --prompt-style chat, cot or boxed")

    @property
    def is_chat(self) -> bool:
        """Whether a chat template writes the prompt, and with it the special tokens."""
        return self.style in ("chat", "cot", "boxed")


def encode_prompt(problem: Record, prompting: Prompting, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the token ids (T,) that the model is to continue.

    A chat template writes its own special tokens; the other styles get those that the tokenizer adds.

    Raises:
        UserError: the style does not fit the problem or the tokenizer.
    """
    text = render_prompt(problem, prompting, tokenizer)
    return tokenizer(text, add_special_tokens=not prompting.is_chat)["input_ids"]


def encode_prefix(
    problem: Record, completion: str, length: int, prompting: Prompting, tokenizer: "PreTrainedTokenizerBase"
) -> tuple[list[int], str]:
    """Return the tokens of a prompt and of the first `length` characters of its completion, and what these say.

    They are those of the whole completion, cut where a token ends: a token that reaches past the length is left out.

    Raises:
        UserError: as `encode_prompt` does.
    """
    text = render_prompt(problem, replace(prompting, prefill=completion), tokenizer)
    found = tokenizer(text, add_special_tokens=not prompting.is_chat, return_offsets_mapping=True)
    start = len(text) - len(completion)  # of the completion; within its leading blanks, the style may write others
    count = next(n for n, (_, end) in enumerate([*found["offset_mapping"], (0, len(text) + 1)]) if end > start + length)
    kept = found["offset_mapping"][count - 1][1] if count else 0
    return found["input_ids"][:count], completion[: max(0, kept - start)]


def render_prompt(problem: Record, prompting: Prompting, tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the exact text of the prompt in one of `STYLES`, with the prefill at its end.

    r1-zero: the template of DeepSeek-R1's table 1. chat: the model's chat template. cot: the chat template, with
    "think step by step" after the question, in the problem's language. boxed: in the same way, with the words that R1's
    authors ask for a final answer in a box. raw: the prompt as it stands.
    """
    if not prompting.is_chat:
        return plain_prompt(problem, prompting)
    if tokenizer.chat_template is None:
        what = f"{prompting.style} needs a chat template, which the model lacks"
        raise UserError("--prompt-style", what, "use r1-zero or raw")
    messages = chat_messages(problem, prompting)
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + prompting.prefill


def plain_prompt(problem: Record, prompting: Prompting) -> str:
    """Return a prompt of style r1-zero or raw, few-shot examples before it, with the prefill at its end."""
    turns = [*prompting.examples, (_question(problem, prompting.style), prompting.prefill)]
    if prompting.style == "raw":
        return "\n\n".join(question + said for question, said in turns)
    told = [(question, said and join_completion(said, "r1-zero")) for question, said in turns]
    return R1_ZERO_PREAMBLE + "".join(f" User: {question} Assistant:{said}" for question, said in told)


def join_completion(said: str, style: PromptStyle) -> str:
    """Return what is said to a prompt of style r1-zero or raw, as it follows the prompt's text."""
    return f" {said.lstrip(' ')}" if style == "r1-zero" else said


def chat_messages(problem: Record, prompting: Prompting) -> list[Message]:
    """Return the messages of style chat, cot or boxed: system prompt, few-shot examples, then the problem's own."""
    prompt = problem["prompt"]
    asked: list[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    system = problem.get("system") or prompting.system
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    if not messages and asked[0]["role"] == "system":
        messages.append(asked.pop(0))
    for question, said in prompting.examples:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": said}]
    messages += asked
    if prompting.style in ASKED:
        asks = ASKED[prompting.style]
        ask = asks.get(problem.get("language", "en"), asks["en"])
        messages[-1] = {**messages[-1], "content": messages[-1]["content"] + ask}
    return messages


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


def read_examples(path: str) -> tuple[tuple[str, str], ...]:
    """Return the few-shot examples of a JSON Lines file: prompts, and what is said to them (completion, else answer).

    Raises:
        UserError: a row lacks one of them, or its prompt is no text.
    """
    examples = []
    for row in map(as_problem, read_records(path)):
        said = row.get("completion") or row.need("answer", "an example needs a completion or an answer")
        if not isinstance(row["prompt"], str):
            raise UserError(row.place, "the prompt is no text", "give an example one question and one completion")
        examples.append((row["prompt"], str(said)))
    return tuple(examples)


def default_style(card: dict[str, object], tokenizer: "PreTrainedTokenizerBase") -> PromptStyle:
    """Return the style that a model is prompted in: as its r1kit.json says, else chat where it has a template."""
    style = card.get("prompt_style")
    if style in STYLES:
        return style
    return "chat" if tokenizer.chat_template is not None else "r1-zero"
