"""Stepwise examples as rows of tokens, and what is wrong with them, found before the first step.

A row is TRL's: `prompt`, `completions` (the steps) and `labels`, one a step: true or false, or a probability.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.records import content_hash
from r1kit.rewards.process import encode_steps, separator_ids
from r1kit.row_files import HELD_OUT, TRAIN, RowFiles, chance, check_left

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COLUMNS = ("prompt", "completions", "labels")
RIGHT = 0.5  # a label above is that of a right step


class StepRow(NamedTuple):
    """A prompt and S steps as tokens (T,); where labels sit (S,), and these (S,), in [0, 1]; the prompt as a number."""

    input_ids: list[int]
    ends: list[int]
    labels: list[float]
    prompt: int


@dataclass
class StepPreflight:
    """What the stepwise rows of a run came to."""

    rows: int = 0
    trained: int = 0
    held_out: int = 0
    too_long: int = 0
    tokens: int = 0
    steps: int = 0
    wrong_steps: int = 0
    wrong_rows: int = 0  # with a wrong step
    soft: int = 0  # labels that are neither 0 nor 1
    longest: int = 0
    first: dict[str, str] = field(default_factory=dict)  # the place of the first row of each kind
    data_hash: str = ""

    def lines(self, max_length: int) -> list[str]:
        """Return the report as text; what is wrong comes as a warning."""
        steps = max(1, self.steps)
        told = [
            f"{self.rows} rows: {self.trained} to train on, {self.held_out} held out; {self.tokens:,} tokens, "
            f"{self.steps} steps, {self.wrong_steps / steps:.0%} of them wrong, {self.soft / steps:.0%} in between 0 "
            f"and 1; {self.wrong_rows} rows have a wrong step; the longest has {self.longest} tokens"
        ]
        if self.too_long:
            told.append(
                f"warning: {self.too_long} rows are longer than {max_length} tokens and are dropped (first: "
                f"{self.first['too_long']}); --max-length"
            )
        if self.wrong_steps in (0, self.steps):
            told.append(f"warning: all steps are {'wrong' if self.wrong_steps else 'right'}: nothing can be learnt")
        return told

    def as_json(self) -> dict[str, Any]:
        """Return the counts as JSON fields."""
        return asdict(self)


class StepEncoder:
    """Encodes stepwise rows as `ProcessRewardModel` reads them.

    Args:
        separator: what stands after each step.
        last_only: whether the last step alone keeps its label, as a model of outcomes needs it.
        name: of the model, for errors.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", separator: str, last_only: bool = False, name: str = ""):
        self.tokenizer, self.last_only = tokenizer, last_only
        self.separator = separator_ids(tokenizer, separator, name)

    def encode(self, record: Record) -> StepRow:
        """Return a stepwise row as tokens.

        Raises:
            UserError: it is none.
        """
        prompt, steps, labels = checked_row(record)
        ids, ends = encode_steps(self.tokenizer, prompt, steps, self.separator)
        kept = slice(-1, None) if self.last_only else slice(None)
        return StepRow(ids, ends[kept], labels[kept], int(content_hash(prompt), 16) >> 1)


def checked_row(record: Record) -> tuple[str, list[str], list[float]]:
    """Return the prompt, the steps and the labels of a stepwise row.

    Raises:
        UserError: there is no prompt or no step, or the labels are not one a step, true, false or in [0, 1].
    """
    prompt, steps, labels = (record.need(name, "a stepwise row has prompt, completions and labels") for name in COLUMNS)
    if not isinstance(prompt, str):
        raise UserError(record.place, "the prompt is no text", "write it as a text")
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise UserError(record.place, "completions is no list of texts", "write the steps, one text each")
    if not steps:
        raise UserError(record.place, "completions holds no steps", "leave such rows out")
    if not isinstance(labels, list) or len(labels) != len(steps):
        count = f"{len(labels)} labels" if isinstance(labels, list) else "labels that are no list"
        raise UserError(record.place, f"{count} for {len(steps)} steps", "give each step its label")
    strange = next((label for label in labels if not (isinstance(label, bool | int | float) and 0 <= label <= 1)), None)
    if strange is not None or None in labels:
        what = f"the label {strange!r} is neither true, false nor within 0 and 1"
        raise UserError(record.place, what, "write true or false, or the probability that the step is right")
    return prompt, steps, [float(label) for label in labels]


def write_steps(
    records: Iterable[Record],
    held_out: Iterable[Record] | None,
    encoder: StepEncoder,
    folder: Path,
    max_length: int,
    held_out_share: float,
    seed: int,
) -> StepPreflight:
    """Write stepwise rows into a folder, those to train on and those held out; return what they came to.

    held_out: rows that are held out; None: of the others a share, by prompt, so that no prompt is on both sides.

    Raises:
        UserError: a row is none, or none is left to train on.
    """
    import pyarrow as pa

    ids = pa.list_(pa.int32())
    files = RowFiles(folder, {"input_ids": ids, "ends": ids, "labels": pa.list_(pa.float32()), "prompt": pa.int64()})
    found, digest = StepPreflight(), hashlib.blake2b(digest_size=8)
    for record, known_out in chain(zip(records, repeat(False)), zip(held_out or (), repeat(True))):
        row = encoder.encode(record)
        digest.update(content_hash([record[name] for name in COLUMNS]).encode())
        out = known_out or (held_out is None and chance(seed, row.prompt) < held_out_share)
        if _count(record, row, out, max_length, found):
            files.add(HELD_OUT if out else TRAIN, row)
    files.close()
    found.data_hash = digest.hexdigest()
    check_left(found, "rows")
    return found


def _count(record: Record, row: StepRow, out: bool, max_length: int, found: StepPreflight) -> bool:
    """Count a row; tell whether it is kept."""
    found.rows += 1
    if len(row.input_ids) > max_length:
        found.first.setdefault("too_long", record.place)
        found.too_long += 1
        return False
    wrong = sum(label <= RIGHT for label in row.labels)
    found.held_out += out
    found.trained += not out
    found.tokens += len(row.input_ids)
    found.steps += len(row.labels)
    found.wrong_steps += wrong
    found.wrong_rows += wrong > 0
    found.soft += sum(0 < label < 1 for label in row.labels)
    found.longest = max(found.longest, len(row.input_ids))
    return True
