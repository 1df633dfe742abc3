"""Reward model: the score that a sequence-classification model with one label gives a completion."""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

from r1kit.classifier import load_classifier
from r1kit.errors import Ungradable, UsageError, UserError
from r1kit.model import read_card, window_of
from r1kit.rewards.score_cache import ScoreCache

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH_TOKENS = 8192  # rows x longest row of a batch
FILL = 16  # tokens; a row is filled up to a multiple of them

_ANSWER_TAG = re.compile(r"</?answer>")


class RewardModel:
    """A model's raw score of a rollout: any real number, higher is better, comparable within one model only."""

    def __init__(
        self,
        folder: str,
        *,
        text: Literal["whole", "final"] = "whole",
        batch_tokens: int = BATCH_TOKENS,
        dtype: str = "float32",
    ):
        """Load the model of a folder or hub name, on the GPU where there is one.

        text: "whole" scores the completion as it is, "final" only what follows the reasoning (see `final_text`).
        Source: DeepSeek-R1 (arXiv 2501.12948), section "Model-based Rewards" of the RL for all scenarios: helpfulness
        is judged on the final summary alone, harmlessness on the entire response.

        Raises:
            UserError: it is no sequence-classification model with one label and safetensors weights.
        """
        if text not in ("whole", "final"):
            raise UsageError("model.text", f'"{text}" is no part of a completion', "say whole or final")
        self.folder, self.text, self.batch_tokens = folder, text, batch_tokens
        self._model, self._tokenizer = load_classifier(folder, "sequence", 1, dtype)
        self._limit = longest_input(self._model, self._tokenizer)
        self._style = read_card(folder).get("prompt_style")
        self._known: ScoreCache[float | Ungradable] = ScoreCache()

    def scores(self, rollouts: Sequence[Mapping[str, Any]]) -> list[float | Ungradable]:
        """Return the score of each rollout, in order; an Ungradable stands where there is none, and says why.

        A text is scored once in a run. Rollouts of like length share a batch; the scores are those of one at a time
        within float tolerance. Which others are scored along changes none, on a CPU not in the last bit.

        Raises:
            UserError: the model's chat template drops a part of the completion.
        """
        results: dict[int, float | Ungradable] = {}
        texts: dict[int, tuple[str, bool]] = {}
        for row, rollout in enumerate(rollouts):
            try:
                texts[row] = rollout_text(rollout, self._tokenizer, self._style, self.text, self.folder)
            except Ungradable as why:
                results[row] = why
        rows = list(texts)
        keys = [(text,) for text, _ in texts.values()]
        scores = self._known.scores(keys, lambda places: self._read([texts[rows[place]] for place in places]))
        results |= dict(zip(rows, scores, strict=True))
        return [results[row] for row in range(len(rollouts))]

    def _read(self, texts: list[tuple[str, bool]]) -> list[float | Ungradable]:
        """Return the scores of texts, each with whether the tokenizer is to add its special tokens: all, or none."""
        results: dict[int, float | Ungradable] = {}
        encoded: dict[int, list[int]] = {}
        many = self._tokenizer([text for text, _ in texts], add_special_tokens=texts[0][1])["input_ids"]
        for row, ids in enumerate(many):
            try:
                encoded[row] = within_limit(ids, self._limit, self.folder)
            except Ungradable as why:
                results[row] = why
        for width, rows in self._batches({row: len(ids) for row, ids in encoded.items()}):
            for row, score in zip(rows, self._forward([encoded[row] for row in rows], width), strict=True):
                results[row] = score if isfinite(score) else Ungradable(f"the reward model's score is {score}")
        return [results[row] for row in range(len(texts))]

    def encode(self, rollout: Mapping[str, Any]) -> list[int]:
        """Return the token ids (T,) of a rollout, encoded as the model was trained (see `encode_rollout`)."""
        return encode_rollout(rollout, self._tokenizer, self._style, self.text, self.folder)

    def _batches(self, lengths: Mapping[int, int]) -> Iterator[tuple[int, list[int]]]:
        """Yield width and rows of batches; a model that names no pad token cannot tell where a padded row ends."""
        if pad_id(self._model) is None:
            return ((length, [row]) for row, length in lengths.items())
        return filled_batches(lengths, self._limit, self.batch_tokens)

    def _forward(self, rows: list[list[int]], width: int) -> list[float]:
        """Return the scores (B,) of rows of token ids."""
        return forward(self._model, rows, width)[:, 0].tolist()


def encode_rollout(
    rollout: Mapping[str, Any],
    tokenizer: "PreTrainedTokenizerBase",
    style: str | None = None,
    text: Literal["whole", "final"] = "whole",
    name: str = "the model",
) -> list[int]:
    """Return the token ids (T,) of a rollout as TRL's RewardTrainer encodes its examples (see `rollout_text`)."""
    written, special = rollout_text(rollout, tokenizer, style, text, name)
    return tokenizer(written, add_special_tokens=special)["input_ids"]


def rollout_text(
    rollout: Mapping[str, Any],
    tokenizer: "PreTrainedTokenizerBase",
    style: str | None = None,
    text: Literal["whole", "final"] = "whole",
    name: str = "the model",
) -> tuple[str, bool]:
    """Return what a reward model reads of a rollout, and whether the tokenizer is to add its special tokens.

    The conversation in the model's chat template; or prompt, completion and the end token as plain text where there is
    no template, or where the style is "raw".

    Args:
        style: prompt_style of the model's r1kit.json.
        text: "whole" is the completion as it is, "final" only what follows the reasoning.
        name: of the model, for errors.

    Raises:
        Ungradable: the model cannot be given such a prompt.
        UserError: the chat template drops a part of the completion.
    """
    completion = rollout["completion"] if text == "whole" else final_text(rollout["completion"])
    if tokenizer.chat_template is None or style == "raw":
        plain = single_prompt(rollout) + completion
        end = tokenizer.eos_token or ""
        return plain if plain.endswith(end) else plain + end, True
    rendered = render(tokenizer, [*conversation(rollout), {"role": "assistant", "content": completion}])
    if not _holds(rendered, completion):
        remedy = "say --reward-arg model.text=final" if text == "whole" else "use another template"
        raise UserError(name, "its chat template drops a part of the completion", remedy)
    return rendered, False


def final_text(completion: str) -> str:
    """Return what follows the reasoning: the text after the last </think>, <answer> tags taken off.

    All of it where there are no think tags; a <think> that is never closed takes all that follows it.
    """
    rest = completion.rpartition("</think>")[2].partition("<think>")[0]
    return _ANSWER_TAG.sub("", rest).strip()


def conversation(rollout: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a rollout's prompt as chat messages, its system message first."""
    prompt = rollout["prompt"]
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    system = rollout.get("system")
    return [{"role": "system", "content": system}, *messages] if system else messages


def single_prompt(rollout: Mapping[str, Any]) -> str:
    """Return a rollout's prompt as one text.

    Raises:
        Ungradable: it is a conversation of several messages.
    """
    prompt = rollout["prompt"]
    if isinstance(prompt, str):
        return prompt
    if len(prompt) != 1:
        raise Ungradable(f"a prompt of {len(prompt)} messages, and a model without a chat template")
    return prompt[0]["content"]


def render(tokenizer: "PreTrainedTokenizerBase", messages: list[dict[str, str]]) -> str:
    """Return a conversation in the tokenizer's chat template.

    Raises:
        Ungradable: the template takes no such conversation.
    """
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(messages, tokenize=False)
    except TemplateError as error:
        raise Ungradable(f"the chat template refuses the conversation ({error})") from None


def _holds(text: str, part: str) -> bool:
    """Tell whether a text holds a part; templates may change the white space."""
    return "".join(part.split()) in "".join(text.split())


def longest_input(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return how many tokens a model can read."""
    return min(window_of(model) or tokenizer.model_max_length, tokenizer.model_max_length)


def within_limit(ids: list[int], limit: int, name: str) -> list[int]:
    """Return token ids (T,) as they are.

    Raises:
        Ungradable: there are none, or more than `limit`: a cut text is another text.
    """
    if not ids:
        raise Ungradable("an empty text")
    if len(ids) > limit:
        raise Ungradable(f"longer than the {limit} tokens that {name} reads")
    return ids


def batches(lengths: Mapping[int, int], budget: int) -> Iterator[list[int]]:
    """Yield the rows of each batch, longest first; rows x longest row stays within `budget` tokens, one row may not.

    lengths: row to tokens.
    """
    batch: list[int] = []
    for row in sorted(lengths, key=lambda row: (-lengths[row], row)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def filled_batches(lengths: Mapping[int, int], limit: int, budget: int) -> Iterator[tuple[int, list[int]]]:
    """Yield a width in tokens and the rows of a batch of that width, which a row's own length decides.

    Rows too long to be filled up share no batch with others: attention adds up in another order where there is nothing
    to mask.

    Args:
        lengths: row to tokens.
        limit: the most tokens that the model reads.
        budget: tokens of a batch.
    """
    kinds = {row: (min(-(-(n + 1) // FILL) * FILL, limit), n == limit) for row, n in lengths.items()}
    for width, full in sorted(set(kinds.values()), reverse=True):
        alike = {row: width for row, kind in kinds.items() if kind == (width, full)}
        yield from ((width, rows) for rows in batches(alike, budget))


def pad_id(model: "PreTrainedModel") -> int | None:
    """Return the id of the token that fills rows up, None where the model names none."""
    return model.config.get_text_config().pad_token_id


def forward(model: "PreTrainedModel", rows: list[list[int]], width: int | None = None) -> "torch.Tensor":
    """Return a classifier's logits, float32 on the CPU: (B, labels), or (B, T, labels) of a token classifier.

    Rows are filled up on the right, where a causal model does not look: to `width` tokens, or to the longest.
    """
    import torch

    width, pad = width or max(map(len, rows)), pad_id(model) or 0
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=model.device)
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).logits.float().cpu()
