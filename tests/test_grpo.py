import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import invoke, lines, r1kit, refused, write_jsonl

from r1kit.errors import UserError
from r1kit.run_folder import claim_folder, latest_checkpoint
from r1kit.step_log import TIMED

SMALL = ("--model", "base", "--batch-size", 16, "--max-tokens", 48, "--eval-samples", 2, "--report-to", "tensorboard")


LOGGED = ("--save-every", 2, "--samples-every", 2)


def grpo(folder, *arguments, steps=5, eval_file=None):
    """Return the words of a command line."""
    held_out = ("--eval", eval_file) if eval_file else ()
    return ("grpo", *SMALL, "-o", folder, "--steps", steps, *held_out, *arguments)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    rows = [{"id": str(i), "prompt": f"What is {i} + 2 + 3?", "answer": str(i + 5)} for i in range(4)]
    return write_jsonl(tmp_path_factory.mktemp("data") / "test.jsonl", rows)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, held_out):
    """Return a run of five steps that nothing stopped."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run = r1kit(*grpo(folder, *LOGGED, eval_file=held_out))
    assert run.returncode == 0, run.stderr
    return folder, run


def outputs(folder: Path) -> dict[str, object]:
    """Return what a run wrote, without the seconds it took."""
    log = [{k: v for k, v in line.items() if k not in TIMED} for line in lines((folder / "log.jsonl").read_text())]
    files = ("model.safetensors", "r1kit.json", "samples.jsonl", "eval-before.jsonl", "eval-after.jsonl")
    return {"log": log, **{name: (folder / name).read_bytes() for name in files}}


def test_a_run_leaves_a_model_its_logs_and_a_table(whole_run):
    folder, run = whole_run
    assert run.stdout == ""
    assert "before " in run.stderr
    assert "after " in run.stderr
    assert "mean reward of a step" in run.stderr
    assert "\x1b" not in run.stderr
    log = lines((folder / "log.jsonl").read_text())
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5]
    assert log[0].keys() >= {
        "reward", "rewards", "accuracy", "length", "length_right", "length_wrong", "truncated", "entropy", "clip_high",
        "zero_signal", "always_right", "never_right", "trained", "resampled", "reflection", "logprob_difference",
        "loss", "grad_norm", "tokens", "tokens_per_second", "seconds",
    }  # fmt: skip
    assert log[0]["seconds"].keys() == {"generate", "grade", "score", "train"}
    assert 0 <= log[0]["logprob_difference"] < 1e-4
    samples = lines((folder / "samples.jsonl").read_text())
    assert {s["step"] for s in samples} == {1, 3, 5}
    assert [s["sample"] for s in samples[:9]] == [0, 1, 2, 3, 4, 5, 6, 7, 0]
    assert samples[0].keys() >= {
        "id", "prompt", "answer", "completion", "finish_reason", "prompt_tokens", "completion_tokens", "rewards",
        "reward", "extracted",
    }  # fmt: skip
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list(folder.glob("checkpoints/runs/*/events.out.tfevents.*"))
    card = json.loads((folder / "r1kit.json").read_text())
    assert (card["command"], card["parent"], card["prompt_style"]) == ("grpo", "base", "r1-zero")
    assert card["metrics"]["before"]["problems"] == 4


def test_the_verdicts_of_a_run_are_those_of_the_reward_command(whole_run):
    samples = lines((whole_run[0] / "samples.jsonl").read_text())
    graded = lines(r1kit("reward", whole_run[0] / "samples.jsonl").stdout)
    fields = ("verdict", "extracted", "rewards", "reward")
    assert [{f: row[f] for f in fields} for row in graded] == [{f: row[f] for f in fields} for row in samples]
    assert {row["verdict"] for row in samples} >= {"correct", "wrong"}


def test_kinds_are_trained_by_their_own_rewards(tmp_path):
    math = [{"id": f"m{i}", "prompt": f"What is {i} + 3?", "answer": str(i + 3), "language": "en"} for i in range(4)]
    tests = {"fn_name": "add_2", "inputs": [[1]], "outputs": [3]}
    prompt = "Write a Python function add_2(x) that returns x plus 2."
    code = [{"id": f"c{i}", "prompt": prompt, "kind": "code", "tests": tests} for i in range(4)]
    problems = write_jsonl(tmp_path / "problems.jsonl", [row for pair in zip(math, code, strict=True) for row in pair])
    rewards = ("--reward", "math=accuracy,language:0.1", "code=accuracy:2,overlong:0.1")
    invoke("grpo", *SMALL, problems, *rewards, "-o", tmp_path / "run", "--steps", 2, "--samples-every", 1)
    samples = lines((tmp_path / "run" / "samples.jsonl").read_text())
    names = {row["id"][0]: set(row["rewards"]) for row in samples}
    assert names == {"m": {"accuracy", "language"}, "c": {"accuracy", "overlong"}}
    log = lines((tmp_path / "run" / "log.jsonl").read_text())
    assert log[0]["rewards"].keys() == {"math=accuracy", "math=language", "code=accuracy", "code=overlong"}


def test_the_same_seed_gives_the_same_run(whole_run, tmp_path, held_out):
    again = tmp_path / "again"
    invoke(*grpo(again, *LOGGED, eval_file=held_out))
    assert outputs(again) == outputs(whole_run[0])


def test_a_resumed_run_is_the_uninterrupted_one(whole_run, tmp_path, held_out):
    """Stopped hard after its second step: the checkpoint of step 2 and a log that went on."""
    folder = tmp_path / "stopped"
    process = start_grpo(folder, *LOGGED, eval_file=held_out)
    wait_for(lambda: count_lines(folder / "log.jsonl") >= 3, process)
    process.kill()
    process.wait()
    assert (folder / "checkpoints" / "checkpoint-2").is_dir()
    invoke(*grpo(folder, *LOGGED, "--resume", eval_file=held_out))
    assert outputs(folder) == outputs(whole_run[0])


def test_a_finished_run_is_made_longer_and_measured_anew(whole_run, tmp_path, held_out):
    folder = tmp_path / "longer"
    shutil.copytree(whole_run[0], folder)
    before = outputs(folder)
    invoke(*grpo(folder, *LOGGED, "--resume", steps=7, eval_file=held_out))
    after = outputs(folder)
    assert after["log"][:5] == before["log"]
    assert [line["step"] for line in after["log"]] == [1, 2, 3, 4, 5, 6, 7]
    assert after["model.safetensors"] != before["model.safetensors"]
    assert after["eval-after.jsonl"] != before["eval-after.jsonl"]


def test_ctrl_c_ends_with_130_and_a_checkpoint_that_is_a_model(tmp_path, held_out):
    folder = tmp_path / "run"
    process = start_grpo(folder, "--eval-samples", 1, steps=1000, eval_file=held_out)
    wait_for(lambda: count_lines(folder / "log.jsonl") >= 2, process)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert "--resume" in process.stderr.read()
    checkpoint = latest_checkpoint(folder)
    assert checkpoint is not None
    assert count_lines(folder / "log.jsonl") == int(checkpoint.name.partition("-")[2])
    problem = write_jsonl(tmp_path / "problem.jsonl", [{"prompt": "1 + 1 = ?"}])
    invoke("rollout", "--model", checkpoint, "--max-tokens", 4, problem, "-o", tmp_path / "rollouts.jsonl")
    assert len(lines((tmp_path / "rollouts.jsonl").read_text())) == 1


def test_the_trained_folder_says_the_same_from_plain_transformers(whole_run, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, _ = whole_run
    flags = ("--temperature", 0, "--prompt-style", "chat", "--max-tokens", 40)
    problem = write_jsonl(tmp_path / "problem.jsonl", [{"prompt": "What is 3 + 9 + 6?"}])
    invoke("rollout", "--model", folder, *flags, problem, "-o", tmp_path / "rollouts.jsonl")
    [rollout] = lines((tmp_path / "rollouts.jsonl").read_text())
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is 3 + 9 + 6?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    said = model.generate(**ids, do_sample=False, max_new_tokens=40)[0, ids["input_ids"].shape[1] :]
    assert tokenizer.decode(said, skip_special_tokens=True) == rollout["completion"]


def test_a_folder_that_holds_another_run_is_refused(whole_run):
    folder, _ = whole_run
    before = outputs(folder)
    line = f"{folder}: holds another run; say --resume, --overwrite, or another folder with -o"
    assert refused(*grpo(folder)) == (1, line)
    assert outputs(folder) == before


def test_changed_settings_are_refused_by_name(whole_run, held_out):
    code, said = refused(*grpo(whole_run[0], "--resume", "--learning-rate", 0.5, eval_file=held_out))
    assert code == 1
    assert "the run has learning_rate None, not 0.5" in said


def test_a_folder_of_somebody_elses_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for flags in ({"resume": True, "overwrite": False}, {"resume": False, "overwrite": True}):
        with pytest.raises(UserError, match="holds files that are no run of r1kit"):
            claim_folder(tmp_path, {}, **flags)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_overwrite_starts_anew_and_a_torn_checkpoint_is_passed_over(tmp_path):
    folder = tmp_path / "run"
    assert claim_folder(folder, {"steps": 5}, resume=False, overwrite=False) is None
    for step, state in ((2, "{}"), (4, '{"torn')):
        (folder / "checkpoints" / f"checkpoint-{step}").mkdir(parents=True)
        (folder / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    (folder / "log.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    (folder / "samples.jsonl").write_text('{"step": 1, "completion": "a\u2028b"}\n{"step": 3}\n')
    assert claim_folder(folder, {"steps": 9}, resume=True, overwrite=False).name == "checkpoint-2"
    assert (folder / "log.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
    assert (folder / "samples.jsonl").read_text() == '{"step": 1, "completion": "a\u2028b"}\n'
    assert claim_folder(folder, {"steps": 5}, resume=False, overwrite=True) is None
    assert [p.name for p in folder.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--reward", "acuracy"), 2, "the known ones are accuracy, format"),
        (("nowhere.jsonl",), 1, "nowhere.jsonl: no such file or known set"),
        (("facts", "--reward", "reasoning-gym"), 1, "the reward reasoning-gym can grade none of the 258 problems"),
        (("--model", "nowhere"), 1, "nowhere: no such model folder"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_folder(tmp_path, arguments, code, message):
    found, said = refused("grpo", "--model", "base", "-o", tmp_path / "run", *arguments)
    assert found == code
    assert message in said
    assert "\n" not in said
    assert not (tmp_path / "run").exists()


def start_grpo(folder, *arguments, **fields):
    command = [sys.executable, "-m", "r1kit", *grpo(folder, *arguments, **fields)]
    return subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)


def count_lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
