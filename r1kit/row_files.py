"""Rows of tokens on disk, those to train on and those held out: Arrow streams, which are read without being loaded."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1kit.errors import UserError
from r1kit.live import say
from r1kit.processes import is_main, share

if TYPE_CHECKING:
    from datasets import Dataset

ROWS, PREFLIGHT = "rows", "examples.json"  # of a run folder: its rows while it trains, and what they came to
TRAIN, HELD_OUT = _NAMES = "train", "held-out"
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


def keep_rows(write: Callable[[], Any], told: Callable[[Any], list[str]], folder: Path) -> dict[str, Any]:
    """Have the main process write the rows of a run, say what they came to, and return it.

    Args:
        write: writes the rows and returns their report.
        told: the report as text.
        folder: of the run.

    Raises:
        UserError: a row cannot be used, none is left, or the run to resume had others.
    """
    if is_main():
        try:
            found = write()
            say(*told(found))
            _keep_report(folder / PREFLIGHT, found)
        except BaseException:  # a run that never began leaves its settings alone
            remove_rows(folder)
            raise
    share(None)  # the rows are there
    return json.loads((folder / PREFLIGHT).read_text(encoding="utf-8"))


def _keep_report(path: Path, found: Any) -> None:
    """Write what the rows of a run came to, or hold it to what an earlier start wrote."""
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["data_hash"] != found.data_hash:
            what = f"the run has {before['rows']} other examples than these {found.rows}"
            raise UserError(str(path.parent), what, "resume with the same examples, or say --overwrite")
    path.write_text(json.dumps(found.as_json(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def open_rows(folder: Path) -> "tuple[Dataset, Dataset]":
    """Return the rows of a run folder, to train on and held out, which stay on disk."""
    from datasets import Dataset

    train, held_out = (Dataset.from_file(str(folder / ROWS / f"{name}.arrow")) for name in _NAMES)
    return train, held_out


def remove_rows(folder: Path) -> None:
    """Remove the rows of a run that ended."""
    for path in (folder / ROWS).glob("*.arrow"):
        path.unlink()
    (folder / ROWS).rmdir()
