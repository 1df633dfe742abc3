"""The commands, one file each: options and help; the work is in the modules beside this folder."""

from collections.abc import Iterable

import typer


def say(lines: Iterable[str]) -> None:
    """Print lines on stderr, each as it comes."""
    for line in lines:
        typer.echo(line, err=True)
