"""`r1kit sft` as it is run: its folder, what it says, what it refuses, and how it goes on after any kind of end."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import invoke, lines, r1kit, refused, write_jsonl

from r1kit.errors import UsageError
from r1kit.sft_plan import SftPlan
from r1kit.training_plan import check_training_plan

FLAGS = ("--model", "base", "--batch-size", 8, "--learning-rate", 1e-3, "--held-out-share", 0.1)


def examples(count=60):
    """Return examples of sums, ragged in length."""
    chance, rows = random.Random(0), []
    for number in range(count):
        numbers = [chance.randint(1, 9) for _ in range(chance.randint(2, 6))]
        said = f" <think> {' + '.join(map(str, numbers))} = {sum(numbers)}. </think> <answer> {sum(numbers)} </answer>"
        rows.append({"id": str(number), "prompt": f"What is {' + '.join(map(str, numbers))}?", "completion": said})
    return rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("examples") / "rows.jsonl", examples())


@pytest.fixture(scope="module")
def trained(tmp_path_factory, rows):
    """Return the folder of a run over two epochs, and what it said."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    flags = ("--steps", 14, "--save-every", 1, "--eval-every", 7, "--eval-samples", 2, "--max-tokens", 40)
    problems = [{"prompt": row["prompt"], "answer": row["completion"].split()[-2]} for row in examples(10)]
    test = write_jsonl(folder.parent / "test.jsonl", problems)
    return folder, invoke("sft", *FLAGS, rows, *flags, "--eval", test, "-o", folder)


def test_a_run_leaves_a_model_that_says_what_made_it(trained):
    folder, _ = trained
    card = json.loads((folder / "r1kit.json").read_text())
    assert (card["command"], card["parent"], card["prompt_style"], card["seed"]) == ("sft", "base", "r1-zero", 0)
    assert card["data_hash"] == json.loads((folder / "examples.json").read_text())["data_hash"]
    assert card["metrics"].keys() == {"loss", "held_out_loss", "before", "after"}
    assert (folder / "config.json").is_file()
    assert not (folder / "rows").exists()


def test_the_log_has_a_line_a_step_and_measures_where_it_is_asked_to(trained):
    log = lines((trained[0] / "log.jsonl").read_text())
    assert [line["step"] for line in log] == list(range(1, 15))
    assert [line["step"] for line in log if "held_out_loss" in line] == [7, 14]
    assert [line["step"] for line in log if "held_out_accuracy" in line] == [7]
    assert log[-1]["loss"] < log[0]["loss"]
    assert log[-1]["held_out_loss"] < log[0]["loss"]
    assert log[0]["tokens"]["trained"] < log[0]["tokens"]["train"]
    assert log[0]["learning_rate"] == pytest.approx(1e-3)
    assert log[-1]["learning_rate"] < 1.2e-4  # a cosine to a tenth


def test_what_examples_come_to_is_said_before_the_first_step(trained):
    told = trained[1].splitlines()
    assert told[0].startswith("60 examples: ")
    assert "tokens, " in told[0]
    assert next(n for n, line in enumerate(told) if "steps of 8 examples" in line) > 0


def test_the_model_stops_and_is_prompted_as_it_was_trained(trained, tmp_path):
    problems = write_jsonl(tmp_path / "p.jsonl", [{"prompt": "What is 2 + 3 + 4?"}])
    invoke("rollout", "--model", trained[0], problems, "-n", 8, "--max-tokens", 60, "-o", tmp_path / "r.jsonl")
    found = lines((tmp_path / "r.jsonl").read_text())
    assert sum(rollout["finish_reason"] == "stop" for rollout in found) >= 7
    assert sum(rollout["completion"].startswith(" <think>") for rollout in found) >= 6


LONG = ("--steps", 14, "--save-every", 1, "--epochs", 2)


def start(folder, rows, *more):
    command = [sys.executable, "-m", "r1kit", "sft", *FLAGS, rows, *LONG, "-o", folder, *more]
    return subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=os.environ)


def test_a_run_that_is_killed_goes_on_to_the_same_weights(trained, rows, tmp_path):
    folder = tmp_path / "killed"
    for kill in range(2):
        process = start(folder, rows, *(["--resume"] if kill else []))
        wanted = 4 + 5 * kill  # the second time past the first epoch
        while process.poll() is None and not (folder / f"checkpoints/checkpoint-{wanted}/trainer_state.json").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    invoke("sft", *FLAGS, rows, *LONG, "-o", folder, "--resume")
    assert (folder / "model.safetensors").read_bytes() == (trained[0] / "model.safetensors").read_bytes()
    losses = [[line["loss"] for line in lines((f / "log.jsonl").read_text())] for f in (folder, trained[0])]
    assert losses[0] == losses[1]


def test_another_run_in_the_folder_is_not_overwritten(trained, rows):
    before = (trained[0] / "model.safetensors").read_bytes()
    line = f"{trained[0]}: holds another run; say --resume, --overwrite, or another folder with -o"
    assert refused("sft", *FLAGS, rows, "-o", trained[0]) == (1, line)
    assert (trained[0] / "model.safetensors").read_bytes() == before


def test_a_run_goes_on_with_its_own_settings_and_examples_alone(rows, tmp_path):
    flags = ("--steps", 2, "--save-every", 1, "-o", tmp_path / "run")
    invoke("sft", *FLAGS, rows, *flags)
    code, said = refused("sft", *FLAGS, rows, *flags, "--seed", 1, "--resume")
    assert code == 1
    assert said.endswith("the run has seed 0, not 1; resume with the same settings, or say --overwrite")
    others = write_jsonl(tmp_path / "others.jsonl", examples(50))
    assert refused("sft", *FLAGS, others, *flags, "--resume") == (
        1,
        f"{tmp_path}/run: the run has 60 other examples than these 50; resume with the same examples, or say "
        "--overwrite",
    )


@pytest.mark.parametrize("row", [{"text": "a"}, {"prompt": "a"}])
def test_rows_that_are_no_examples_are_named(tmp_path, row):
    path = write_jsonl(tmp_path / "rows.jsonl", [row])
    line = f'{path}:1: neither "messages" nor "prompt" and "completion"; r1kit reject-sample writes such rows'
    assert refused("sft", *FLAGS, path, "-o", tmp_path / "run") == (1, line)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]  # so that the next start just begins


def test_an_adapter_is_merged_into_the_model(rows, tmp_path):
    invoke("sft", *FLAGS, rows, "--steps", 3, "--lora-rank", 4, "-o", tmp_path / "run")
    assert not (tmp_path / "run" / "adapter_config.json").exists()
    log = lines((tmp_path / "run" / "log.jsonl").read_text())
    assert log[-1]["loss"] < log[0]["loss"]


def test_two_processes_train_as_one_does(rows, tmp_path):
    """Each takes 4 of a step's 8 examples; the loss is divided by the tokens of all."""
    flags = [*FLAGS, rows, "--steps", 3, "--held-out-share", 0.1]
    invoke("sft", *flags, "-o", tmp_path / "one")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", 2, "-m", "r1kit", "sft", *flags]
    run = subprocess.run(
        [*map(str, command), "-o", str(tmp_path / "two")], capture_output=True, text=True, env=os.environ, check=False
    )
    assert run.returncode == 0, run.stderr
    one, two = (lines((tmp_path / name / "log.jsonl").read_text()) for name in ("one", "two"))
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=1e-4)
    assert two[-1]["held_out_loss"] == pytest.approx(one[-1]["held_out_loss"], rel=1e-3)


def test_rates_are_those_of_r1s_distilled_models_by_size():
    plan = SftPlan("m")
    assert [plan.rate(int(size * 1e9)) for size in (1.5, 7, 14, 32)] == [1e-4, 8e-5, 7e-5, 6e-5]
    assert plan.rate(1_200_000) == 1e-3
    assert SftPlan("m", lora_rank=8).rate(7_000_000_000) == pytest.approx(8e-4)
    assert SftPlan("m", learning_rate=3e-5).rate(1_200_000) == 3e-5
    assert (plan.window(131_072), plan.window(1024), SftPlan("m", max_length=50).window(1024)) == (32_768, 1024, 50)


def test_a_batch_that_processes_cannot_share_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="--batch-size: 64 cannot be shared by 3 processes; the nearest is 63"):
        check_training_plan(SftPlan("base"))
    with pytest.raises(UsageError, match="--chat-template: no file nothing; name a Jinja file"):
        check_training_plan(SftPlan("base", batch_size=3, chat_template="nothing"))


def test_a_setting_that_has_a_flag_is_refused(rows, tmp_path):
    run = r1kit("sft", *FLAGS, rows, "--set", "packing=true", "-o", tmp_path / "run")
    assert run.returncode == 2
    assert run.stderr == "r1kit sft: error: --set: packing has a flag of its own; say --token-budget\n"
