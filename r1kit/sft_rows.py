"""Training examples as rows of tokens, and what usually goes wrong with them, found before the first step."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.prompts import Prompting, join_completion, render_prompt
from r1kit.records import content_hash
from r1kit.row_files import HELD_OUT, TRAIN, WINDOW, RowFiles, chance, check_left

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNTRAINED = -100  # label of a token that the loss leaves out
TooLong = Literal["drop", "cut"]


class TokenRow(NamedTuple):
    """An example as tokens (T,), and the label (T,) of each: the token itself, or UNTRAINED."""

    input_ids: list[int]
    labels: list[int]


@dataclass
class Preflight:
    """What the examples of a run came to; rows that are dropped are counted under the first reason."""

    rows: int = 0
    trained: int = 0
    held_out: int = 0
    too_long: int = 0
    untrained: int = 0  # no token to train on
    endless: int = 0  # no end token among the tokens that are trained on
    tokens: int = 0
    trained_tokens: int = 0
    longest: int = 0
    first: dict[str, str] = field(default_factory=dict)  # the place of the first row of each kind
    data_hash: str = ""

    def lines(self, max_length: int, long: TooLong) -> list[str]:
        """Return the report as text; what is wrong comes as a warning."""
        share = self.trained_tokens / self.tokens if self.tokens else 0
        told = [
            f"{self.rows} examples: {self.trained} to train on, {self.held_out} held out; {self.tokens:,} tokens, "
            f"{share:.0%} of them trained on; the longest row has {self.longest}"
        ]
        done = "dropped" if long == "drop" else "cut, so that they do not end"
        if self.too_long:
            told.append(
                f"warning: {self.too_long} rows are longer than {max_length} tokens and {done} (first: "
                f"{self.first['too_long']}); --max-length, --too-long"
            )
        if self.untrained:
            told.append(
                f"warning: {self.untrained} rows have no token to train on and are dropped (first: "
                f"{self.first['untrained']})"
            )
        if self.endless:
            told.append(
                f"warning: in {self.endless} rows no end token is trained on, so that the model may not learn to stop "
                f"(first: {self.first['endless']})"
            )
        return told

    def as_json(self) -> dict[str, Any]:
        """Return the counts as JSON fields."""
        return asdict(self)


@dataclass(frozen=True)
class Encoder:
    """How examples become tokens: by a tokenizer, in a prompt style.

    Attributes:
        ends: tokens that end a completion.
    """

    tokenizer: "PreTrainedTokenizerBase"
    prompting: Prompting
    ends: frozenset[int]

    def encode(self, records: Iterable[Record]) -> Iterator[tuple[Record, TokenRow]]:
        """Yield each example with its tokens.

        Raises:
            UserError: a row is no example, or the chat template cannot say what of it is the assistant's.
        """
        rest = iter(records)
        while window := list(islice(rest, WINDOW)):
            texts = [self._texts(record) for record in window]
            plain = [pair for pair in texts if not isinstance(pair, TokenRow)]
            prompts = self._tokens([prompt for prompt, _ in plain], not self.prompting.is_chat)
            completions = self._tokens([completion for _, completion in plain], False)
            joined = map(self._join, prompts, completions)
            for record, text in zip(window, texts, strict=True):
                yield record, text if isinstance(text, TokenRow) else next(joined)

    def _tokens(self, texts: list[str], special: bool) -> list[list[int]]:
        return self.tokenizer(texts, add_special_tokens=special)["input_ids"] if texts else []

    def _join(self, prompt: list[int], completion: list[int]) -> TokenRow:
        """Return a prompt and a completion that is trained on, with an end token where it has none."""
        ended = next((place for place, token in enumerate(completion) if token in self.ends), None)
        completion = [*completion, self.tokenizer.eos_token_id] if ended is None else completion[: ended + 1]
        return _unseen_first(TokenRow([*prompt, *completion], [UNTRAINED] * len(prompt) + completion))

    def _texts(self, record: Record) -> tuple[str, str] | TokenRow:
        """Return prompt and completion as texts; as tokens where the chat template marks several answers."""
        messages = record.get("messages")
        if messages is None:
            prompt, completion = record.get("prompt"), record.get("completion")
            if prompt is None or completion is None:
                what = 'neither "messages" nor "prompt" and "completion"'
                raise UserError(record.place, what, "r1kit reject-sample writes such rows")
            if isinstance(completion, str):
                return render_prompt(record, self.prompting, self.tokenizer), completion
            asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
            messages = [*asked, *completion]
        _check_messages(record, messages)
        if not self.prompting.is_chat:
            return self._plain(record, messages)
        if sum(message["role"] == "assistant" for message in messages) == 1 and messages[-1]["role"] == "assistant":
            return self._last_answer(record, messages)
        return self._marked(record, messages)

    def _plain(self, record: Record, messages: list[dict[str, Any]]) -> tuple[str, str]:
        """Return a question and its answer in a style that has no turns."""
        turns = [message for message in messages if message["role"] != "system"]
        if [turn["role"] for turn in turns] != ["user", "assistant"]:
            what = f"messages of {len(turns)} turns do not fit the prompt style {self.prompting.style}"
            raise UserError(record.place, what, "say --prompt-style chat")
        problem = record.derive(prompt=turns[0]["content"])
        prompt = render_prompt(problem, self.prompting, self.tokenizer)
        return prompt, join_completion(turns[1]["content"], self.prompting.style)

    def _last_answer(self, record: Record, messages: list[dict[str, Any]]) -> tuple[str, str]:
        """Return what the template writes before the only answer, and what it writes from there on."""
        prompt = self.tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        whole = self.tokenizer.apply_chat_template(messages, tokenize=False)
        if not whole.startswith(prompt):
            what = "the chat template writes the prompt otherwise once an answer follows"
            raise UserError(record.place, what, "give --chat-template FILE, or rows of prompt and completion as text")
        _check_kept(record, messages[-1]["content"], whole)
        return prompt, whole[len(prompt) :]

    def _marked(self, record: Record, messages: list[dict[str, Any]]) -> TokenRow:
        """Return the tokens of a talk, of which those within the template's generation markers are trained on."""
        template = _marked_template(record, self.tokenizer)
        found = self.tokenizer.apply_chat_template(
            messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, chat_template=template
        )
        ids, mask = found["input_ids"], found["assistant_masks"]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, chat_template=template)
        for message in messages:
            if message["role"] == "assistant":
                _check_kept(record, message["content"], text)
        length = max((place + 1 for place, trained in enumerate(mask) if trained), default=0)
        labels = [token if trained else UNTRAINED for token, trained in zip(ids, mask, strict=True)]
        return _unseen_first(TokenRow(ids[:length], labels[:length]))


def _unseen_first(row: TokenRow) -> TokenRow:
    """Return a row whose first token, which nothing predicts, has no label."""
    return TokenRow(row.input_ids, [UNTRAINED, *row.labels[1:]] if row.labels else [])


def _check_messages(record: Record, messages: Any) -> None:
    if not (isinstance(messages, list) and messages and all(isinstance(m, dict) for m in messages)):
        raise UserError(record.place, "messages is no list of messages", 'write [{"role": …, "content": …}, …]')
    for message in messages:
        if not (isinstance(message.get("role"), str) and isinstance(message.get("content"), str)):
            raise UserError(record.place, "a message lacks role or content", "each needs both, as text")


def _check_kept(record: Record, answer: str, text: str) -> None:
    """Refuse a template that drops an answer's reasoning, as some do."""
    reasoning, closed, _ = answer.partition("</think>")
    if closed and reasoning.removeprefix("<think>").strip() not in text:
        what = "the chat template drops the reasoning of the answer"
        raise UserError(record.place, what, "give --chat-template FILE, or rows of prompt and completion as text")


def _marked_template(record: Record, tokenizer: "PreTrainedTokenizerBase") -> str | None:
    """Return a template with generation markers where the tokenizer's own has none, None where it has."""
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    if has_generation_markers(tokenizer.chat_template):
        return None
    try:
        return get_training_chat_template(tokenizer)
    except ValueError:
        what = "several answers, and the chat template has no {% generation %} markers to tell them by"
        raise UserError(record.place, what, "give a --chat-template with them, or rows with one answer") from None


def write_rows(
    records: Iterable[Record],
    encoder: Encoder,
    folder: Path,
    max_length: int,
    long: TooLong,
    held_out_share: float,
    seed: int,
) -> Preflight:
    """Write the rows of examples into a folder, those to train on and those held out; return what they came to.

    Raises:
        UserError: a row is no example, or none is left to train on.
    """
    import pyarrow as pa

    ids = pa.list_(pa.int32())
    files = RowFiles(folder, {"input_ids": ids, "labels": ids})
    found, digest = Preflight(), hashlib.blake2b(digest_size=8)
    for record, row in encoder.encode(records):
        digest.update(content_hash(record).encode())
        kept = _check_row(record, row, encoder.ends, max_length, long, found)
        if kept is not None:
            out = chance(seed, found.rows) < held_out_share
            files.add(HELD_OUT if out else TRAIN, kept)
            found.trained += not out
            found.held_out += out
    files.close()
    found.data_hash = digest.hexdigest()
    check_left(found, "examples")
    return found


def _check_row(
    record: Record, row: TokenRow, ends: frozenset[int], max_length: int, long: TooLong, found: Preflight
) -> TokenRow | None:
    """Return a row as it is trained on, None where it is dropped; count it."""

    def note(kind: str) -> None:
        found.first.setdefault(kind, record.place)
        setattr(found, kind, getattr(found, kind) + 1)

    found.rows += 1
    if len(row.input_ids) > max_length:
        note("too_long")
        if long == "drop":
            return None
        row = TokenRow(row.input_ids[:max_length], row.labels[:max_length])
    trained = [label for label in row.labels if label != UNTRAINED]
    if not trained:
        note("untrained")
        return None
    if not ends.intersection(trained):
        note("endless")
    found.tokens += len(row.input_ids)
    found.trained_tokens += len(trained)
    found.longest = max(found.longest, len(row.input_ids))
    return row
