import subprocess
import sys

import pytest
from conftest import REPO, r1kit

COMMANDS = ("data", "rollout", "reward", "vote", "eval", "compute-optimal", "grpo")
HEAVY = ("torch", "transformers", "trl", "datasets", "sympy", "numpy", "math_verify", "rich", "vllm")


def imported(*arguments):
    """Run the command line and return what it has imported at its end."""
    program = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('IMPORTED', *sorted({m.partition('.')[0] for m in sys.modules})))\n"
        f"sys.argv[1:] = {list(arguments)!r}\n"
        "from r1kit.cli import main\nmain()\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.partition("IMPORTED")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_pays_for_nothing_heavy(command):
    text, _, modules = imported(*([command] if command else []), "--help")
    assert "Usage:" in text
    assert not set(HEAVY) & set(modules.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_opens_with_what_it_does_and_has_a_pipe_to_paste(command):
    text = r1kit(command, "--help").stdout
    assert "Examples:" in text
    assert "r1kit " in text.partition("Examples:")[2]


def test_the_readme_lists_every_command():
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"| `{command}` |" in readme


def test_the_list_of_commands_is_whole():
    text = r1kit("--help").stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in text.splitlines() if line.startswith("  ") and line[2] != " "] == list(COMMANDS)


def test_version_and_usage_errors():
    assert r1kit("--version").stdout.startswith("r1kit 0.")
    assert r1kit("nonsense").returncode == 2
    assert r1kit("vote", "--nonsense").returncode == 2
