"""`r1kit reward-model` as it is run: its folder, what it says, what it refuses, and how it goes on."""

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

from r1kit.errors import UsageError, UserError
from r1kit.grpo_plan import parse_settings
from r1kit.jsonl import Record
from r1kit.reward_model import read_sources, train_reward_model
from r1kit.reward_plan import FLAGS, RewardPlan, check_reward_plan
from r1kit.rewards.model import RewardModel

SETTINGS = {"batch_size": 8, "learning_rate": 5e-3, "steps": 8, "held_out_share": 0.2, "save_every": 4, "eval_every": 4}


def pairs(count=60, seed=0):
    """Return pairs of polite and rude answers; the rude one is longer in most."""
    chance, rows = random.Random(seed), []
    for _ in range(count):
        prompt = f"What is {chance.randint(1, 9)} + {chance.randint(1, 9)}?"
        rows.append(
            {
                "prompt": prompt,
                "chosen": f"It is {chance.randint(2, 18)}, sir.",
                "rejected": "no " * chance.randint(2, 12),
            }
        )
    return rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", pairs())


def train(rows, model, folder, resume=False, **settings):
    """Train in this process."""
    train_reward_model(read_sources(str(rows)), RewardPlan(str(model), **{**SETTINGS, **settings}), folder, resume)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_folder, rows):
    """Return the folder of a run, and what it said."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
    return folder, invoke("reward-model", "--model", tiny_folder, rows, *flags, "-o", folder)


def test_a_run_leaves_a_reward_model_that_says_what_made_it(trained, tiny_folder):
    folder, _ = trained
    card = json.loads((folder / "r1kit.json").read_text())
    assert (card["command"], card["parent"], card["prompt_style"]) == ("reward-model", str(tiny_folder), "chat")
    assert card["data_hash"] == json.loads((folder / "examples.json").read_text())["data_hash"]
    assert card["metrics"].keys() == {"loss", "held_out_loss", "held_out"}
    assert card["metrics"]["held_out"] == json.loads((folder / "report.json").read_text())
    assert not (folder / "rows").exists()


def test_the_log_has_a_line_a_step_and_measures_where_it_is_asked_to(trained):
    log = lines((trained[0] / "log.jsonl").read_text())
    assert [line["step"] for line in log] == list(range(1, 9))
    assert [line["step"] for line in log if "held_out_accuracy" in line] == [4, 8]
    assert log[-1]["loss"] < 0.5 < log[0]["loss"]
    assert {"accuracy", "margin", "mean_reward", "grad_norm", "learning_rate"} <= log[0].keys()
    assert log[0]["learning_rate"] == pytest.approx(5e-3)


def test_the_report_tells_accuracy_what_length_explains_and_calibration(trained):
    folder, said = trained
    report = json.loads((folder / "report.json").read_text())
    assert report["accuracy"]["value"] > 0.9
    assert report["accuracy"]["low"] < report["accuracy"]["high"]
    assert report["length_only"]["rule"] == "shorter"
    assert 0.5 < report["length_only"]["value"] < 1
    assert sum(found["pairs"] for found in report["calibration"]) == report["pairs"]
    told = said.splitlines()
    assert told[0].startswith("60 pairs: ")
    for title in ("accuracy ", "length alone ", "predicted ", "expected calibration error: "):
        assert any(line.startswith(title) for line in told), title


def test_plain_transformers_gives_the_same_scores(trained):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = str(trained[0])
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    talks = [
        [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row[side]}]
        for row in pairs(4, seed=1)
        for side in ("chosen", "rejected")
    ]
    batch = tokenizer.apply_chat_template(talks, tokenize=True, return_dict=True, padding=True, return_tensors="pt")
    expected = model(**batch).logits[:, 0].tolist()
    rollouts = [{"prompt": talk[0]["content"], "completion": talk[1]["content"]} for talk in talks]
    assert RewardModel(folder).scores(rollouts) == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.1


@pytest.mark.slow
@pytest.mark.vllm
def test_vllm_opens_the_folder_with_the_same_scores(trained, monkeypatch):
    vllm = pytest.importorskip("vllm")
    for name, value in (("CPU_KVCACHE_SPACE", "1"), ("WORKER_MULTIPROCESSING_METHOD", "spawn")):
        monkeypatch.setenv(f"VLLM_{name}", value)
    reward = RewardModel(str(trained[0]))
    rollouts = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in pairs(3, seed=1)]
    engine = vllm.LLM(reward.folder, runner="pooling", dtype="float32", enforce_eager=True, max_model_len=200)
    asked = [{"prompt_token_ids": reward.encode(rollout)} for rollout in rollouts]
    found = engine.classify(asked, pooling_params=vllm.PoolingParams(use_activation=False), use_tqdm=False)
    assert [output.outputs.probs[0] for output in found] == pytest.approx(reward.scores(rollouts), abs=1e-3)


def test_a_run_that_is_stopped_goes_on_to_the_same_weights(trained, tiny_folder, rows, tmp_path):
    folder = train(rows, tiny_folder, tmp_path / "run", save_every=4, steps=8)
    weights = (folder / "model.safetensors").read_bytes()
    assert weights == (trained[0] / "model.safetensors").read_bytes()
    shutil.rmtree(folder / "checkpoints" / "checkpoint-8")
    (folder / "model.safetensors").unlink()
    train(rows, tiny_folder, folder, resume=True)
    assert (folder / "model.safetensors").read_bytes() == weights
    assert [line["step"] for line in lines((folder / "log.jsonl").read_text())] == list(range(1, 9))


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_weights(trained, tiny_folder, rows, tmp_path):
    folder = tmp_path / "killed"
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
    command = [sys.executable, "-m", "r1kit", "reward-model", "--model", tiny_folder, rows, *flags, "-o", folder]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=os.environ)
    while process.poll() is None and not (folder / "checkpoints/checkpoint-4/trainer_state.json").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run = subprocess.run([*map(str, command), "--resume"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert (folder / "model.safetensors").read_bytes() == (trained[0] / "model.safetensors").read_bytes()


def test_an_adapter_is_merged_and_a_reward_model_goes_on_training(trained, rows, tmp_path):
    folder = train(rows, trained[0], tmp_path / "run", lora_rank=2, steps=1, eval_every=None, learning_rate=0.0)
    assert not (folder / "adapter_config.json").exists()
    rollouts = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in pairs(3, seed=1)]
    before, after = (RewardModel(str(path)).scores(rollouts) for path in (trained[0], folder))
    assert after == pytest.approx(before, abs=1e-5)


def test_pairs_may_be_given_to_measure_on(tiny_folder, rows, tmp_path):
    test = write_jsonl(tmp_path / "test.jsonl", pairs(7, seed=2))
    folder = train(rows, tiny_folder, tmp_path / "run", steps=1, held_out=str(test), eval_every=None)
    assert json.loads((folder / "report.json").read_text())["pairs"] == 7
    assert json.loads((folder / "examples.json").read_text())["trained"] == 60


def test_a_run_without_held_out_pairs_has_no_report(tiny_folder, rows, tmp_path):
    folder = train(rows, tiny_folder, tmp_path / "run", steps=1, held_out_share=0.0)
    assert not (folder / "report.json").exists()
    assert json.loads((folder / "r1kit.json").read_text())["metrics"].keys() == {"loss"}


def test_other_pairs_are_refused_on_resume(trained, tiny_folder, tmp_path):
    others = write_jsonl(tmp_path / "others.jsonl", pairs(50))
    with pytest.raises(UserError, match="the run has 60 other examples than these 50"):
        train(others, tiny_folder, trained[0], resume=True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "chosen and rejected are equal; leave such pairs out"),
        ({"prompt": "a", "chosen": "b"}, 'no "rejected"; a pair has prompt, chosen and rejected'),
    ],
)
def test_rows_that_are_no_pairs_leave_nothing_begun(tmp_path, tiny_folder, row, message):
    plan = RewardPlan(str(tiny_folder))
    with pytest.raises(UserError) as raised:
        train_reward_model([Record(row, "<stdin>:1")], plan, tmp_path / "run")
    assert str(raised.value) == f"<stdin>:1: {message}"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


def test_rates_fall_with_the_size_of_the_model():
    plan = RewardPlan("m")
    assert [plan.rate(int(size * 1e9)) for size in (0.001, 1, 7, 70)] == [1e-3, 2e-5, 1e-5, 6e-6]
    assert RewardPlan("m", lora_rank=8).rate(7_000_000_000) == pytest.approx(1e-4)
    assert (plan.window(131_072), plan.window(512), RewardPlan("m", max_length=50).window(512)) == (8192, 512, 50)


def test_flags_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="--chat-template: no file nothing; name a Jinja file"):
        check_reward_plan(RewardPlan("base", chat_template="nothing"))
    with pytest.raises(UsageError, match="--margin: is for pairs, and a process reward model has none; leave it out"):
        check_reward_plan(RewardPlan("base", process=True, margin=1.0))


def test_a_setting_that_has_a_flag_is_refused():
    with pytest.raises(UsageError) as raised:
        parse_settings(["center_rewards_coefficient=1"], "RewardConfig", FLAGS)
    assert str(raised.value) == (
        "--set: center_rewards_coefficient has a flag of its own; say --center-rewards-coefficient"
    )
