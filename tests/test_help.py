import json
import subprocess
import sys
import time
from typing import get_args

import pytest
from conftest import REPO, r1kit
from typer.main import get_command

from r1kit.algorithms import AlgorithmName
from r1kit.cli import app

COMMANDS = (
    "data", "rollout", "reward", "vote", "reject-sample", "eval", "compute-optimal", "grpo", "sft", "distill",
    "reward-model", "report",
)  # fmt: skip
HEAVY = ("torch", "transformers", "trl", "datasets", "sympy", "numpy", "math_verify", "rich", "vllm", "matplotlib")


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


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_and_argument_is_explained(command):
    parameters = get_command(app).commands[command].params
    assert len(parameters) > 2
    assert [parameter.name for parameter in parameters if not parameter.help] == []


def test_grpo_offers_every_algorithm_and_every_speed_up_by_name():
    text = " ".join(r1kit("grpo", "--help").stdout.split())
    assert f"--algo <{'|'.join(get_args(AlgorithmName))}>" in text
    assert "--without PART,… Exact speed-ups to switch off: drop, budget, head, share, engine, overlap." in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("grpo", "--without", "drop,sharing"),
            '--without: unknown part "sharing"; the known ones are drop, budget, head, share, engine, overlap',
        ),
        (("grpo", "--server", "http://localhost:8000"), "--server: --engine auto asks no server; say --engine vllm"),
        (
            ("rollout", "--dtype", "float8"),
            '--dtype: unknown number format "float8"; the known ones are auto, float32, bfloat16, float16',
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line_with_the_remedy(arguments, message, tmp_path):
    run = r1kit(*arguments, "--model", "base", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == f"r1kit {arguments[0]}: error: {message}\n"
    assert list(tmp_path.iterdir()) == []


PLAN = {  # flags of grpo, and what they are in the plan of the run
    "algorithm": ("--algo dapo", "dapo"),
    "batch_size": ("-n 4", 64),
    "token_budget": ("--token-budget 512", 512),
    "without": ("--without share,head", ["share", "head"]),
    "dynamic_sampling": ("--dynamic-sampling 3", 3),
    "lora_rank": ("--lora-rank 2", 2),
    "gradient_checkpointing": ("--no-gradient-checkpointing", False),
    "engine": ("--engine transformers", "transformers"),
    "gpu_memory_utilization": ("--gpu-memory-utilization 0.5", 0.5),
    "sleep": ("--no-sleep", False),
    "report_to": ("--report-to tensorboard", ["tensorboard"]),
    "reflection_words": ("--reflection-word hmm --reflection-word oops", ["hmm", "oops"]),
}


def test_the_flags_of_grpo_reach_the_plan_of_its_run(tmp_path):
    flags = [word for words, _ in PLAN.values() for word in words.split()]
    command = [sys.executable, "-m", "r1kit", "grpo", "--model", "base", "-o", tmp_path / "run", *flags]
    settings = tmp_path / "run" / "run.json"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        while not (settings.is_file() and settings.read_text().endswith("}\n")):
            assert run.poll() is None, run.stderr.read()
            time.sleep(0.05)
        run.kill()
    plan = json.loads(settings.read_text())
    assert {name: plan[name] for name in PLAN} == {name: value for name, (_, value) in PLAN.items()}
    assert [part["name"] for part in plan["rewards"]] == ["accuracy", "format", "overlong"]  # the last is DAPO's
