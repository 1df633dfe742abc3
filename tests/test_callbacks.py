"""The callback of a run, with transformers' own arguments, state and control, in one process and in two."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO, lines
from test_step_log import LOGS, PARTS, ROLLOUTS
from transformers import TrainerControl, TrainerState, TrainingArguments

from r1kit.callbacks import RewardedSteps, RunCallback
from r1kit.live import GRPO_READINGS, RunView
from r1kit.monitor import IN_A_ROW

CUT = [{**rollout, "finish_reason": "length"} for rollout in ROLLOUTS]


def new_callback(folder, newest=lambda: ROLLOUTS, samples_every=10, main=True):
    steps = RewardedSteps(folder, newest, PARTS, samples_every, main=main)
    return RunCallback(folder, RunView("run", 100, GRPO_READINGS), steps.line, {"command": "grpo"}, main)


def take_steps(callback, steps, logs=LOGS):
    for step in steps:
        callback.on_log(None, TrainerState(global_step=step), TrainerControl(), dict(logs))


def read(folder, name):
    return lines((folder / name).read_text())


def test_each_step_is_a_line_and_some_leave_their_rollouts(tmp_path):
    callback = new_callback(tmp_path, samples_every=2)
    take_steps(callback, [1, 2, 3])
    take_steps(callback, [3], {"train_runtime": 5.0, "train_loss": 0.1})  # the trainer's closing line
    assert [line["step"] for line in read(tmp_path, "log.jsonl")] == [1, 2, 3]
    assert read(tmp_path, "samples.jsonl") == [{"step": step, **rollout} for step in (1, 3) for rollout in ROLLOUTS]


def test_a_step_that_trains_on_older_rollouts_is_a_line_too(tmp_path):
    """Several updates on one batch: the trainer's log has readings of the rollouts only where they were drawn."""
    names = [name for name in LOGS if name not in ("reward", "completions/mean_length")]
    take_steps(new_callback(tmp_path), [1, 2], {name: LOGS[name] for name in names})
    first, second = read(tmp_path, "log.jsonl")
    assert second == {**first, "step": 2}


def test_a_process_beside_the_main_one_gathers_and_is_silent(tmp_path, capfd):
    asked = []
    callback = new_callback(tmp_path, lambda: asked.append(1) or CUT, samples_every=1, main=False)
    with callback.watching():
        take_steps(callback, range(1, IN_A_ROW + 1))
    callback.on_save(TrainingArguments(str(tmp_path), report_to="none"), TrainerState(global_step=5), TrainerControl())
    assert len(asked) == IN_A_ROW
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_warnings_are_said_and_logged_once_also_after_a_stop(tmp_path, capfd):
    take_steps(new_callback(tmp_path, lambda: CUT), range(1, IN_A_ROW))
    resumed = new_callback(tmp_path, lambda: CUT)
    with resumed.watching():
        take_steps(resumed, [IN_A_ROW, IN_A_ROW + 1])
    again = new_callback(tmp_path, lambda: CUT)
    with again.watching():
        take_steps(again, [IN_A_ROW + 2])
    [(step, [warning])] = [(row["step"], row["warnings"]) for row in read(tmp_path, "log.jsonl") if "warnings" in row]
    assert step == IN_A_ROW
    assert "--max-tokens" in warning
    assert capfd.readouterr().err.count(f"warning: step {IN_A_ROW}: {warning}\n") == 1


def test_what_is_not_finite_is_null_in_the_log_and_a_warning(tmp_path, capfd):
    take_steps(new_callback(tmp_path), [4], {**LOGS, "loss": float("nan")})
    [line] = read(tmp_path, "log.jsonl")
    assert line["loss"] is None
    assert "warning: step 4: loss of step 4 is not a finite number" in capfd.readouterr().err


def test_a_first_loss_of_0_is_explained_and_no_warning(tmp_path, capfd):
    take_steps(new_callback(tmp_path), [1, 2], {**LOGS, "loss": 0.0})
    assert capfd.readouterr().err.count("note: the loss is") == 1
    assert all("warnings" not in line for line in read(tmp_path, "log.jsonl"))


@pytest.fixture
def interruptible():
    """Take SIGINT as Python does, also in a process that a shell started in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_ctrl_c_stops_after_the_step_and_the_second_at_once(tmp_path, interruptible):
    callback, control = new_callback(tmp_path), TrainerControl()
    arguments = TrainingArguments(str(tmp_path), report_to="none")
    before = signal.getsignal(signal.SIGINT)
    with callback.watching():
        callback.on_step_end(arguments, TrainerState(), control)
        assert not control.should_training_stop
        os.kill(os.getpid(), signal.SIGINT)
        callback.on_step_end(arguments, TrainerState(), control)
        assert control.should_training_stop
        assert control.should_save
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert callback.interrupted
    assert signal.getsignal(signal.SIGINT) is before


def test_a_checkpoint_has_its_card(tmp_path):
    (tmp_path / "checkpoint-7").mkdir()
    arguments = TrainingArguments(str(tmp_path), report_to="none")
    new_callback(tmp_path).on_save(arguments, TrainerState(global_step=7), TrainerControl())
    [card] = lines((tmp_path / "checkpoint-7" / "r1kit.json").read_text().replace("\n", ""))
    assert (card["command"], card["step"]) == ("grpo", 7)


IN_TWO = """
import os, signal, sys
from pathlib import Path
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments
from test_callbacks import ROLLOUTS, new_callback, take_steps

arguments = TrainingArguments(sys.argv[1], use_cpu=True, report_to="none")
rank = arguments.process_index

def gather():
    parts = [None, None]
    torch.distributed.all_gather_object(parts, ROLLOUTS[4 * rank : 4 * rank + 4])
    return parts[0] + parts[1]

callback, control = new_callback(Path(sys.argv[1]), gather, samples_every=1, main=rank == 0), TrainerControl()
with callback.watching():
    for step in (1, 2, 3):
        if (step, rank) == (2, 1):
            os.kill(os.getpid(), signal.SIGINT)
        callback.on_step_end(arguments, TrainerState(), control)
        take_steps(callback, [step])
        if control.should_training_stop:
            break
Path(sys.argv[1], f"stopped-{rank}").write_text(f"{step} of {arguments.world_size}")
torch.distributed.destroy_process_group()
"""


def test_two_processes_leave_one_log_and_stop_together(tmp_path):
    """Ctrl-C reaches one of them alone."""
    (tmp_path / "in_two.py").write_text(IN_TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": f"{REPO}:{Path(__file__).parent}", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [*command, tmp_path / "in_two.py", tmp_path], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert [(tmp_path / f"stopped-{rank}").read_text() for rank in (0, 1)] == ["2 of 2"] * 2
    assert [line["step"] for line in read(tmp_path, "log.jsonl")] == [1, 2]
    assert read(tmp_path, "samples.jsonl") == [{"step": step, **rollout} for step in (1, 2) for rollout in ROLLOUTS]
