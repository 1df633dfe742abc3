"""The command `vote`; the work is in r1kit/vote.py."""

from typing import Annotated

import typer

from r1kit.commands import say
from r1kit.commands.options import Output
from r1kit.jsonl import STDIO, read_records, write_records
from r1kit.records import VoteMethod


def vote(
    rollouts: Annotated[str, typer.Argument(help="Rollouts, scored or not: JSON Lines file or -.")] = STDIO,
    output: Output = STDIO,
    method: Annotated[
        VoteMethod,
        typer.Option(
            help="majority: the answer most often given, of equals the first; weighted: the one whose rollouts weigh "
            "most together; best-of-n: that of the rollout that ranks highest."
        ),
    ] = "majority",
    by: Annotated[
        str | None,
        typer.Option(
            metavar="reward|logprob|FIELD",
            help="What weighs or ranks: reward (the default), the mean log-probability of a token (its exp weighs), or "
            "a number field (score, rewards.accuracy).",
        ),
    ] = None,
    early: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Of N rollouts each, decide a majority once no other could change it."),
    ] = None,
) -> None:
    """Let the completions of each problem vote on its answer.

    Reads rollouts, those of one problem together; writes one record per problem with prediction, votes, n, correct,
    decided_at and generated_tokens. Equal is what math-verify calls equal; programs are where they are the same text.
    A completion without an answer, or one whose weight is null, does not vote. Buffers one problem. On stderr: the
    accuracy that 1, 2, 4, … rollouts would have had, over all subsets of those that are there.

    Examples:

        r1kit rollout --model base -n 16 problems.jsonl | r1kit vote

        r1kit vote --method weighted --by logprob rollouts.jsonl | jq -c 'select(.correct == false)'
    """
    from r1kit.vote import VotePlan, VoteSummary, hold_votes

    plan, summary = VotePlan(method, by, early), VoteSummary()
    write_records(hold_votes(read_records(rollouts), plan, summary), output)
    say(summary.lines())
