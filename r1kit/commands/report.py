"""The command `report`; the work is in r1kit/report.py."""

from typing import Annotated

import typer

from r1kit.commands.options import Seed


def report(
    outs: Annotated[
        list[str],
        typer.Argument(
            metavar="OUT...",
            help="Folders, which are searched, or single files: runs, metrics, rollouts, votes, examples, problems.",
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Page to write, replaced where it is there; - is stdout.")
    ] = "report.html",
    png: Annotated[str | None, typer.Option(metavar="DIR", help="Folder to write the plots into, as pictures.")] = None,
    rollouts: Annotated[
        int, typer.Option(min=1, help="Records to browse on the page, of all files together; whole problems.")
    ] = 2000,
    seed: Seed = 0,
) -> None:
    """Show what runs came to on one HTML page, which needs no network.

    Reads folders of runs, of `eval` and of recipes, or single JSON Lines files, each known by its fields. Shows the
    models with their lineage, tables with 95 % intervals, learning curves, accuracy against tokens, lengths, and the
    rollouts themselves: to filter, to search, and of two stages side by side. What is nothing of r1kit's is named on
    stderr. The same files give the same page.

    Examples:

        r1kit report out/r1 -o report.html --png plots

        r1kit reward rollouts.jsonl -o scored.jsonl && r1kit report scored.jsonl
    """
    from r1kit.report import write_report

    write_report(outs, output, png, rollouts, seed)
