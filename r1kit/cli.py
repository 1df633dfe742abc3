"""The command line: the app, its commands in order, and how it ends."""

import sys
from typing import Annotated

import typer

from r1kit import __version__
from r1kit.commands.compute_optimal import compute_optimal
from r1kit.commands.data import data
from r1kit.commands.distill import distill
from r1kit.commands.evaluate import evaluate
from r1kit.commands.grpo import grpo
from r1kit.commands.reject_sample import reject_sample
from r1kit.commands.report import report
from r1kit.commands.reward import reward
from r1kit.commands.reward_model import reward_model
from r1kit.commands.rollout import rollout
from r1kit.commands.sft import sft
from r1kit.commands.vote import vote
from r1kit.errors import UserError

app = typer.Typer(
    help="Every stage of DeepSeek-R1 as one command: JSON Lines in, JSON Lines or a model out.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(f"r1kit {__version__}")
        raise typer.Exit


app.command("data")(data)
app.command("rollout")(rollout)
app.command("reward")(reward)
app.command("vote")(vote)
app.command("reject-sample")(reject_sample)
app.command("eval")(evaluate)
app.command("compute-optimal")(compute_optimal)
app.command("grpo")(grpo)
app.command("sft")(sft)
app.command("distill")(distill)
app.command("reward-model")(reward_model)
app.command("report")(report)


def join_rewards(words: list[str]) -> list[str]:
    """Return the words of a command line with all that follow --reward and start with KIND= joined to its value."""
    joined: list[str] = []
    for word in words:
        follows = len(joined) > 1 and (joined[-2] == "--reward" or joined[-1].startswith("--reward="))
        if follows and word.startswith(("math=", "code=", "general=")):
            joined[-1] += f" {word}"
        else:
            joined.append(word)
    return joined


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 data or I/O error, 2 usage, 130 interrupted."""
    try:
        app(args=join_rewards(sys.argv[1:]))
    except UserError as error:
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        typer.echo(f"r1kit {command}: error: {error}", err=True)
        sys.exit(error.exit_code)
