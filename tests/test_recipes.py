import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
import yaml
from conftest import REPO, lines
from reckoning import reckon, sentence

from r1kit.budget import GPUS

RECIPES = sorted((REPO / "recipes").glob("*.sh"))
BRANCH = re.compile(r"^(tiny|\d+gpu)\)", re.MULTILINE)  # of the case over SCALE
TRAINING = {"grpo", "sft", "distill", "reward-model"}
STOOD_IN_FOR = ("r1kit", "accelerate", "torchrun", "curl")
KINDS = ("A100-80GB", "H100-80GB")
R1 = {
    "ultrafeedback_binarized": 62_135,
    "00-deepmath.jsonl": 103_000,
    "00-code.jsonl": 374,
    "00-general.jsonl": 5000,
    "08-asked.jsonl": 300,
    "09-problems.jsonl": 500,
    "09-others.jsonl": 500,
    "09-chains.jsonl": 4000,
}
ROWS = {  # of the files that recipes make by jq and head
    "r1-1gpu": {
        **R1,
        "00-reasoning.jsonl": 20_374,
        "02-problems.jsonl": 2000,
        "04-problems.jsonl": 8374,
        "06-problems.jsonl": 10_374,
    },
    "r1-8gpu": {
        **R1,
        "00-reasoning.jsonl": 40_374,
        "02-problems.jsonl": 4000,
        "04-problems.jsonl": 20_374,
        "06-problems.jsonl": 10_374,
    },
    "qwen3-0.6b-math500-1gpu": {
        "01-plain.jsonl": 500,
        "01-cot.jsonl": 500,
        "01-train.jsonl": 12_000,
        "06-examples.jsonl": 6_707,
    },
}


class Command(NamedTuple):
    """A command line of r1kit, as it is written and as the app reads it."""

    launcher: list[str]
    words: list[str]
    values: dict[str, Any]


def scales_of(recipe: Path) -> list[str]:
    """Return the scales that a recipe names, [""] where it has none."""
    return BRANCH.findall(recipe.read_text()) or [""]


TRIED = [pytest.param(recipe, scale, id=f"{recipe.stem}-{scale}") for recipe in RECIPES for scale in scales_of(recipe)]


def try_recipe(recipe: Path, folder: Path, *words: str, **knobs: str) -> list[list[str]]:
    """Run a recipe with a recorder in the place of r1kit; return the launcher, "", and the words of each command."""
    tools, record = folder / "bin", folder / "record"
    tools.mkdir(exist_ok=True)
    for name in STOOD_IN_FOR:
        if not (tools / name).exists():
            (tools / name).symlink_to(REPO / "tests" / "recorder.sh")
    record.write_text("")
    own = {"R1KIT": "r1kit", "RECORD": str(record), "OUT": str(folder / "out"), "HOME": str(folder)}
    environment = {**own, **knobs, "PATH": f"{tools}:{os.environ['PATH']}"}
    command = ["bash", recipe, *words]
    run = subprocess.run(
        command, cwd=REPO, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"{recipe.name}: {run.stderr}"
    return [line.removesuffix("\x1f").split("\x1f") for line in record.read_text().split("\x1e")[:-1]]


@cache
def tried(recipe: Path, scale: str) -> tuple[list[list[str]], list[list[str]]]:
    """Return the commands of a recipe, and those of a second run of it."""
    with TemporaryDirectory() as folder:
        first = try_recipe(recipe, Path(folder), *(["--scale", scale] if scale else []))
        return first, try_recipe(recipe, Path(folder), **({"SCALE": scale} if scale else {}))


def halves(line: list[str]) -> tuple[list[str], list[str]]:
    """Return the launcher of a recorded line, and the words of its command."""
    return line[: line.index("")], line[line.index("") + 1 :]


@cache
def commands_of(recipe: Path, scale: str) -> list[Command]:
    return [parse(*halves(line)) for line in tried(recipe, scale)[0]]


def parse(launcher: list[str], words: list[str]) -> Command:
    """Return a command line as the app reads it: options exist, values fit, nothing that is required is missing."""
    from typer.main import get_command

    from r1kit.cli import app, join_rewards

    name, *rest = join_rewards(words)
    try:
        values = get_command(app).commands[name].make_context(name, rest).params
        check_values(name, values, processes(launcher))
    except (Exception, SystemExit) as error:
        pytest.fail(f"{shlex.join([*launcher, 'r1kit', *words])}\n  {type(error).__name__}: {error}")
    return Command(launcher, words, values)


def check_values(name: str, values: dict[str, Any], count: int) -> None:
    """Hold values to what the commands themselves refuse before they load anything."""
    from r1kit.grpo_plan import check_batch
    from r1kit.last_steps import parse_last_steps
    from r1kit.reward_spec import parse_options, parse_rewards
    from r1kit.thresholds import parse_threshold

    if values.get("rewards"):
        parse_options(values.get("reward_args") or [], parse_rewards(values["rewards"]), values.get("score_text"))
    if values.get("threshold"):
        parse_threshold(values["threshold"])
    if name == "grpo":
        n = values["n"]
        check_batch(values["batch_size"] or 16 * n, n, values["micro_batch_size"], count)
        parse_last_steps(values["last_steps"] or [], values["steps"])


def processes(launcher: list[str]) -> int:
    """Return how many processes a launcher starts, as its own parser reads it; 1 without one."""
    if not launcher:
        return 1
    if launcher[0] == "torchrun":
        from torch.distributed.run import get_args_parser

        return int(get_args_parser().parse_args([*launcher[1:], "script"]).nproc_per_node)
    from accelerate.commands.launch import launch_command_parser

    assert launcher[1] == "launch"
    said = launch_command_parser().parse_args([*launcher[2:], "script"])
    return said.num_processes or yaml.safe_load((REPO / said.config_file).read_text())["num_processes"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_sound_shell(recipe):
    assert subprocess.run(["bash", "-n", recipe], check=False).returncode == 0
    checked = subprocess.run(["shellcheck", recipe], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert "set -euo pipefail" in recipe.read_text()


@pytest.mark.parametrize(("recipe", "scale"), TRIED)
def test_the_app_takes_every_command_of_a_recipe(recipe, scale):
    assert len(commands_of(recipe, scale)) > 3


@pytest.mark.parametrize(("recipe", "scale"), TRIED)
def test_a_recipe_that_ended_does_not_train_again(recipe, scale):
    first, again = ([halves(line)[1][0] for line in run] for run in tried(recipe, scale))
    assert len(again) < len(first)
    assert not TRAINING & set(again)


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if scales_of(recipe) != [""]], ids=lambda p: p.stem)
def test_a_scale_that_a_recipe_lacks_is_refused(recipe, tmp_path):
    with pytest.raises(AssertionError, match="SCALE is"):
        try_recipe(recipe, tmp_path, "--scale", "9gpu")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("grpo arith", "Missing"),
        ("grpo --model base --stepz 3", "No such option"),
        ("rollout --model base -n many", "valid integer"),
        ("vote --method loudest", "is not one of"),
        ("reward --reward accuracy,grammar", "grammar"),
        ("grpo --model base -n 8 --batch-size 36", "no multiple of -n 8"),
        ("grpo --model base --steps 10 --last-steps general:20", "more than the 10 steps"),
        (
            "accelerate launch --num_processes 8 -m r1kit grpo --model base -n 6 --batch-size 36",
            "cannot be shared by 8",
        ),
        ("accelerate launch --proceses 8 -m r1kit grpo --model base", "unrecognized"),
    ],
)
def test_a_command_that_would_be_refused_is_named(line, why, tmp_path, capfd):
    recipe = tmp_path / "recipe.sh"
    recipe.write_text(line if line.startswith("accelerate") else f"$R1KIT {line}")
    (written,) = try_recipe(recipe, tmp_path)
    with pytest.raises(pytest.fail.Exception) as failed:
        parse(*halves(written))
    assert line.replace("-m r1kit", "r1kit") in str(failed.value)
    assert why in str(failed.value) + capfd.readouterr().err


@pytest.mark.parametrize(("recipe", "scale"), [param for param in TRIED if "gpu" in param.values[1]])
def test_a_header_says_what_a_scale_is_reckoned_to_need(recipe, scale):
    asked = [(command.words[0], command.values, processes(command.launcher)) for command in commands_of(recipe, scale)]
    found = {kind: reckon(asked, GPUS[kind], ROWS.get(f"{recipe.stem}-{scale}", {})) for kind in KINDS}
    header = " ".join(line.removeprefix("#").strip() for line in recipe.read_text().split("\nset -")[0].splitlines())
    said = sentence(scale, found)
    assert said in header, said
    assert all(found[kind].memory < GPUS[kind].memory for kind in KINDS)


SMALL = {
    "countdown": {},
    "distill": {"ZERO_STEPS": "2", "STEPS": "2", "PROBLEMS": "40", "SAMPLES": "1", "N": "2", "EPOCHS": "1"},
    "inference-scaling": {"PROBLEMS": "8", "BUDGETS": "1 4", "MAX_TOKENS": "64"},
    "qwen3-0.6b-math500": {"SCALE": "tiny", "LIMIT": "2"},
    "r1-zero": {"STEPS": "1", "SAMPLES": "1"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_recipe_runs_and_runs_again_without_training_twice(name, tmp_path):
    recipe = REPO / "recipes" / f"{name}.sh"
    own = {"R1KIT": f"{sys.executable} -m r1kit", "OUT": str(tmp_path / "out")}
    environment = {**os.environ, **own, **SMALL[name]}
    run = subprocess.run(["bash", recipe], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    ends = [path for path in (tmp_path / "out").glob("0*.jsonl") if not path.name.endswith(".removed.jsonl")]
    assert ends
    assert all(lines(path.read_text()) for path in ends)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("model.safetensors")}
    again = subprocess.run(["bash", recipe], env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("model.safetensors")}
