"""What the README promises of `r1kit grpo --model base`; about four minutes a run on two cores."""

import json

import pytest
from conftest import r1kit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "flags"), [(0, ()), (1, ()), (2, ()), (0, ("--steps", 160))], ids=["0", "1", "2", "twice as long"]
)
def test_the_base_learns_to_reason(tmp_path, seed, flags):
    run = r1kit("grpo", "--model", "base", "--seed", seed, "-o", tmp_path / "run", *flags)
    assert run.returncode == 0, run.stderr
    metrics = json.loads((tmp_path / "run" / "r1kit.json").read_text())["metrics"]
    before, after = metrics["before"], metrics["after"]
    assert (before["problems"], before["samples"]) == (200, 16)
    assert before["pass@1"]["value"] <= 0.35
    assert after["pass@1"]["value"] >= 0.85
    assert after["format"]["value"] >= 0.95
    assert after["mean_length"]["value"] >= 1.5 * before["mean_length"]["value"]
