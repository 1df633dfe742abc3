"""The command `data`; the work is in r1kit/data.py."""

from typing import Annotated

import typer

from r1kit.commands.options import Output, Split
from r1kit.jsonl import STDIO, write_records


def data(
    source: Annotated[str, typer.Argument(help="Embedded set (arith, facts, functions), JSON Lines file, or -.")],
    output: Output = STDIO,
    split: Split = "train",
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many problems.")] = None,
    rename: Annotated[list[str] | None, typer.Option("--map", metavar="NEW=OLD", help="Rename a field.")] = None,
) -> None:
    """Write problems: an embedded set, or a file whose records become problems.

    Reads JSON Lines, adds id where it is missing, streams.

    Examples:

        r1kit data arith --split test | r1kit rollout --model base -n 8 | r1kit reward | r1kit vote

        r1kit data gsm8k.jsonl --map prompt=question --limit 100
    """
    from r1kit.data import parse_renames, select_problems

    write_records(select_problems(source, split, parse_renames(rename or []), limit), output)
