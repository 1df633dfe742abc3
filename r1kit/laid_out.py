"""Values on disk that are read again by number: 8 bytes of memory each."""

import json
from array import array
from random import Random
from tempfile import TemporaryFile
from typing import Any


class LaidOut:
    """A list of JSON values that is only added to; it lies in a temporary file (in $TMPDIR) that goes with it."""

    def __init__(self) -> None:
        self._file, self._starts, self._end = TemporaryFile("w+b"), array("Q"), 0  # noqa: SIM115 (as long as the list)

    def append(self, value: Any) -> None:
        """Add a value."""
        self._starts.append(self._end)
        self._file.seek(self._end)
        self._end += self._file.write(json.dumps(value).encode() + b"\n")

    def shuffle(self, chance: Random) -> None:
        """Put the values in another order."""
        chance.shuffle(self._starts)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> Any:
        self._file.seek(self._starts[number])
        return json.loads(self._file.readline())
