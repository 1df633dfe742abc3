"""Output files of a filter that always makes the same lines: a later start makes them again and goes on.

OUTPUT.part       the lines so far
OUTPUT.part.json  the settings of the run, written first, gone when all files of the run are whole
OUTPUT            all lines, once they are there
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from r1kit.errors import UserError
from r1kit.jsonl import ending, is_stream, to_line, write_records
from r1kit.run_settings import refuse_changes, write_settings


class ReplayedFile:
    """A file that is written line by line; of an earlier start, lines are compared instead and then added to."""

    def __init__(self, output: str, settings: dict[str, Any], resume: bool, overwrite: bool):
        """Begin a file, or find what is done of it.

        Raises:
            UserError: the file is there or begun and nobody said what to do with it, it was begun with other settings,
                or it cannot be written.
        """
        self.output, self.part, self.card = Path(output), Path(f"{output}.part"), Path(f"{output}.part.json")
        if self.output.is_dir():
            raise UserError(output, "is a folder", "name a file, or - for stdout")
        try:
            self._begin(settings, resume and not overwrite, overwrite)
            self._file: BinaryIO = self.part.open("r+b")
        except OSError as error:
            raise UserError(output, f"cannot be written ({error.strerror})", "make its folder first") from None
        self._replaying = True

    def _begin(self, settings: dict[str, Any], resume: bool, overwrite: bool) -> None:
        if resume and self.output.exists() and self.card.exists() and not self.part.exists():
            self.output.replace(self.part)  # whole, but the run ended before its other files were
        if self.output.exists() and not overwrite:
            raise UserError(str(self.output), "is there", "say --overwrite, or name another file with -o")
        begun = self.card.exists() and self.part.exists() and self.part.stat().st_size > 0
        if begun and resume:
            refuse_changes(self.card, self.part, settings)
        elif begun and not overwrite:
            what = "holds what was done of a run that did not end"
            raise UserError(str(self.part), what, "say --resume to go on with it, or --overwrite to begin anew")
        else:
            self.part.write_bytes(b"")
            write_settings(self.card, settings)

    def write(self, record: dict[str, Any]) -> None:
        """Add a record, or compare it with what an earlier start wrote in its place.

        Raises:
            UserError: it is another one.
        """
        line = to_line(record).encode()
        if self._replaying:
            start = self._file.tell()
            done = self._file.read(len(line))
            if done == line:
                return
            if not line.startswith(done):
                what = "was made of another input: what it holds does not come again"
                raise UserError(str(self.part), what, "give the same input, or say --overwrite")
            self._file.seek(start)  # here the earlier start ended, maybe amid a line
            self._file.truncate()
            self._replaying = False
        self._file.write(line)
        self._file.flush()

    def end(self) -> None:
        """Close the file.

        Raises:
            UserError: an earlier start wrote more.
        """
        if self._replaying and self._file.read(1):
            what = "was made of another input: it holds more"
            raise UserError(str(self.part), what, "give the same input, or say --overwrite")
        self._file.close()

    def stop(self) -> bool:
        """Close the file; tell whether there is something in it, which stays for a later start."""
        self._file.close()
        if self.part.exists() and not self.part.stat().st_size:
            self.part.unlink()
            self.card.unlink()
        return self.part.exists()


@contextmanager
def open_replayed(
    outputs: Sequence[str], settings: dict[str, Any], resume: bool = False, overwrite: bool = False
) -> Iterator[list[ReplayedFile]]:
    """Give the files of a run to write to; all are whole when the block ends without an error, the first one last.

    A run that ends at any moment can be resumed until the first is whole; then all are.

    Raises:
        UserError: as `ReplayedFile` does.
    """
    files: list[ReplayedFile] = []
    try:
        for output in outputs:
            files.append(ReplayedFile(output, settings, resume, overwrite))
        yield files
        for file in files:
            file.end()
        for file in reversed(files):
            file.part.replace(file.output)
        for file in files:
            file.card.unlink()
    except BaseException:
        kept = [str(file.part) for file in files if file.stop()]
        if kept:
            print(f"r1kit: what was done is kept in {' and '.join(kept)}; --resume goes on with it", file=sys.stderr)  # noqa: T201
        raise


def write_replayed(
    records: Iterator[dict[str, Any]], output: str, settings: dict[str, Any], resume: bool, overwrite: bool
) -> None:
    """Write records as they come, each flushed, to stdout ("-"), or to a file that can be resumed.

    Raises:
        UserError: as `ReplayedFile` does; or a stream is to be resumed.
    """
    if is_stream(output):
        refuse_resume(resume)
        write_records(records, output)
        return
    with open_replayed([output], settings, resume, overwrite) as [file], ending(records):
        for record in records:
            file.write(record)


def refuse_resume(resume: bool) -> None:
    """Raise a UserError where a stream is to be resumed."""
    if resume:
        raise UserError("--resume", "a stream cannot be gone on with", "name a file with -o")
