"""Preference pairs as rows of tokens, and what usually goes wrong with them, found before the first step.

A pair has the forms in which TRL publishes such data: texts or conversations, with the prompt in a column of its own or
within both sides. Each side is encoded as the reward model will read it (see `r1kit.rewards.model.rollout_text`).
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice, takewhile
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from r1kit.errors import Ungradable, UserError
from r1kit.jsonl import Record
from r1kit.records import Message, content_hash
from r1kit.rewards.model import rollout_text
from r1kit.row_files import HELD_OUT, TRAIN, WINDOW, RowFiles, chance, check_left

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SIDES = ("chosen", "rejected")


class PairRow(NamedTuple):
    """A pair as tokens, each side (T,); by how much its rewards shall differ; a number that its prompt is known by."""

    chosen_ids: list[int]
    rejected_ids: list[int]
    margin: float
    prompt: int


class Sides(NamedTuple):
    """Both sides of a pair as rollouts, and what their prompt is known by."""

    chosen: Record
    rejected: Record
    prompt: str


@dataclass
class PairPreflight:
    """What the pairs of a run came to; those that are dropped are counted."""

    rows: int = 0
    trained: int = 0
    held_out: int = 0
    too_long: int = 0
    tokens: int = 0  # of both sides, and
    shared_tokens: int = 0  # of their common beginnings, which are computed once
    longest: int = 0  # side
    chosen_longer: int = 0  # of the pairs that are trained on, and
    chosen_shorter: int = 0
    margins: int = 0  # pairs that say one
    first: dict[str, str] = field(default_factory=dict)  # the place of the first row of each kind
    data_hash: str = ""

    def lines(self, max_length: int, margin: float) -> list[str]:
        """Return the report as text; what is wrong comes as a warning."""
        told = [
            f"{self.rows} pairs: {self.trained} to train on, {self.held_out} held out; {self.tokens:,} tokens, "
            f"{self.shared_tokens / max(1, self.tokens):.0%} of them once for both sides; the longest side has "
            f"{self.longest}; the chosen one is longer in {self.chosen_longer} pairs, shorter in {self.chosen_shorter}"
        ]
        if self.too_long:
            told.append(
                f"warning: {self.too_long} pairs have a side of more than {max_length} tokens and are dropped (first: "
                f"{self.first['too_long']}); --max-length"
            )
        if self.margins and not margin:
            told.append(f"note: {self.margins} pairs say a margin, which counts with --margin 1")
        return told

    def as_json(self) -> dict[str, Any]:
        """Return the counts as JSON fields."""
        return asdict(self)


@dataclass(frozen=True)
class PairEncoder:
    """How pairs become tokens.

    Attributes:
        style: "raw" for plain text; else the chat template writes them, where there is one.
        margin: how many times the margin of a pair counts; 0: not at all, and it need not be there.
    """

    tokenizer: "PreTrainedTokenizerBase"
    style: str
    margin: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether a pair is encoded as plain text."""
        return self.style == "raw" or self.tokenizer.chat_template is None

    def encode(self, records: Iterable[Record]) -> Iterator[tuple[Record, PairRow]]:
        """Yield each pair with its tokens.

        Raises:
            UserError: a row is no pair, or its sides are equal.
        """
        rest = iter(records)
        while window := list(islice(rest, WINDOW)):
            pairs = [sides_of(record, self.is_plain) for record in window]
            written = [self._text(side) for pair in pairs for side in (pair.chosen, pair.rejected)]
            ids = iter(self.tokenizer(written, add_special_tokens=self.is_plain)["input_ids"])
            for record, pair in zip(window, pairs, strict=True):
                yield record, self._row(record, pair, next(ids), next(ids))

    def _text(self, side: Record) -> str:
        try:
            return rollout_text(side, self.tokenizer, self.style)[0]
        except Ungradable as why:
            raise UserError(side.place, str(why), "say --prompt-style, or give --chat-template FILE") from None

    def _row(self, record: Record, pair: Sides, chosen: list[int], rejected: list[int]) -> PairRow:
        if chosen == rejected:
            raise UserError(record.place, "chosen and rejected are equal", "leave such pairs out")
        margin = self.margin * margin_of(record) if self.margin else 0.0
        return PairRow(chosen, rejected, margin, int(pair.prompt, 16) >> 1)


def sides_of(record: Record, plain: bool) -> Sides:
    """Return both sides of a pair.

    plain: whether whole texts without a prompt are understood.

    Raises:
        UserError: a side is missing, or neither text nor a conversation; or the prompt is, or cannot be told.
    """
    chosen, rejected = (record.need(side, "a pair has prompt, chosen and rejected") for side in SIDES)
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _texts(record, plain)
    if isinstance(chosen, str) or isinstance(rejected, str):
        what = "of chosen and rejected one is a text, the other is none"
        raise UserError(record.place, what, "write texts in both, or lists of messages")
    talks = [_conversation(record, side) for side in SIDES]
    shared = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(*talks, strict=False))]
    if not shared:
        what = "chosen and rejected do not share their beginning, and there is no prompt"
        raise UserError(record.place, what, "give both sides the same prompt")
    system = record.get("system")
    sides = [_side(record, talk[:-1], talk[-1]["content"]) for talk in talks]
    return Sides(sides[0], sides[1], content_hash([system, shared]))


def _texts(record: Record, plain: bool) -> Sides:
    """Return a pair of texts, which follow the prompt or, in plain text, hold it."""
    prompt = record.get("prompt")
    if not prompt and not plain:
        what = 'no "prompt", and texts that hold it do not fit a chat template'
        raise UserError(record.place, what, "give each pair its prompt, or say --prompt-style raw")
    if prompt and not isinstance(prompt, str):
        _messages(record, "prompt")
    sides = [_side(record, prompt or "", record[side]) for side in SIDES]
    known_by = [record.get("system"), prompt] if prompt else [record[side] for side in SIDES]
    return Sides(sides[0], sides[1], content_hash(known_by))


def _side(record: Record, prompt: str | list[Message], completion: str) -> Record:
    system = {"system": record["system"]} if record.get("system") else {}
    return Record({"prompt": prompt, "completion": completion, **system}, record.place)


def _conversation(record: Record, side: str) -> list[Message]:
    """Return a side with its prompt as messages, the last of them the assistant's."""
    messages, prompt = _messages(record, side), record.get("prompt")
    if messages[-1]["role"] != "assistant":
        what = f"{side} does not end with an answer of the assistant"
        raise UserError(record.place, what, "end both sides with one")
    if not prompt:
        return messages
    asked: list[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else []
    asked = asked or _messages(record, "prompt")
    holds_it = asked[-1]["role"] == "user" and messages[0]["role"] != "assistant"
    return messages if holds_it else asked + messages


def _messages(record: Record, name: str) -> list[Message]:
    value = record[name]
    messages = value if isinstance(value, list) else []
    texts = [isinstance(m, dict) and isinstance(m.get(key), str) for m in messages for key in ("role", "content")]
    if not messages or not all(texts):
        remedy = 'write texts in all columns, or [{"role": …, "content": …}, …] with texts'
        raise UserError(record.place, f"{name} is neither text nor a list of messages", remedy)
    return messages


def margin_of(record: Record) -> float:
    """Return by how much the rewards of a pair differ: its margin, else the difference of its scores.

    Raises:
        UserError: it has neither, or one that is no number.
    """
    names = ("margin",) if record.get("margin") is not None else ("score_chosen", "score_rejected")
    for name in names:
        value = record.get(name)
        if value is None:
            what = 'neither "margin" nor "score_chosen" and "score_rejected"'
            raise UserError(record.place, what, "leave out --margin")
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise UserError(record.place, f"{name} is no number", "give a number, or leave out --margin")
    return record["margin"] if len(names) == 1 else record["score_chosen"] - record["score_rejected"]


def shared_length(chosen: list[int], rejected: list[int]) -> int:
    """Return how many tokens both sides begin with, at least one of each left over."""
    most = min(len(chosen), len(rejected)) - 1
    if chosen[:most] == rejected[:most]:
        return most
    return next(place for place in range(most) if chosen[place] != rejected[place])


def write_pairs(
    records: Iterable[Record],
    held_out: Iterable[Record] | None,
    encoder: PairEncoder,
    folder: Path,
    max_length: int,
    held_out_share: float,
    seed: int,
) -> PairPreflight:
    """Write the rows of pairs into a folder, those to train on and those held out; return what they came to.

    held_out: pairs that are held out; None: of the others a share, by prompt, so that no prompt is on both sides.

    Raises:
        UserError: a row is no pair, or none is left to train on.
    """
    import pyarrow as pa

    ids = pa.list_(pa.int32())
    files = RowFiles(folder, {"chosen_ids": ids, "rejected_ids": ids, "margin": pa.float64(), "prompt": pa.int64()})
    found, digest = PairPreflight(), hashlib.blake2b(digest_size=8)
    for record, row in encoder.encode(records):
        digest.update(content_hash(record).encode())
        out = held_out is None and chance(seed, row.prompt) < held_out_share
        if _check_row(record, row, max_length, found):
            files.add(HELD_OUT if out else TRAIN, row)
            _count(row, out, found)
    for record, row in encoder.encode(held_out or ()):
        if _check_row(record, row, max_length, found):
            files.add(HELD_OUT, row)
            _count(row, True, found)
    files.close()
    found.data_hash = digest.hexdigest()
    check_left(found, "pairs", "pairs")
    return found


def _check_row(record: Record, row: PairRow, max_length: int, found: PairPreflight) -> bool:
    """Count a row; tell whether it is kept."""
    found.rows += 1
    found.margins += record.get("margin") is not None
    if max(len(row.chosen_ids), len(row.rejected_ids)) <= max_length:
        return True
    found.first.setdefault("too_long", record.place)
    found.too_long += 1
    return False


def _count(row: PairRow, held_out: bool, found: PairPreflight) -> None:
    chosen, rejected = len(row.chosen_ids), len(row.rejected_ids)
    found.held_out += held_out
    found.trained += not held_out
    found.tokens += chosen + rejected
    found.shared_tokens += shared_length(row.chosen_ids, row.rejected_ids)
    found.longest = max(found.longest, chosen, rejected)
    if not held_out:
        found.chosen_longer += chosen > rejected
        found.chosen_shorter += chosen < rejected
