"""An output file that is written record by record, in any order, and can be resumed after any kind of end.

OUTPUT.part       the records, as they were made
OUTPUT.part.json  the settings of the run, written first
OUTPUT            all records in the order of the input, once they are there
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from r1kit.errors import UserError
from r1kit.jsonl import Record, ending, to_line
from r1kit.ordered import Placed
from r1kit.records import ADDED
from r1kit.run_settings import refuse_changes, write_settings


class Journal:
    """The records of a run by id and sample: those of an earlier start that is resumed, and those that are added."""

    def __init__(
        self,
        output: str,
        settings: dict[str, Any],
        resume: bool = False,
        overwrite: bool = False,
        whole_groups: bool = False,
    ):
        """Begin a run with `settings`, or find out what is done of it.

        whole_groups: all records of a problem come together; so the last one's may lack some, and are made again.

        Raises:
            UserError: the output cannot be written, what is there is of a run with other settings, or nobody said
                what to do with it.
        """
        self.output, self.part, self.card = Path(output), Path(f"{output}.part"), Path(f"{output}.part.json")
        self._lines: dict[str, dict[int, tuple[int, int]]] = {}  # id, sample: offset and length in the part file
        self._numbers: dict[str, int] = {}  # id: number of the problem
        if self.output.is_dir():
            raise UserError(output, "is a folder", "name a file, or - for stdout")
        if overwrite or not (self.card.exists() and self.part.exists() and self.part.stat().st_size):
            self._begin(settings)
        elif resume:
            refuse_changes(self.card, self.part, settings)
            self._find_done(whole_groups)
        else:
            what = "holds what was done of a run that did not end"
            raise UserError(str(self.part), what, "say --resume to go on with it, or --overwrite to begin anew")

    def done(self, problem_id: str) -> set[int]:
        """Return the samples of a problem that are there."""
        return set(self._lines.get(problem_id, ()))

    def watch(self, problems: Iterable[Record]) -> Iterator[Record]:
        """Yield problems, and note their order.

        Raises:
            UserError: a problem is not the one that its records were made of.
        """
        for number, problem in enumerate(problems):
            self._numbers.setdefault(problem["id"], number)
            for place in list(self._lines.get(problem["id"], {}).values())[:1]:
                with self.part.open("rb") as file:
                    record = json.loads(_read(file, place))
                if any(record.get(field) != value for field, value in problem.items() if field not in ADDED):
                    what = f'"{problem["id"]}" is not the problem that the records in {self.part} were made of'
                    raise UserError(problem.place, what, "give the same problems, or say --overwrite")
            yield problem

    def write(self, placed: Iterator[Placed]) -> None:
        """Add records as they come, each flushed; at the end, put all in order into the output.

        Raises:
            UserError: records are there whose problems did not come.
        """
        try:
            with self.part.open("ab") as file, ending(placed):
                for item in placed:
                    line = to_line(item.record).encode()
                    samples = self._lines.setdefault(item.record["id"], {})
                    if item.sample not in samples:
                        samples[item.sample] = (file.tell(), len(line))
                        file.write(line)
                        file.flush()
            self._finish()
        except BaseException:
            if self.part.exists() and self.part.stat().st_size:
                print(f"r1kit: what was done is kept in {self.part}; --resume goes on with it", file=sys.stderr)  # noqa: T201
            else:
                self._remove()
            raise

    def _finish(self) -> None:
        strange = next((name for name in self._lines if name not in self._numbers), None)
        if strange is not None:
            what = f'holds records of "{strange}", which is no problem of the input'
            raise UserError(str(self.part), what, "give the same problems, or say --overwrite")
        ordered = self.output.with_name(self.output.name + ".ordered")
        with self.part.open("rb") as source, ordered.open("wb") as target:
            for name in sorted(self._lines, key=self._numbers.__getitem__):
                for _, place in sorted(self._lines[name].items()):
                    target.write(_read(source, place))
        ordered.replace(self.output)
        self._remove()

    def _remove(self) -> None:
        self.part.unlink(missing_ok=True)
        self.card.unlink(missing_ok=True)

    def _begin(self, settings: dict[str, Any]) -> None:
        try:
            self.part.write_bytes(b"")
            write_settings(self.card, settings)
        except OSError as error:
            raise UserError(
                str(self.output), f"cannot be written ({error.strerror})", "make its folder first"
            ) from None

    def _find_done(self, whole_groups: bool) -> None:
        """Find the lines that are whole, and cut off a torn last one, or the last group."""
        end = 0
        with self.part.open("r+b") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                record = json.loads(line)
                self._lines.setdefault(record["id"], {})[record["sample"]] = (end, len(line))
                end += len(line)
            if whole_groups and self._lines:
                _, last = self._lines.popitem()
                end = min(start for start, _ in last.values())
            file.truncate(end)


def _read(file: BinaryIO, place: tuple[int, int]) -> bytes:
    file.seek(place[0])
    return file.read(place[1])
