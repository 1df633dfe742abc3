"""Runs that are killed at random moments and go on end with the weights of one that nothing stopped."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import write_jsonl

FLAGS = (
    "--model", "base", "--batch-size", 8, "-n", 4, "--max-tokens", 12, "--steps", 24, "--save-every", 1,
    "--samples-every", 4, "--learning-rate", 1e-3,
)  # fmt: skip
KINDS = {
    "default": (),
    # three updates a batch, so that most checkpoints lie amid one; a reference that is replaced; groups drawn anew
    "amid a batch": (
        "--algo", "r1", "--dynamic-sampling", 2, "--set", "steps_per_generation=3", "--set", "ref_model_sync_steps=5",
    ),
}  # fmt: skip


def start(folder, problems, kind, *more):
    command = [sys.executable, "-m", "r1kit", "grpo", problems, *FLAGS, *KINDS[kind], "-o", folder, *more]
    return subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=os.environ)


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def saved(folder):
    """Return the whole checkpoints."""
    return {path.parent.name for path in folder.glob("checkpoints/*/trainer_state.json")}


def kill_and_resume(tmp_path, kind, kills):
    """Kill a run so many times, each at a random moment; return its folder when it has ended."""
    rows = [{"id": str(i), "prompt": f"What is {i} + 2?", "answer": str(i + 2)} for i in range(30)]
    problems = write_jsonl(tmp_path / "problems.jsonl", rows)
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    process = start(whole, problems, kind)
    assert process.wait() == 0, process.stderr.read()
    chance = random.Random(0)
    for _ in range(kills):
        before = saved(folder)
        process = start(folder, problems, kind, *(["--resume"] if folder.exists() else []))
        while process.poll() is None and not saved(folder) - before:  # so that every start gets somewhere
            time.sleep(0.01)
        time.sleep(chance.random() * 0.7)
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = start(folder, problems, kind, "--resume")
    assert process.wait() == 0, process.stderr.read()
    return whole, folder


def assert_same(whole, folder):
    assert weights(whole) == weights(folder)
    assert (whole / "samples.jsonl").read_bytes() == (folder / "samples.jsonl").read_bytes()


@pytest.mark.slow
def test_a_run_killed_twice_ends_with_the_same_weights(tmp_path):
    assert_same(*kill_and_resume(tmp_path, "amid a batch", 2))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_ten_times_ends_with_the_same_weights(tmp_path, kind):
    assert_same(*kill_and_resume(tmp_path, kind, 10))
