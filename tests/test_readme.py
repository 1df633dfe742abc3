import shlex

import pytest
from conftest import REPO, commands_are_known

README = (REPO / "README.md").read_text(encoding="utf-8")


def test_the_gate_calls_the_readmes_test_command():
    command = 'pytest -n 2 --dist loadfile -m "not gpu and not slow"'
    assert command in README
    assert (REPO / ".ci" / "run").read_text().endswith(command + "\n")


def documented_commands():
    """Return every r1kit command of the README's code blocks as words."""
    blocks = README.split("```")[1::2]
    text = "\n".join(block for block in blocks if not block.startswith("json")).replace("\\\n", " ")
    for line in text.splitlines():
        for piece in line.partition("#")[0].replace("&&", "|").split("|"):
            words = shlex.split(piece) if "r1kit" in piece else []
            if words and words[0].endswith("r1kit"):
                yield words[1:]


@pytest.mark.parametrize("words", list(documented_commands()), ids=" ".join)
def test_every_command_of_the_readme_has_flags_that_exist(words):
    commands_are_known(words)
