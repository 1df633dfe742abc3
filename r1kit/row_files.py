"""Rows of tokens on disk, those to train on and those held out: Arrow streams, which are read without being loaded."""

import hashlib
from pathlib import Path
from typing import Any

from r1kit.errors import UserError

TRAIN, HELD_OUT = "train", "held-out"
WINDOW = 512  # rows that are written together


class RowFiles:
    """The files of a run's rows, FOLDER/train.arrow and FOLDER/held-out.arrow, while they are written.

    columns: of a row, each its Arrow type.
    """

    def __init__(self, folder: Path, columns: dict[str, Any]):
        import pyarrow as pa

        folder.mkdir(parents=True, exist_ok=True)
        self._schema = pa.schema(list(columns.items()))
        self._files = {name: pa.ipc.new_stream(str(folder / f"{name}.arrow"), self._schema) for name in _NAMES}
        self._waiting: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _NAMES}

    def add(self, name: str, row: tuple[Any, ...]) -> None:
        """Write a row, its columns in order, into one of the files."""
        self._waiting[name].append(row)
        if len(self._waiting[name]) == WINDOW:
            self._flush(name)

    def close(self) -> None:
        """Write what waits, and close the files."""
        for name, file in self._files.items():
            self._flush(name)
            file.close()

    def _flush(self, name: str) -> None:
        import pyarrow as pa

        rows = self._waiting[name]
        columns = [pa.array([row[place] for row in rows], field.type) for place, field in enumerate(self._schema)]
        self._files[name].write_batch(pa.record_batch(columns, self._schema))
        rows.clear()


_NAMES = (TRAIN, HELD_OUT)


def check_left(found: Any, name: str, rows: str = "rows") -> None:
    """Hold a run to having rows to train on.

    Args:
        found: what the rows came to; it counts all `rows`, those `trained` on and those `too_long`.
        name: what is asked for.
        rows: what a row is called.

    Raises:
        UserError: none is left.
    """
    if not found.trained:
        what = f"none of {found.rows} {rows} is left to train on" if found.rows else f"no {name}"
        raise UserError(name, what, "raise --max-length, or give others" if found.too_long else "give some")


def chance(seed: int, key: object) -> float:
    """Return a number in [0, 1) that depends on a seed and on what a row is known by."""
    digest = hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
