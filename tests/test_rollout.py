import json
import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import invoke, lines, r1kit, write_jsonl

from r1kit.engines import Sampling
from r1kit.errors import UserError
from r1kit.jsonl import Record
from r1kit.rollout import RolloutPlan, loaded_policy, sample_rollouts


def problems(count):
    return [
        Record({"id": str(i), "prompt": f"{i} + 1 = ?", "answer": str(i + 1), "x": i}, f"f:{i + 1}")
        for i in range(count)
    ]


def sample(tiny_model, rows, batch_size=256, **plan):
    policy = loaded_policy(*tiny_model, "raw", batch_size)
    return list(sample_rollouts(rows, policy, RolloutPlan(**{"sampling": Sampling(max_tokens=8), **plan})))


def test_a_rollout_is_its_problem_and_one_completion(tiny_model):
    rollouts = sample(tiny_model, problems(3), n=2)
    assert [(r["id"], r["sample"], r["x"]) for r in rollouts] == [(str(i), s, i) for i in range(3) for s in range(2)]
    assert all(r["completion_tokens"] <= 8 and r["prompt_tokens"] > 0 and "logprobs" not in r for r in rollouts)


def test_batch_size_and_order_change_nothing(tiny_model):
    one = sample(tiny_model, problems(7), n=3, batch_size=64)
    assert sample(tiny_model, problems(7), n=3, batch_size=1) == one
    backwards = sample(tiny_model, problems(7)[::-1], n=3, batch_size=4)
    assert sorted(backwards, key=lambda r: (r["id"], r["sample"])) == one


def test_log_probabilities_are_added_on_demand(tiny_model):
    [rollout] = sample(tiny_model, problems(1), with_logprobs=True)
    assert len(rollout["logprobs"]) == rollout["completion_tokens"]
    assert all(value <= 0 for value in rollout["logprobs"])


def test_the_same_id_twice_is_refused(tiny_model):
    with pytest.raises(UserError, match='f:1: the id "0" stands twice'):
        sample(tiny_model, problems(2) + problems(1))


def test_an_empty_prompt_is_named(tiny_model):
    with pytest.raises(UserError, match="f:1: the prompt is empty"):
        sample(tiny_model, [Record({"id": "1", "prompt": ""}, "f:1")])


def test_a_completion_ends_where_the_models_window_does(tiny_model):
    rollouts = sample(tiny_model, problems(1), n=16, sampling=Sampling(max_tokens=300))
    cut = [r for r in rollouts if r["finish_reason"] == "length"]
    assert cut
    assert {r["prompt_tokens"] + r["completion_tokens"] for r in cut} == {256}


def test_a_prompt_past_the_models_window_is_an_error_and_the_run_goes_on(tiny_folder, tmp_path):
    rows = [dict(p) for p in problems(3)]
    rows[1]["prompt"] = "1 + " * 200
    source, output = write_jsonl(tmp_path / "p.jsonl", rows), tmp_path / "out.jsonl"
    run = r1kit("rollout", "--model", tiny_folder, "-n", 2, "--max-tokens", 8, source, "-o", output)
    assert run.returncode == 1
    assert 'rollouts: 2 of 6 completions could not be drawn, the first of "1": ' in run.stderr.splitlines()[-1]
    written = lines(output.read_text())
    assert [r["finish_reason"] == "error" for r in written] == [False, False, True, True, False, False]
    assert "prompt tokens leave no room in the model's window of 256" in written[2]["error"]
    assert (written[2]["completion"], written[2]["completion_tokens"]) == ("", 0)


def test_a_prefill_begins_every_completion(tmp_path):
    run = r1kit(
        "rollout", "--model", "base", "--prefill", "<think>\\n", "--max-tokens", 6, stdin='{"prompt": "1 + 1?"}\n'
    )
    [rollout] = lines(run.stdout)
    assert rollout["completion"].startswith("<think>\n")
    assert rollout["completion_tokens"] <= 6


def test_the_exact_prompt_is_shown_and_nothing_drawn():
    run = r1kit("rollout", "--model", "base", "--show-prompt", 1, stdin='{"id": "a", "prompt": "1 + 1?"}\n' * 2)
    assert (run.returncode, run.stdout) == (0, "")
    header, text = run.stderr.rstrip("\n").split("\n", 1)
    assert header.startswith("--- a: ")
    assert text.startswith("A conversation between User and Assistant.")
    assert text.endswith("User: 1 + 1? Assistant:")
    run = r1kit("rollout", "--model", "m", "--engine", "openai", "--show-prompt", 1, stdin='{"prompt": "1 + 1?"}\n')
    assert json.loads(run.stderr.partition("\n")[2]) == [{"role": "user", "content": "1 + 1?"}]


def test_the_engine_is_said_in_one_line():
    run = r1kit("rollout", "--model", "base", "--max-tokens", 2, stdin='{"prompt": "1 + 1?"}\n')
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith(("engine transformers: ", "engine vllm: "))


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("-n", 0), 2, "--n"),
        (("--engine", "none"), 2, "--engine"),
        (("--prompt-style", "none"), 2, "--prompt-style"),
        (("--engine", "openai"), 2, "openai needs the address of a server; say --url"),
        (("--engine-arg", "swap_space"), 2, '"swap_space" is not KEY=VALUE'),
        (("--engine", "transformers", "--max-model-len", 5), 2, "the transformers engine takes no max_model_len"),
        (("--resume",), 2, "what was written to a stream is gone; name a file with -o"),
        (("--few-shot", "none.jsonl"), 1, "none.jsonl: cannot be read"),
        (("--system", "x", "--prompt-style", "raw"), 2, "raw has no system prompt"),
    ],
)
def test_what_cannot_be_done_is_said(flags, code, message):
    run = r1kit("rollout", "--model", "base", *flags, stdin='{"prompt": "1 + 1?"}\n')
    assert (run.returncode, run.stdout) == (code, "")
    assert message in run.stderr


def test_a_model_without_a_chat_template_is_refused_under_chat(tiny_model, tmp_path):
    from r1kit.model import save_model

    model, tokenizer = tiny_model
    template, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        save_model(model, tokenizer, tmp_path, {"command": "test"})
    finally:
        tokenizer.chat_template = template
    run = r1kit("rollout", "--model", tmp_path, "--prompt-style", "chat", stdin='{"prompt": "1 + 1?"}\n')
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1)
    assert "chat needs a chat template, which the model lacks; use r1-zero or raw" in run.stderr


ROLLING = (
    "rollout", "--model", "base", "-n", "4", "--max-tokens", "48", "--engine", "transformers", "--batch-size", "24",
)  # fmt: skip


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_and_resumed_gives_the_same_bytes(tmp_path, kills):
    """Each run is killed at a random moment of its work; its problems are another model's rollouts."""
    drawn_before = {"model": "another", "sample": 3, "completion": "no idea", "finish_reason": "stop"}
    rows = [{"id": str(i), "prompt": f"What is {i} + {i % 7} + 3?", **drawn_before} for i in range(40)]
    source, whole = write_jsonl(tmp_path / "p.jsonl", rows), tmp_path / "whole.jsonl"
    invoke(*ROLLING, source, "-o", whole)
    assert {rollout["model"] for rollout in lines(whole.read_text())} == {"base"}
    size, drawn, midway = whole.stat().st_size, random.Random(0), 0
    for number in range(kills):
        output = tmp_path / f"{number}.jsonl"
        part = tmp_path / f"{number}.jsonl.part"
        limit = drawn.randrange(size)
        command = [sys.executable, "-m", "r1kit", *ROLLING, source, "-o", output]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while process.poll() is None and (not part.exists() or part.stat().st_size < limit):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        midway += part.exists()
        invoke(*ROLLING, source, "-o", output, "--resume")
        assert output.read_bytes() == whole.read_bytes()
        assert not part.exists()
    assert midway >= 0.6 * kills  # the others had ended


def test_a_whole_output_is_left_alone(tmp_path):
    output = tmp_path / "out.jsonl"
    source = write_jsonl(tmp_path / "p.jsonl", [{"prompt": "1 + 1?"}])
    first = r1kit("rollout", "--model", "base", "--max-tokens", 2, source, "-o", output, "--resume")
    assert first.returncode == 0, first.stderr
    before = output.read_bytes()
    again = r1kit("rollout", "--model", "none", source, "-o", output, "--resume")
    assert (again.returncode, output.read_bytes()) == (0, before)
    assert "out.jsonl is whole; without --resume it is made anew" in again.stderr


def test_changed_settings_are_refused_by_name(tmp_path):
    output = tmp_path / "out.jsonl"
    source = write_jsonl(tmp_path / "p.jsonl", [{"prompt": "1 + 1?"}, {"prompt": "2 + 2?"}])
    source.write_text(source.read_text() + "no json\n")
    command = ("rollout", "--model", "base", "--max-tokens", 2, source, "-o", output)
    assert r1kit(*command).returncode == 1
    for flags, message in (
        (("--temperature", 0.5), "the run has temperature 1.0, not 0.5"),
        (("--prefill", "x"), "the run has prefill '', not 'x'"),
        (("-n", 2), "the run has n 1, not 2"),
        (("--dtype", "bfloat16"), "the run has dtype 'auto', not 'bfloat16'"),
    ):
        run = r1kit(*command, *flags, "--resume")
        assert (run.returncode, run.stderr.count("\n")) == (1, 1)
        assert f"out.jsonl.part: {message}; resume with the same settings" in run.stderr
    write_jsonl(source, [{"prompt": "1 + 1?"}, {"prompt": "2 + 2?"}])
    assert r1kit(*command, "--batch-size", 1, "--resume").returncode == 0
    assert len(lines(output.read_text())) == 2


def test_two_runs_give_the_same_bytes(tmp_path):
    source = write_jsonl(tmp_path / "p.jsonl", [dict(p) for p in problems(5)])
    runs = [r1kit("rollout", "--model", "base", "-n", 4, "--max-tokens", 32, source) for _ in range(2)]
    assert runs[0].returncode == 0, runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    assert len(lines(runs[0].stdout)) == 20
    assert len({r["completion"] for r in lines(runs[0].stdout)}) > 5


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nowhere", "nowhere: no such model folder"),
        ("EMPTY", "no config.json, so no whole model"),
        ("NO-WEIGHTS", r"no *.safetensors"),
    ],
)
def test_a_model_that_is_none_is_named(tmp_path, model, message):
    for name in ("EMPTY", "NO-WEIGHTS"):
        (tmp_path / name).mkdir()
    (tmp_path / "NO-WEIGHTS" / "config.json").write_text("{}")
    run = r1kit("rollout", "--model", model, stdin='{"prompt": "p"}\n', cwd=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("r1kit rollout: error: ")
    assert message in run.stderr
    assert run.stderr.count("\n") == 1
