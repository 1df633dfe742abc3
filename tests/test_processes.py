"""Several processes train as one does, and a launch that comes to less than was asked for is refused."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from conftest import REPO, invoke, lines, write_jsonl

from r1kit.errors import UserError
from r1kit.processes import check_launch, gather, launch_note, share

FLAGS = (
    "--model", "base", "--batch-size", 16, "-n", 4, "--max-tokens", 24, "--steps", 4, "--save-every", 2,
    "--samples-every", 1, "--eval-samples", 2, "--learning-rate", 1e-3, "--token-budget", 200,
)  # fmt: skip


def run_two(folder, problems, *more):
    """Train in two processes."""
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", 2, "--master_port", 29531]
    command = [sys.executable, *launcher, "-m", "r1kit", "grpo", problems, *FLAGS, *more, "-o", folder]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    rows = [{"id": str(i), "prompt": f"What is {i} + 2?", "answer": str(i + 2)} for i in range(30)]
    return write_jsonl(tmp_path_factory.mktemp("data") / "problems.jsonl", rows)


def log_of(folder):
    return lines((folder / "log.jsonl").read_text())


@pytest.mark.parametrize("algorithm", ["dapo", pytest.param("grpo", marks=pytest.mark.slow)])
def test_two_processes_are_one_with_the_same_batch(tmp_path, problems, algorithm):
    """The same completions, and the same losses but for the order of sums."""
    test = write_jsonl(tmp_path / "test.jsonl", lines(problems.read_text())[:7])  # of which one has one more
    flags = ("--algo", algorithm, "--dynamic-sampling", 0, "--eval", test)
    one, two = tmp_path / "one", tmp_path / "two"
    invoke("grpo", problems, *FLAGS, *flags, "-o", one)
    run_two(two, problems, *flags)
    assert json.loads((two / "run.json").read_text())["processes"] == 2
    first = [(row["completion"], row["reward"]) for row in lines((one / "samples.jsonl").read_text())]
    assert [(row["completion"], row["reward"]) for row in lines((two / "samples.jsonl").read_text())] == first
    for mine, theirs in zip(log_of(two), log_of(one), strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4, abs=1e-6)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
        assert mine["entropy"] == pytest.approx(theirs["entropy"], rel=1e-4)
    for name in ("eval-before.jsonl", "eval-after.jsonl"):
        assert len(lines((two / name).read_text())) == 14
    assert (one / "eval-before.jsonl").read_bytes() == (two / "eval-before.jsonl").read_bytes()


def test_groups_are_drawn_anew_in_two_processes(tmp_path, problems):
    run_two(tmp_path / "run", problems, "--dynamic-sampling", 3)
    log = log_of(tmp_path / "run")
    assert len(log) == 4
    assert sum(line["resampled"] for line in log) > 0


def test_a_launch_that_comes_to_less_is_refused(monkeypatch):
    alone = SimpleNamespace(num_processes=1, distributed_type="DistributedType.NO")
    check_launch(alone)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="2 processes were asked for, 1 run; start with torchrun"):
        check_launch(alone)
    two = SimpleNamespace(num_processes=2, distributed_type="DistributedType.MULTI_CPU")
    check_launch(two)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match=r"FSDP was asked for, DistributedType\.MULTI_CPU runs; it needs a GPU"):
        check_launch(two)


def test_a_launch_of_one_process_that_may_have_been_meant_for_more_is_noted(monkeypatch):
    assert launch_note() is None
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    assert "accelerate starts one process" in launch_note()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launch_note() is None


def test_one_process_shares_with_itself():
    assert share(3) == 3
    assert gather([1, 2]) == [[1, 2]]


@pytest.mark.parametrize(("name", "kind"), [("fsdp2", "FSDP"), ("deepspeed-zero3", "DEEPSPEED")])
def test_the_launch_files_are_ones_that_accelerate_reads(name, kind):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils import FullyShardedDataParallelPlugin

    config = load_config_from_file(str(REPO / "recipes" / f"{name}.yaml"))
    assert config.distributed_type.value == kind
    assert config.num_processes == 8
    if kind == "DEEPSPEED":
        assert config.deepspeed_config["zero_stage"] == 3
        return
    settings = {key.removeprefix("fsdp_"): value for key, value in config.fsdp_config.items()}
    settings = {{"version": "fsdp_version", "offload_params": "cpu_offload"}.get(k, k): v for k, v in settings.items()}
    plugin = FullyShardedDataParallelPlugin(**{k: v for k, v in settings.items() if k != "cpu_offload"})
    assert plugin.fsdp_version == 2
