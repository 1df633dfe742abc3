"""A uniform shuffle that holds 8 bytes of each row: rows are laid out in a file and read in another order."""

from collections.abc import Iterator
from random import Random

from r1kit.jsonl import Record, ending
from r1kit.laid_out import LaidOut


def shuffle_rows(rows: Iterator[Record], seed: int) -> Iterator[Record]:
    """Yield rows in an order that depends on the seed and on how many there are; all are read first.

    They are laid out in a temporary file (in $TMPDIR) that is as large as they are, and goes when the last is read.
    """
    laid_out = LaidOut()
    with ending(rows):
        for row in rows:
            laid_out.append([row, row.place])
    laid_out.shuffle(Random(seed))
    for number in range(len(laid_out)):
        yield Record(*laid_out[number])
