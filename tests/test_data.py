import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import SHARED, lines, needs_shared, r1kit, write_jsonl

from r1kit.data import EMBEDDED, Request, parse_renames, read_problem_list, read_problems, select_problems
from r1kit.errors import UsageError, UserError
from r1kit.known_sets import KNOWN_SETS


@pytest.mark.parametrize("name", EMBEDDED)
def test_train_and_test_share_no_problem(name):
    train, test = ({p["prompt"] for p in read_problems(name, split)} for split in ("train", "test"))
    assert train
    assert test
    assert not train & test


def test_limit_and_map(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", [{"q": "1 + 1", "gold": "2"}, {"q": "1 + 2", "gold": "3"}])
    run = r1kit("data", path, "--map", "prompt=q", "--map", "answer=gold", "--limit", 1)
    [problem] = lines(run.stdout)
    assert (problem["prompt"], problem["answer"]) == ("1 + 1", "2")
    assert "q" not in problem


def test_a_renamed_field_replaces_one_of_that_name(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", [{"prompt": "old", "q": "new"}])
    assert lines(r1kit("data", path, "--map", "prompt=q").stdout)[0]["prompt"] == "new"


def test_a_path_names_a_field_within_others_which_stay(tmp_path):
    row = {"data": {"q": "1 + 1"}, "golds": [{"text": "2"}], "extra.answer": "flat"}
    path = write_jsonl(tmp_path / "x.jsonl", [row])
    renames = ["prompt=data.q", "answer=golds.0.text", "other=extra.answer"]
    [problem] = select_problems(Request(str(path)), parse_renames(renames))
    expected = {"prompt": "1 + 1", "answer": "2", "data": row["data"], "golds": row["golds"], "other": "flat"}
    assert expected.items() <= problem.items()
    assert "extra.answer" not in problem


def test_bad_sources_are_named(tmp_path):
    with pytest.raises(UserError) as error:
        read_problems("aritth")
    expected = "aritth: no such file or known set; the nearest is arith; r1kit data --list names them all"
    assert str(error.value) == expected
    with pytest.raises(UserError, match=r"gsm8=x\.jsonl: no such file or known set; the nearest is gsm8k=x\.jsonl"):
        read_problems("gsm8=x.jsonl")
    with pytest.raises(UsageError, match='unknown split "dev"'):
        read_problems("arith", "dev")
    with pytest.raises(UsageError, match='"prompt" is not NEW=OLD'):
        parse_renames(["prompt"])


def test_a_list_of_problems_is_never_empty_and_its_ids_differ(tmp_path):
    with pytest.raises(UserError, match="holds no problems"):
        read_problem_list(str(write_jsonl(tmp_path / "e.jsonl", [])), "train")
    twice = write_jsonl(tmp_path / "t.jsonl", [{"id": 1, "prompt": "p"}, {"id": "1", "prompt": "q"}])
    with pytest.raises(UserError, match=r't\.jsonl:2: the id "1" stands twice'):
        read_problem_list(str(twice), "train")


@needs_shared
def test_a_copy_of_a_known_set_has_its_kind_and_ids():
    [problem, *rest] = read_problems(f"aime24={SHARED / 'data' / 'aime24.jsonl'}", "test")
    assert (problem["id"], problem["kind"], problem["language"], problem["answer"]) == (
        "aime24-60",
        "math",
        "en",
        "204",
    )
    assert len(rest) == 29


@needs_shared
@pytest.mark.parametrize("name", ["gsm8k_test.jsonl", "minerva_math.jsonl", "mbpp_prime.json"])
def test_problems_that_are_read_again_are_the_same(name, tmp_path):
    once, twice = tmp_path / "once.jsonl", tmp_path / "twice.jsonl"
    assert r1kit("data", SHARED / "data" / name, "-o", once).returncode == 0
    assert r1kit("data", once, "-o", twice).returncode == 0
    assert twice.read_bytes() == once.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-", "--split", "test"), "--split: - has no splits; leave it out"),
        (("reasoning-gym:lcm", "--split", "test"), "--split: reasoning-gym:lcm has no splits; leave it out"),
        (("arith", "--config", "main"), "--config: arith has no configurations; leave it out"),
        (("arith", "-n", "5"), "--n: is for problems that reasoning-gym makes; say --limit for at most so many"),
        (("arith", "--task-arg", "x=1"), "--task-arg: is for tasks of reasoning-gym; name one as reasoning-gym:TASK"),
    ],
)
def test_a_flag_that_a_source_has_no_use_for_is_refused(arguments, message):
    run = r1kit("data", *arguments)
    assert (run.returncode, run.stderr) == (2, f"r1kit data: error: {message}\n")


def test_kind_and_language_are_set_where_they_are_missing(tmp_path):
    rows = [
        {"prompt": "求 2 加 3 的和是多少？"},
        {"prompt": "What is two and three?", "kind": "code", "language": "fr"},
    ]
    rows.append({"prompt": [{"role": "user", "content": "Wie groß ist die Summe aus zwei und drei?"}]})
    path = write_jsonl(tmp_path / "x.jsonl", [*rows, {"prompt": "1+1"}])
    problems = lines(r1kit("data", path, "--kind", "math", "--language", "auto").stdout)
    assert [p["kind"] for p in problems] == ["math", "code", "math", "math"]
    assert [p.get("language") for p in problems] == ["zh", "fr", "de", None]
    assert {p["language"] for p in lines(r1kit("data", path, "--language", "it").stdout)} == {"it", "fr"}


def test_an_answer_of_a_general_problem_stays_as_it_is(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", [{"prompt": "p", "answer": "2k"}])
    assert lines(r1kit("data", path, "--kind", "general").stdout)[0]["answer"] == "2k"
    assert lines(r1kit("data", path).stdout)[0]["answer"] == "$2k$"


def test_a_shuffle_is_seeded_and_loses_nothing():
    plain, first, again, other = (
        [p["id"] for p in select_problems(Request("facts", seed=seed, shuffle=shuffle))]
        for seed, shuffle in [(0, False), (1, True), (1, True), (2, True)]
    )
    assert first == again
    assert sorted(first) == sorted(other) == sorted(plain)
    assert first != other != plain


def test_the_list_names_every_set_and_task():
    run = r1kit("data", "--list")
    assert run.returncode == 0
    for name in (*EMBEDDED, *KNOWN_SETS, "chain_sum"):
        assert name in run.stdout
    assert "math       1,319 rows  openai/gsm8k (main) [test, train]; MIT" in run.stdout


def test_a_file_that_is_there_is_not_replaced_unless_told_so(tmp_path):
    output = tmp_path / "out.jsonl"
    assert r1kit("data", "facts", "--limit", 2, "-o", output).returncode == 0
    run = r1kit("data", "facts", "-o", output)
    assert run.returncode == 1
    assert run.stderr == f"r1kit data: error: {output}: is there; say --overwrite, or name another file with -o\n"
    assert len(lines(output.read_text())) == 2
    assert r1kit("data", "facts", "-o", output, "--overwrite").returncode == 0
    assert len(lines(output.read_text())) == 258


def test_a_run_that_was_killed_goes_on_to_the_same_file(tmp_path):
    path = write_jsonl(tmp_path / "in.jsonl", [{"prompt": f"{i} + 1", "answer": i + 1} for i in range(20_000)])
    whole, output = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    assert r1kit("data", path, "--shuffle", "-o", whole).returncode == 0
    command = [sys.executable, "-m", "r1kit", "data", path, "--shuffle", "-o", output]
    part = tmp_path / "out.jsonl.part"
    with subprocess.Popen(command) as run:
        while not (part.exists() and part.stat().st_size > 20_000):
            assert run.poll() is None
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGKILL)
    assert not output.exists()
    refused = r1kit("data", path, "--shuffle", "--seed", 1, "-o", output, "--resume")
    assert f"{part}: the run has seed 0, not 1" in refused.stderr
    assert r1kit("data", path, "--shuffle", "-o", output, "--resume").returncode == 0
    assert output.read_bytes() == whole.read_bytes()


def test_problems_of_reasoning_gym_are_data_like_any_other():
    [problem] = lines(r1kit("data", "reasoning-gym:chain_sum", "-n", 1, "--task-arg", "max_digits=2").stdout)
    assert problem["id"] == "chain_sum-0-0"
    assert problem["reasoning_gym"]["settings"] == {"max_digits": 2}
    completion = f"<think>it is so</think> <answer>{problem['answer']}</answer>"
    rollout = {**problem, "sample": 0, "completion": completion, "completion_tokens": 9}
    scored = lines(r1kit("reward", "--reward", "reasoning-gym,accuracy", stdin=json.dumps(rollout)).stdout)
    assert scored[0]["rewards"] == {"reasoning-gym": 1.0, "accuracy": 1.0}
    assert (scored[0]["verdict"], scored[0]["extracted"]) == ("correct", problem["answer"])
