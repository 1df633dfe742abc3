"""One contract over every command that reads records and writes records."""

import json
import os
import subprocess
import sys

import pytest
from conftest import lines, r1kit, write_jsonl

PROBLEMS = [{"id": str(i), "prompt": f"{i} + 1 = ?", "answer": str(i + 1), "x": {"y": i}} for i in range(4)]
ROLLOUTS = [
    {**p, "sample": 0, "completion": p["answer"], "finish_reason": "stop", "prompt_tokens": 5, "completion_tokens": 2}
    for p in PROBLEMS
]
ROLLOUT = ("rollout", "--model", "base", "--engine", "transformers", "--max-tokens", "8", "--batch-size", "1")
SCORED = [{**r, "rewards": {"accuracy": 1.0}, "reward": 1.0, "verdict": "correct"} for r in ROLLOUTS]
# command, its input, and whether one record goes in for one that comes out
FILTERS = {
    "data": (("data",), PROBLEMS),
    "rollout": (ROLLOUT, PROBLEMS),
    "reward": (("reward",), ROLLOUTS),
    "vote": (("vote",), ROLLOUTS),
    "reject-sample": (("reject-sample",), SCORED),
}
GROUPED = ("vote", "reject-sample")  # those that cannot know that the last group is whole
REPLAYED = ("data", "reject-sample")  # those that refuse to replace a file that is there

every_filter = pytest.mark.parametrize(("command", "records"), FILTERS.values(), ids=FILTERS.keys())


def jsonl(records):
    return "".join(json.dumps(r) + "\n" for r in records)


@every_filter
def test_stdin_and_file_and_dash_are_the_same(command, records, tmp_path):
    path = write_jsonl(tmp_path / "in.jsonl", records)
    by_file, by_dash = r1kit(*command, path), r1kit(*command, "-", stdin=jsonl(records))
    assert by_file.returncode == by_dash.returncode == 0, by_file.stderr
    assert by_file.stdout == by_dash.stdout
    assert len(lines(by_file.stdout)) == len(records)
    output = tmp_path / "out.jsonl"
    assert r1kit(*command, path, "-o", output).stdout == ""
    assert output.read_text() == by_file.stdout


@pytest.mark.parametrize("name", ["data", "rollout", "reward"])  # the others write records of their own
def test_unknown_fields_and_the_order_survive(name):
    command, records = FILTERS[name]
    written = lines(r1kit(*command, "-", stdin=jsonl(records)).stdout)
    for before, after in zip(records, written, strict=True):
        assert before.items() <= after.items()


@every_filter
def test_nothing_in_is_nothing_out(command, records):
    run = r1kit(*command, "-", stdin="")
    assert (run.returncode, run.stdout) == (0, "")


@every_filter
def test_a_bad_line_is_named_and_what_came_before_survives(command, records, tmp_path):
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text(jsonl(records[:2]) + '{"id": \n' + jsonl(records[2:]))
    output.write_text("old\n")
    run = r1kit(*command, path)
    assert run.returncode == 1
    assert f"r1kit {command[0]}: error: {path}:3: not JSON" in run.stderr
    assert len(lines(run.stdout)) == (1 if command[0] in GROUPED else 2)
    replace = ("--overwrite",) if command[0] in REPLAYED else ()
    assert r1kit(*command, path, "-o", output, *replace).returncode == 1
    assert output.read_text() == "old\n"
    assert (tmp_path / "out.jsonl.part").read_text() == run.stdout


@every_filter
def test_a_missing_field_is_named_with_its_remedy(command, records):
    run = r1kit(*command, "-", stdin='{"unrelated": 1}\n')
    assert run.returncode == 1
    assert run.stderr.startswith(f'r1kit {command[0]}: error: <stdin>:1: no "')
    assert ";" in run.stderr
    assert run.stderr.count("\n") == 1


@every_filter
def test_a_missing_file_is_one_clear_line(command, records):
    run = r1kit(*command, "none.jsonl")
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "none.jsonl: " in run.stderr


@every_filter
def test_the_first_record_leaves_before_the_last_arrives(command, records):
    process = start(command)
    for record in records[:2]:  # GROUPED see the end of a group when the next begins
        process.stdin.write(json.dumps(record) + "\n")
        process.stdin.flush()
    assert json.loads(process.stdout.readline())["id"] == "0"
    assert process.poll() is None
    process.stdin.write(jsonl(records[2:]))
    process.stdin.close()
    assert len(process.stdout.readlines()) == len(records) - 1
    assert process.wait() == 0


@every_filter
def test_a_named_pipe_is_written_to_and_stays_one(command, records, tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = subprocess.Popen(["cat", path], stdout=subprocess.PIPE, text=True)
    assert r1kit(*command, "-", "-o", path, stdin=jsonl(records)).returncode == 0
    assert len(lines(reader.communicate()[0])) == len(records)
    assert path.is_fifo()


@every_filter
def test_a_closed_pipe_is_quiet(command, records):
    process = start(command)
    process.stdout.close()
    many = jsonl([{**record, "id": f"{i}"} for i in range(50) for record in records[:1]])
    try:
        process.stdin.write(many)
        process.stdin.close()
    except BrokenPipeError:
        pass
    assert process.wait() == 0
    assert process.stderr.read() == ""


def start(command):
    return subprocess.Popen(
        [sys.executable, "-m", "r1kit", *command, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pipe(commands):
    """Run a pipe of our commands and others in bash; return its run and the exit code of each command."""
    text = commands.replace("r1kit", f"{sys.executable} -m r1kit")
    run = subprocess.run(
        ["bash", "-c", f"{text}; echo ${{PIPESTATUS[*]}} >&2"], capture_output=True, text=True, check=False
    )
    *_, statuses = run.stderr.strip().split("\n")
    return run, statuses.split()


ROLL = "r1kit data arith --split test | r1kit rollout --model base --engine transformers -n 8 --max-tokens 64"


def test_the_whole_pipe():
    run, statuses = pipe(f"{ROLL} | r1kit reward | jq -c 'del(.rewards)' | r1kit vote")
    assert statuses == ["0"] * 5, run.stderr
    votes = lines(run.stdout)
    assert len(votes) == 200
    assert {v["n"] for v in votes} == {8}


def test_the_whole_pipe_into_head():
    run, statuses = pipe(f"{ROLL} | r1kit reward | r1kit vote | head -3")
    assert statuses == ["0"] * 5, run.stderr
    assert [v["id"] for v in lines(run.stdout)] == ["arith-test-0", "arith-test-1", "arith-test-2"]
    assert run.stderr.count("\n") == 1  # the exit codes alone
