import os
import re
import shlex
import subprocess
import sys

import pytest
from conftest import REPO, commands_are_known, lines

RECIPES = sorted((REPO / "recipes").glob("*.sh"))


def commands_of(recipe):
    text = recipe.read_text().replace("\\\n", " ")
    text = re.sub(r"\|\n\s*", "| ", text)
    for line in text.splitlines():
        for piece in re.split(r"\||&&", line.partition("# ")[0]):
            if "$R1KIT " in piece:
                yield shlex.split(piece.partition("$R1KIT ")[2])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_parses_and_its_flags_exist(recipe):
    assert subprocess.run(["bash", "-n", recipe], check=False).returncode == 0
    assert "set -euo pipefail" in recipe.read_text()
    commands = list(commands_of(recipe))
    assert commands
    for words in commands:
        commands_are_known(words)


def test_r1_zero_runs_and_runs_again_without_doing_it_twice(tmp_path):
    environment = {
        **os.environ,
        "R1KIT": f"{sys.executable} -m r1kit",
        "OUT": str(tmp_path / "out"),
        "STEPS": "1",
        "SAMPLES": "1",
    }
    recipe = REPO / "recipes" / "r1-zero.sh"
    run = subprocess.run(["bash", recipe], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(lines((tmp_path / "out" / "05-metrics.jsonl").read_text())) == 2
    assert len(lines((tmp_path / "out" / "05-votes.jsonl").read_text())) == 200
    trained = tmp_path / "out" / "03-zero" / "model.safetensors"
    made = trained.stat().st_mtime_ns
    assert subprocess.run(["bash", recipe], env=environment, capture_output=True, check=False).returncode == 0
    assert trained.stat().st_mtime_ns == made
