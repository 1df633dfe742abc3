"""The command `compute-optimal`; the work is in r1kit/compute_optimal.py."""

from typing import Annotated

import typer

from r1kit.commands import say
from r1kit.commands.options import Output
from r1kit.jsonl import STDIO, write_records


def compute_optimal(
    votes: Annotated[list[str], typer.Argument(help="Files of vote records, of several methods and budgets.")],
    pilot: Annotated[str, typer.Option(help="Rollouts of the same problems, whose agreement says how hard they are.")],
    output: Output = STDIO,
    pilot_n: Annotated[int, typer.Option(min=1, help="How many rollouts of each problem are asked to agree.")] = 4,
    bins: Annotated[int, typer.Option(min=1, help="Bins of difficulty; fewer where many problems agree alike.")] = 4,
) -> None:
    """Say which method and budget to use for which difficulty, from votes that were saved.

    Reads vote records with correct and generated_tokens, and pilot rollouts. Writes a policy: a record per difficulty
    and method with accuracy and cost, chosen where it is the best that its budget can buy. Keeps a number per problem.
    On stderr: a table, what the choices are worth on problems they were not made on, and a plot.

    Examples:

        r1kit compute-optimal majority-4.jsonl majority-16.jsonl beam-16.jsonl --pilot rollouts.jsonl -o policy.jsonl
    """
    from r1kit.compute_optimal import draw_measured, format_measured, measure_votes
    from r1kit.difficulty import read_difficulty

    measured = measure_votes(votes, read_difficulty(pilot, pilot_n, bins))
    write_records(measured.records(), output)
    say([*format_measured(measured), *draw_measured(measured)])
