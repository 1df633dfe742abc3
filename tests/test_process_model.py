"""`r1kit reward-model --process` as it is run: its folder, what it says, what it refuses, and how it goes on."""

import copy
import json
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import invoke, lines, write_jsonl
from safetensors.torch import load_file

from r1kit.classifier import open_classifier
from r1kit.errors import UsageError, UserError
from r1kit.jsonl import read_records
from r1kit.model import load_model, save_model
from r1kit.process_model import train_process_model
from r1kit.reward_plan import RewardPlan, check_reward_plan
from r1kit.rewards.process import ProcessRewardModel

FLAGS = ("--process", "--model", "student", "--batch-size", 8, "--separator", " = ", "--learning-rate", 5e-3)
LONG = ("--epochs", 2, "--save-every", 1, "--held-out-share", 0.25)


def stepwise_rows(count=64):
    """Return sums whose results are right or far too high; what follows a wrong one is wrong as well."""
    chance, rows = random.Random(0), []
    for number in range(count):
        numbers = [chance.randint(1, 4) for _ in range(chance.randint(3, 5))]
        total, steps, labels = numbers[0], [], [True]
        for term in numbers[1:]:
            steps.append(f"{total} + {term}")
            wrong = chance.random() < 0.25
            total += term + 70 * wrong
            labels.append(labels[-1] and not wrong)
        rows.append({"id": str(number), "prompt": f"What is {' + '.join(map(str, numbers))}?", "labels": labels})
        rows[-1]["completions"] = [*(f"{said}" for said in steps), f"{total}."]
    return rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("steps") / "steps.jsonl", stepwise_rows())


def training(rows, folder, *flags):
    return ["reward-model", *map(str, (*FLAGS, *LONG, rows, "-o", folder, *flags))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, rows):
    """Return the folder of a run, and what it said."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, invoke(*training(rows, folder))


def test_a_run_leaves_a_process_reward_model_that_says_how_it_reads(trained):
    folder, _ = trained
    card = json.loads((folder / "r1kit.json").read_text())
    assert (card["command"], card["parent"], card["seed"]) == ("reward-model --process", "student", 0)
    assert card["step_separator"] == ProcessRewardModel(str(folder)).separator == " = "
    assert card["metrics"].keys() == {"loss", "held_out_loss", "held_out"}
    assert card["metrics"]["held_out"] == json.loads((folder / "report.json").read_text())
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["LlamaForTokenClassification"]
    assert not (folder / "rows").exists()


def test_scores_are_those_of_plain_transformers(trained):
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    folder = str(trained[0])
    model, tokenizer = AutoModelForTokenClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for row in stepwise_rows(8):
        ids, ends = tokenizer(row["prompt"])["input_ids"], []
        for step in row["completions"]:
            ids += tokenizer(step)["input_ids"] + tokenizer(" = ")["input_ids"]
            ends.append(len(ids) - 1)
        with torch.no_grad():
            plain = model(torch.tensor([ids])).logits[0, ends].softmax(-1)[:, 1].tolist()
        scores = ProcessRewardModel(folder).step_scores(row["prompt"], row["completions"])
        assert scores == pytest.approx(plain, abs=1e-5)


def test_what_the_rows_and_the_model_came_to_is_said(trained):
    folder, told = trained
    assert told.startswith("64 rows: ")
    report = json.loads((folder / "report.json").read_text())
    assert f"held out: {report['steps']} steps of {report['rows']} rows" in told
    assert f"(by chance {report['by_chance']:.1%}; {report['wrong_rows']} rows have one)" in told
    log = lines((folder / "log.jsonl").read_text())
    assert [line["step"] for line in log] == list(range(1, len(log) + 1))
    assert log[-1]["loss"] < log[0]["loss"]
    assert log[-1]["held_out_loss"] == pytest.approx(
        json.loads((folder / "r1kit.json").read_text())["metrics"]["held_out_loss"]
    )
    assert 0 <= log[0]["accuracy"] <= 1


def test_a_run_that_is_killed_goes_on_to_the_same_weights(trained, rows, tmp_path):
    folder = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-m", "r1kit", *training(rows, folder)], stderr=subprocess.DEVNULL)
    while process.poll() is None and not list((folder / "checkpoints").glob("checkpoint-[3-9]/trainer_state.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "config.json").exists()
    invoke(*training(rows, folder, "--resume"))
    one, other = (load_file(place / "model.safetensors") for place in (trained[0], folder))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (folder / "report.json").read_text() == (trained[0] / "report.json").read_text()


def test_a_process_reward_model_is_trained_on_and_taken_for_nothing_else(trained, rows, tmp_path):
    folder = str(trained[0])
    invoke("reward-model", "--process", "--model", folder, rows, "--steps", 1, "-o", tmp_path / "again")
    with pytest.raises(UserError, match="is a process reward model, which writes no text"):
        load_model(folder)
    with pytest.raises(UserError, match="is neither a causal language model nor a reward model"):
        open_classifier(folder, "sequence", 1)


def test_a_reward_model_is_no_process_reward_model(tiny_model, rows, tmp_path):
    from transformers import LlamaForSequenceClassification

    config = copy.deepcopy(tiny_model[0].config)
    config.num_labels = 1
    save_model(LlamaForSequenceClassification(config), tiny_model[1], tmp_path / "rm", {})
    plan = RewardPlan(model=str(tmp_path / "rm"), process=True)
    with pytest.raises(UserError) as caught:
        train_process_model(read_records(str(rows)), plan, tmp_path / "run")
    what = "is neither a causal language model nor a process reward model (it is a LlamaForSequenceClassification)"
    assert str(caught.value) == f"{tmp_path / 'rm'}: {what}; name one of the two, or base"


def test_bad_rows_are_named_before_a_step_is_taken(tmp_path):
    bad = write_jsonl(tmp_path / "bad.jsonl", [*stepwise_rows(3), {"prompt": "p", "completions": [], "labels": []}])
    plan = RewardPlan(model="student", process=True)
    with pytest.raises(UserError) as caught:
        train_process_model(read_records(str(bad)), plan, tmp_path / "run")
    assert str(caught.value) == f"{bad}:4: completions holds no steps; leave such rows out"
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.json"}


@pytest.mark.parametrize("said", [{"separator": ". "}, {"last_step_only": True}])
def test_flags_of_steps_are_refused_for_pairs(said):
    with pytest.raises(UsageError, match="is for steps, and pairs have none; say --process, or leave it out"):
        check_reward_plan(RewardPlan(model="student", **said))
