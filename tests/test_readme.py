import shlex

import pytest
from conftest import REPO
from typer.main import get_command

from r1kit.cli import app

README = (REPO / "README.md").read_text(encoding="utf-8")


def test_the_gate_calls_the_readmes_test_command():
    command = 'pytest -m "not gpu and not slow"'
    assert command in README
    assert (REPO / ".ci" / "run").read_text().endswith(command + "\n")


def documented_commands():
    """Return every r1kit command of the README's code blocks as words."""
    blocks = README.split("```")[1::2]
    text = "\n".join(block for block in blocks if not block.startswith("json")).replace("\\\n", " ")
    pieces = [
        piece
        for line in text.splitlines()
        for piece in line.partition("#")[0].replace("|", "\n").replace("&&", "\n").split("\n")
    ]
    return [words for piece in pieces if (words := shlex.split(piece)) and words[0].endswith("r1kit")]


@pytest.mark.parametrize("words", documented_commands(), ids=" ".join)
def test_every_command_of_the_readme_has_flags_that_exist(words):
    command = get_command(app)
    name, *rest = words[1:]
    flags = (
        {flag for parameter in command.commands[name].params for flag in parameter.opts}
        if not name.startswith("-")
        else set()
    )
    assert {word for word in rest if word.startswith("-") and word != "-"} <= flags | {"--help"}
