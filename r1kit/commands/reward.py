"""The command `reward`; the work is in r1kit/reward.py."""

from typing import Annotated

import typer

from r1kit.commands import say
from r1kit.commands.options import DEFAULT_REWARDS, Output, RewardArgs, Rewards, SandboxMode, ScoreText, Workers
from r1kit.jsonl import STDIO, read_records, write_records


def reward(
    rollouts: Annotated[str, typer.Argument(help="Rollouts: JSON Lines file or -.")] = STDIO,
    output: Output = STDIO,
    rewards: Rewards = DEFAULT_REWARDS,
    reward_args: RewardArgs = None,
    score_text: ScoreText = None,
    workers: Workers = None,
    sandbox: SandboxMode = "auto",
    problems: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Problems, for fields that the rollouts lack: tests, answers."),
    ] = None,
    explain: Annotated[
        str | None, typer.Option(metavar="ID[/SAMPLE]", help="Say on stderr how one rollout was graded; write none.")
    ] = None,
) -> None:
    """Grade completions: mathematics by equality, code by its tests in a sandbox, format, language, length, and more.

    Reads rollouts, adds rewards, reward (their weighted sum), extracted and verdict. Streams, in input order. null
    means that a record cannot be graded; how many and why is on stderr. Rewards: accuracy, format, boxed, think, tags,
    language, length, overlong, repetition, judge, model:DIR, process:DIR, and your own FILE.py:FUNCTION.

    Examples:

        r1kit rollout --model base -n 8 problems.jsonl | r1kit reward -o scored.jsonl

        r1kit reward --reward accuracy rollouts.jsonl | jq -c '[.id, .extracted, .reward]'

        r1kit reward --reward math=accuracy,format:0.2 code=accuracy --reward-arg accuracy.partial=true rollouts.jsonl

        r1kit reward --explain arith-test-1/3 rollouts.jsonl

        r1kit reward --problems eval/problems/mbpp.jsonl eval/zero/mbpp.jsonl | r1kit eval -
    """
    from r1kit.explain import explain_rollout
    from r1kit.grader import Grader
    from r1kit.reward import RewardSummary, complete_rollouts, score_rollouts
    from r1kit.reward_spec import parse_options, parse_rewards

    parts = parse_rewards(rewards)
    read = read_records(rollouts) if problems is None else complete_rollouts(read_records(rollouts), problems)
    grader = Grader(parts, parse_options(reward_args or [], parts, score_text), workers, sandbox)
    if explain:
        say(explain_rollout(read, explain, grader))
        return
    summary = RewardSummary()
    write_records(score_rollouts(read, grader, summary), output)
    say([*summary.lines(), *grader.warnings()])
