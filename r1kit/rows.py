"""Rows of local files and folders, read one after another: JSON Lines, JSON, CSV, Parquet, and what `datasets` saved.

JSON Lines, JSON and CSV may be compressed (.gz). A row is what the file says, as JSON has it. CSV and Parquet know no
field that is absent: an empty cell and a null are left out.
"""

import base64
import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from datetime import date, time
from decimal import Decimal
from json import JSONDecodeError, JSONDecoder
from math import isfinite
from pathlib import Path
from typing import IO, Any

from r1kit.errors import UserError
from r1kit.jsonl import STDIO, Record, parse_lines, read_records

PIECE = 1 << 20  # characters read at a time
BETWEEN = re.compile(r"[ \t\r\n,]*")  # two elements of an array
LARGEST_CELL = 1 << 30  # characters of a CSV file's cell


def read_rows(path: str, split: str | None = None) -> Iterator[Record]:
    """Yield the rows of a file, which its ending says how to read (else JSON Lines), or of a folder's split.

    Raises:
        UserError: it cannot be read; names the place.
    """
    if path != STDIO and Path(path).is_dir():
        return read_folder(path, split)
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".json": _read_json, ".parquet": _read_parquet}
    ending = Path(path.lower().removesuffix(".gz")).suffix
    return _readable(path, readers.get(ending, _read_lines if _is_compressed(path) else read_records))


def _is_compressed(path: str) -> bool:
    return path.lower().endswith(".gz")


def _open_text(path: str, newline: str | None = None) -> IO[str]:
    """Open a text file, compressed or not."""
    if _is_compressed(path):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline=newline)
    return open(path, encoding="utf-8-sig", newline=newline)


def _read_lines(path: str) -> Iterator[Record]:
    with gzip.open(path) as file:
        yield from parse_lines(file, path)


def _readable(path: str, read: Any) -> Iterator[Record]:
    try:
        yield from read(path)
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror or error})", "name a file, or - for stdin") from None
    except UnicodeDecodeError:
        raise UserError(path, "not UTF-8 text", "convert the file to UTF-8") from None
    except (EOFError, zlib.error) as error:
        raise UserError(path, f"cannot be unpacked ({error})", "fetch it anew, or compress it anew") from None


def _read_csv(path: str) -> Iterator[Record]:
    csv.field_size_limit(LARGEST_CELL)
    delimiter = "\t" if path.lower().removesuffix(".gz").endswith(".tsv") else ","
    with _open_text(path, newline="") as file:
        rows = csv.DictReader(file, delimiter=delimiter)
        for row in rows:
            place = f"{path}:{rows.line_num}"
            if None in row:
                raise UserError(
                    place, "has more cells than the first line has names", "put texts with commas in quotes"
                )
            yield Record({name: cell for name, cell in row.items() if cell}, place)


def _read_parquet(path: str) -> Iterator[Record]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            batches = file.iter_batches(batch_size=512)
            yield from plain_rows((row for batch in batches for row in batch.to_pylist()), path)
    except pyarrow.ArrowException as error:
        what = f"not a Parquet file that can be read ({str(error).splitlines()[0]})"
        raise UserError(path, what, "write it anew") from None


def read_folder(path: str, split: str | None) -> Iterator[Record]:
    """Yield the rows of a folder that `save_to_disk` of `datasets` wrote, or of one that holds data files.

    Raises:
        UserError: it holds none, or not the split.
    """
    from datasets import Dataset, load_from_disk

    from r1kit.hub import stream_set

    folder = Path(path)
    if not (folder / "dataset_dict.json").exists() and not (folder / "dataset_info.json").exists():
        yield from plain_rows(stream_set(path, None, split), path)
        return
    saved = load_from_disk(path)
    if not isinstance(saved, Dataset):
        name = split or ("train" if "train" in saved else next(iter(saved)))
        if name not in saved:
            raise UserError(path, f'has no split "{name}"', f"it has {', '.join(saved)}")
        saved = saved[name]
    yield from plain_rows(saved.to_iterable_dataset(), path)


def plain_rows(rows: Iterable[dict[str, Any]], name: str) -> Iterator[Record]:
    """Yield rows of Python objects as records of what JSON has, nulls left out."""
    for number, row in enumerate(rows, start=1):
        yield Record({key: plain(value) for key, value in row.items() if value is not None}, f"{name}: row {number}")


def plain(value: Any) -> Any:
    """Return a value as JSON has it: dates, decimals and what it does not know as text, bytes as base64, no NaN."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)


def _read_json(path: str) -> Iterator[Record]:
    """Yield the objects of an array, read piece by piece; of {"data": […]}, which is read whole; or of JSON Lines."""
    with _open_text(path) as file:
        first = next(filter(None, (line.strip() for line in file)), "")
        file.seek(0)
        if first.startswith("["):
            yield from _read_array(file, path)
            return
        if _is_object(first):
            yield from _read_lines(path) if _is_compressed(path) else read_records(path)
            return
        try:
            content = json.load(file) if first else {"data": []}
        except JSONDecodeError as error:
            raise UserError(f"{path}:{error.lineno}", f"not JSON ({error.msg})", "mend the file") from None
    rows = content.get("data") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise UserError(path, 'holds neither an array nor {"data": […]}', "write JSON Lines: one object a line")
    yield from _objects(rows, path)


def _is_object(line: str) -> bool:
    """Tell whether a line is a JSON object of its own, and not the first key of a file that is one."""
    try:
        content = json.loads(line)
    except (JSONDecodeError, RecursionError):
        return False
    return isinstance(content, dict) and not isinstance(content.get("data"), list)


def _read_array(file: IO[str], path: str) -> Iterator[Record]:
    yield from _objects(_elements(file, path), path)


def _objects(elements: Iterable[Any], path: str) -> Iterator[Record]:
    for number, element in enumerate(elements, start=1):
        if not isinstance(element, dict):
            raise UserError(f"{path}: row {number}", "not a JSON object", "each element must be one")
        yield Record(element, f"{path}: row {number}")


def _elements(file: IO[str], path: str) -> Iterator[Any]:
    """Yield the elements of a JSON array; holds one of them at a time, and a piece of text."""
    decode = JSONDecoder(parse_constant=lambda name: None).raw_decode
    text, at, number = "", -1, 0
    while at < 0:
        text += file.read(PIECE)
        at = text.find("[") + 1 or -1
    while True:
        at = BETWEEN.match(text, at).end()  # type: ignore[union-attr]
        if text.startswith("]", at):
            return
        try:
            element, end = decode(text, at)
            if end == len(text):  # a number may go on
                raise JSONDecodeError("cut off", text, end)
        except JSONDecodeError as error:
            more = file.read(max(PIECE, len(text) - at))
            if not more:
                raise UserError(f"{path}: row {number + 1}", f"not JSON ({error.msg})", "mend the file") from None
            text, at = text[at:] + more, 0
            continue
        number, at = number + 1, end
        yield element
