"""Records in and out: JSON Lines from files and stdin, streamed, to stdout or to a file that is whole or not there."""

import json
import os
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from r1kit.errors import UserError

STDIO = "-"
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode  # json.dumps makes one for each record


class Record(dict[str, Any]):
    """A JSON object that knows where it was read: `place` is "FILE:LINE"."""

    def __init__(self, fields: dict[str, Any], place: str):
        super().__init__(fields)
        self.place = place

    def derive(self, **fields: Any) -> "Record":
        """Return a copy with `fields` set, from the same place."""
        return Record({**self, **fields}, self.place)

    def need(self, field: str, remedy: str) -> Any:
        """Return a field's value.

        Raises:
            UserError: the field is missing or null; names the place and the remedy.
        """
        if self.get(field) is None:
            raise UserError(self.place, f'no "{field}"', remedy)
        return self[field]


def read_records(*paths: str) -> Iterator[Record]:
    """Yield the records of JSON Lines files one after another; "-" is stdin, empty lines are passed over.

    Raises:
        UserError: a file cannot be read, or a line is not one JSON object.
    """
    for path in paths or (STDIO,):
        if path == STDIO:
            with open(0, "rb", closefd=False) as file:  # not sys.stdin, which a thread may not hold when Python ends
                yield from parse_lines(file, "<stdin>")
            continue
        try:
            with open(path, "rb") as file:
                yield from parse_lines(file, path)
        except OSError as error:
            what = f"cannot be read ({error.strerror})"
            raise UserError(path, what, "name a JSON Lines file, or - for stdin") from None


def parse_lines(file: Iterable[bytes], name: str) -> Iterator[Record]:
    """Yield the records of an open JSON Lines file; empty lines are passed over.

    Raises:
        UserError: a line is not one JSON object.
    """
    for number, line in enumerate(file, start=1):  # bytes: a line that is no UTF-8 does not hide those before it
        if line.strip():
            yield _parse_line(line, f"{name}:{number}")


def _parse_line(line: bytes, place: str) -> Record:
    try:
        fields = json.loads(line.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise UserError(place, "not UTF-8 text", "convert the file to UTF-8") from None
    except json.JSONDecodeError as error:
        what = f"not JSON ({error.msg}, column {error.pos + 1})"
        raise UserError(place, what, "each line must be one JSON object") from None
    except ValueError as error:
        raise UserError(place, f"not JSON ({error})", "each line must be one JSON object") from None
    except RecursionError:
        raise UserError(place, "nested too deep", "each line must be one JSON object") from None
    if not isinstance(fields, dict):
        raise UserError(place, "not a JSON object", "each line must be one JSON object")
    return Record(fields, place)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def to_line(record: dict[str, Any]) -> str:
    """Return a record as one line of JSON, with its line end; NaN and infinity are refused."""
    return _encode(record) + "\n"


def write_records(records: Iterator[dict[str, Any]], output: str) -> int:
    """Write records as they come, each flushed, to stdout ("-") or to a file; return how many.

    Where writing fails, what makes the records is ended first.

    A file is written as OUTPUT.part and renamed once whole, so that a failed run leaves the old file as it was and
    keeps what was done in the part file.
    """
    with open_output(output) as file, ending(records):
        count = 0
        for record in records:
            file.write(to_line(record))
            file.flush()
            count += 1
    return count


def is_stream(output: str) -> bool:
    """Tell whether an output can only be written to, never replaced: stdout ("-"), a device or a named pipe."""
    path = Path(output)
    return output == STDIO or (path.exists() and not path.is_file() and not path.is_dir())


@contextmanager
def open_output(output: str) -> Iterator[TextIO]:
    """Open stdout ("-") or a device, or OUTPUT.part, which becomes OUTPUT when the block ends without an error.

    While records go to stdout, whatever else a library prints there goes to stderr. A closed stdout ends the command
    quietly, with exit code 0.
    """
    if output == STDIO:
        try:
            with _stdout_of_our_own() as file:
                yield file
        except BrokenPipeError:  # the reader has what it wanted
            raise SystemExit(0) from None
        return
    if is_stream(output):
        with open(output, "w", encoding="utf-8", newline="\n") as file:
            yield file
        return
    path, part = Path(output), Path(output + ".part")
    if path.is_dir():
        raise UserError(output, "is a folder", "name a file, or - for stdout")
    try:
        file = part.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(output, f"cannot be written ({error.strerror})", "make its folder first") from None
    try:
        with file:
            yield file
    except BaseException:
        if part.stat().st_size == 0:
            part.unlink()
        else:
            print(f"r1kit: what was done before the error is kept in {part}", file=sys.stderr)  # noqa: T201
        raise
    part.replace(path)


@contextmanager
def ending(records: Iterator[Any]) -> Iterator[None]:
    """Close a generator when the block ends, however it ends; do nothing to an iterator of another kind."""
    try:
        yield
    finally:
        if isinstance(records, Generator):
            records.close()


@contextmanager
def _stdout_of_our_own() -> Iterator[TextIO]:
    """Open stdout as a file that nobody else writes to; file descriptor 1 is stderr until the block ends."""
    sys.stdout.flush()
    ours = os.dup(1)
    with suppress(OSError):  # stderr is closed
        os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(ours), "w", encoding="utf-8", newline="\n") as file:
            yield file
    finally:
        os.dup2(ours, 1)
        os.close(ours)
