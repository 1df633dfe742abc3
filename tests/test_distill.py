"""`r1kit distill` as it is run: its folder, the single commands that it is made of, and how it goes on after a kill."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import invoke, lines, write_jsonl

from r1kit.data import read_problem_list
from r1kit.distill import train_distill, write_traces
from r1kit.distill_plan import DistillPlan
from r1kit.engines.opening import EngineOptions
from r1kit.errors import UserError
from r1kit.sft_plan import SftPlan
from r1kit.thresholds import parse_threshold

METHODS = ("traces", "logits", "on-policy")
STAGES = ("rollouts.jsonl", "scored.jsonl", "examples.jsonl")
TRAINING = ("--steps", 4, "--batch-size", 8, "--save-every", 1, "--held-out-share", 0)
SAMPLING = ("-n", 2, "--max-tokens", 32)
FLAGS = (  # the base is seldom right; its completions come in portions, so that a kill can hit amid them
    "--teacher", "base", "--student", "student", *TRAINING, *SAMPLING, "--sample-batch-size", 4,
    "--keep", 2, "--threshold", "format=0",
)  # fmt: skip


def start(problems, folder, *more):
    command = [sys.executable, "-m", "r1kit", "distill", problems, *FLAGS, "-o", folder, *more]
    return subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=os.environ)


def finish(process):
    """Wait for a run to end well; return what it said."""
    said = process.communicate()[1]
    assert process.returncode == 0, said
    return said


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def losses(folder):
    return [(line["step"], line["loss"]) for line in lines((folder / "log.jsonl").read_text())]


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    chance, rows = random.Random(0), []
    for number in range(20):
        numbers = [chance.randint(1, 9) for _ in range(3)]
        prompt = f"What is {' + '.join(map(str, numbers))}?"
        rows.append({"id": str(number), "prompt": prompt, "answer": str(sum(numbers)), "kind": "math"})
    return write_jsonl(tmp_path_factory.mktemp("problems") / "problems.jsonl", rows)


@pytest.fixture(scope="module")
def runs(problems, tmp_path_factory):
    """Return a folder of each method's run, and what the runs said; the first is a process of its own."""
    folders = {method: tmp_path_factory.mktemp("runs") / method for method in METHODS}
    said = {"traces": finish(start(problems, folders["traces"]))}
    for method in METHODS[1:]:
        said[method] = invoke("distill", problems, *FLAGS, "-o", folders[method], "--method", method)
    return folders, said


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_a_model_that_says_what_made_it(runs, method):
    folder = runs[0][method]
    card = json.loads((folder / "r1kit.json").read_text())
    expected = {"command": "distill", "method": method, "teacher": "base", "parent": "student", "seed": 0}
    assert {name: card[name] for name in expected} == expected
    assert len(card["data_hash"]) == 16
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 64
    assert [line["step"] for line in lines((folder / "log.jsonl").read_text())] == [1, 2, 3, 4]
    assert not (folder / "rows").exists()


@pytest.mark.parametrize("method", METHODS)
def test_the_stages_are_in_the_folder(runs, method):
    held = sorted(path.name for path in (runs[0][method] / "traces").glob("*"))
    assert held == ([] if method == "on-policy" else sorted(STAGES))


def test_methods_that_imitate_the_same_chains_begin_with_the_same_ones(runs):
    traces, logits = (runs[0][method] / "traces" for method in ("traces", "logits"))
    assert all((traces / name).read_bytes() == (logits / name).read_bytes() for name in STAGES)
    assert len(lines((traces / STAGES[0]).read_text())) == 40
    assert 30 <= len(lines((traces / STAGES[2]).read_text())) <= 40


def test_the_cost_is_said_at_the_end(runs):
    folders, said = runs
    drawn = sum(row["completion_tokens"] for row in lines((folders["traces"] / "traces" / STAGES[0]).read_text()))
    for method in METHODS:
        log = lines((folders[method] / "log.jsonl").read_text())
        read, own = (sum(line["tokens"][phase] for line in log) for phase in ("train", "generate"))
        assert (own > 0) == (method == "on-policy")
        teachers = 0 if method == "on-policy" else drawn
        start = f"cost: {teachers:,} tokens drawn by the teacher, {own:,} by the student, {read:,} read in training, "
        assert said[method].splitlines()[-1].startswith(start)


def test_the_single_commands_make_the_same_student(runs, problems, tmp_path):
    rollouts, scored, examples, student = (tmp_path / name for name in (*STAGES, "student"))
    for command in (
        ("rollout", "--model", "base", problems, *SAMPLING, "--batch-size", 4, "-o", rollouts),
        ("reward", rollouts, "-o", scored),
        ("reject-sample", scored, "--format", "prompt-completion", *FLAGS[-4:], "-o", examples),
        ("sft", "--model", "student", examples, *TRAINING, "-o", student),
    ):
        invoke(*command)
    folder = runs[0]["traces"]
    for path in (rollouts, scored, examples):
        assert path.read_bytes() == (folder / "traces" / path.name).read_bytes()
    assert weights(student) == weights(folder)
    cards = [json.loads((f / "r1kit.json").read_text()) for f in (student, folder)]
    assert cards[0]["data_hash"] == cards[1]["data_hash"]


# --- the stages and the training, one by one, in this process


@pytest.fixture
def plan(problems):
    """Return the plan of the runs, with a method and what else differs."""

    def make(method="traces", teacher="base", seed=0, **more):
        own = SftPlan("student", steps=4, batch_size=8, save_every=1, held_out_share=0.0, max_tokens=32, seed=seed)
        options = EngineOptions(batch_size=4)
        chosen = {"n": 2, "keep": 2, "threshold": parse_threshold("format=0"), "options": options, **more}
        return DistillPlan(method, str(teacher), own, **chosen)

    return make


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("as_teacher", [True, False])
def test_traces_that_are_given_give_the_same_examples(runs, plan, tmp_path, stage, as_teacher):
    made = runs[0]["traces"] / "traces"
    given = {"teacher": made / stage} if as_teacher else {"traces": str(made / stage)}
    write_traces([], plan(**given), tmp_path / "traces")
    assert (tmp_path / "traces" / STAGES[2]).read_bytes() == (made / STAGES[2]).read_bytes()
    later = STAGES[STAGES.index(stage) + 1 :]
    assert {path.name for path in (tmp_path / "traces").iterdir()} == {*later, STAGES[2]}


def test_what_is_given_is_chosen_from_as_the_plan_says(runs, plan, tmp_path):
    scored = runs[0]["traces"] / "traces" / "scored.jsonl"
    write_traces([], plan(teacher=scored, keep=1), tmp_path / "traces")
    rows = lines((tmp_path / "traces" / "examples.jsonl").read_text())
    assert len({row["id"] for row in rows}) == len(rows) > 10


def test_a_student_of_given_examples_is_that_of_the_run(runs, plan, tmp_path):
    made = runs[0]["traces"]
    train_distill([], [], plan(teacher=made / "traces" / "examples.jsonl"), tmp_path / "run")
    assert weights(tmp_path / "run") == weights(made)


def test_fewer_rows_than_a_batch_are_trained_on_together(plan, tmp_path, capsys):
    rows = [{"id": str(i), "prompt": f"What is {i} + 1?", "completion": f" {i + 1}"} for i in range(5)]
    examples = write_jsonl(tmp_path / "examples.jsonl", rows)
    train_distill([], [], plan("logits", traces=str(examples)), tmp_path / "run")
    assert [step for step, _ in losses(tmp_path / "run")] == [1, 2, 3, 4]
    assert "warning: there are 5 rows to train on, so that a step takes 5\n" in capsys.readouterr().err


def test_another_run_in_the_folder_is_not_overwritten(runs, plan):
    folder = runs[0]["traces"]
    before = weights(folder)
    with pytest.raises(UserError) as error:
        train_distill([], [], plan(), folder)
    assert str(error.value) == f"{folder}: holds another run; say --resume, --overwrite, or another folder with -o"
    assert weights(folder) == before


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("change", "said"),
    [({"keep": 1}, "keep 2, not 1"), ({"seed": 1}, "seed 0, not 1"), ({"beta": 0.5}, "beta None, not 0.5")],
)
def test_changed_settings_are_refused_by_name(runs, problems, plan, method, change, said):
    folder = runs[0][method]
    with pytest.raises(UserError) as error:
        train_distill(read_problem_list(str(problems), "train"), [], plan(method, **change), folder, resume=True)
    assert str(error.value) == (f"{folder}: the run has {said}; resume with the same settings, or say --overwrite")


def test_other_problems_are_another_run(runs, problems, plan):
    with pytest.raises(UserError, match="the run has data_hash "):
        train_distill(read_problem_list(str(problems), "train")[1:], [], plan(), runs[0]["traces"], resume=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_goes_on_from_any_of_its_checkpoints(runs, problems, plan, tmp_path, method):
    """A copy of the run without its last step: what a kill after step 3 leaves."""
    folder = tmp_path / "stopped"
    shutil.copytree(runs[0][method], folder)
    shutil.rmtree(folder / "checkpoints" / "checkpoint-4")
    (folder / "model.safetensors").unlink()
    train_distill(read_problem_list(str(problems), "train"), [], plan(method), folder, resume=True)
    assert weights(folder) == weights(runs[0][method])
    assert losses(folder) == losses(runs[0][method])


# --- runs that are killed


def kill_when(process, condition):
    while process.poll() is None and not condition():
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"


def has_lines(path, count):
    return path.exists() and path.read_bytes().count(b"\n") >= count


def test_a_run_killed_amid_a_stage_and_a_step_ends_with_the_same_weights(runs, problems, tmp_path):
    folder = tmp_path / "killed"
    kill_when(start(problems, folder), lambda: has_lines(folder / "traces" / "rollouts.jsonl.part", 5))
    assert not (folder / "traces" / "rollouts.jsonl").exists()
    state = folder / "checkpoints" / "checkpoint-2" / "trainer_state.json"
    kill_when(start(problems, folder, "--resume"), state.exists)
    assert not (folder / "model.safetensors").exists()
    invoke("distill", problems, *FLAGS, "-o", folder, "--resume")
    assert weights(folder) == weights(runs[0]["traces"])
    assert losses(folder) == losses(runs[0]["traces"])


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS[1:])
def test_a_run_against_a_teacher_is_killed_and_ends_with_the_same_weights(runs, problems, tmp_path, method):
    folder = tmp_path / "killed"
    for kill, step in enumerate((1, 3)):
        state = folder / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json"
        kill_when(start(problems, folder, "--method", method, *(["--resume"] if kill else [])), state.exists)
    finish(start(problems, folder, "--method", method, "--resume"))
    assert weights(folder) == weights(runs[0][method])
    assert losses(folder) == losses(runs[0][method])
