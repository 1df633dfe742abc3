"""A uniform shuffle that holds 8 bytes of each row: rows are laid out in a file and read in another order."""

import json
from array import array
from collections.abc import Iterator
from random import Random
from tempfile import TemporaryFile

from r1kit.jsonl import Record, ending


def shuffle_rows(rows: Iterator[Record], seed: int) -> Iterator[Record]:
    """Yield rows in an order that depends on the seed and on how many there are; all are read first.

    They are laid out in a temporary file (in $TMPDIR) that is as large as they are, and goes when the last is read.
    """
    with TemporaryFile("w+b") as file, ending(rows):
        starts = array("Q")
        for row in rows:
            starts.append(file.tell())
            file.write(json.dumps([row, row.place]).encode() + b"\n")
        Random(seed).shuffle(starts)
        for start in starts:
            file.seek(start)
            yield Record(*json.loads(file.readline()))
