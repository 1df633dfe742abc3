"""`rollout --search`: what a search finds as rollouts, resumed, and by a policy."""

import signal
import subprocess
import sys
import time

import pytest
from conftest import invoke, lines, r1kit, write_jsonl
from test_reward_process import process_model

PROBLEMS = [{"id": str(i), "prompt": f"What is {i} + 3 + {i % 4}?", "answer": str(i + 3 + i % 4)} for i in range(12)]
SEARCH = ("--separator", ". ", "--width", 4, "--max-tokens", 48, "--engine", "transformers")


@pytest.fixture(scope="module")
def prm(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prm")
    process_model(tiny_model, folder)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("problems") / "p.jsonl", PROBLEMS)


def test_what_a_search_finds_is_rollouts_best_first_with_what_they_cost(prm, source):
    run = r1kit("rollout", "--model", "base", "--search", "beam", "-n", 8, "--prm", prm, *SEARCH, source)
    assert run.returncode == 0, run.stderr
    rollouts = lines(run.stdout)
    assert list(dict.fromkeys(r["id"] for r in rollouts)) == [p["id"] for p in PROBLEMS]
    for problem in PROBLEMS:
        group = [r for r in rollouts if r["id"] == problem["id"]]
        assert [r["sample"] for r in group] == list(range(len(group)))
        assert [r["score"] for r in group] == sorted((r["score"] for r in group), reverse=True)
        assert {(r["search"], r["budget"]) for r in group} == {("beam", 8)}
        assert len({(r["generated_tokens"], r["prm_tokens"]) for r in group}) == 1
        assert group[0]["prm_tokens"] > 0
    costs = {r["id"]: r["generated_tokens"] for r in rollouts}
    assert f"12 problems searched: {sum(costs.values())} tokens generated" in run.stderr
    votes = lines(r1kit("vote", "--method", "best-of-n", "--by", "score", stdin=run.stdout).stdout)
    assert [(v["search"], v["budget"], v["generated_tokens"]) for v in votes] == [
        ("beam", 8, costs[p["id"]]) for p in PROBLEMS
    ]


def test_best_of_n_draws_what_plain_rollouts_draw(prm, source):
    flags = ("--model", "base", "-n", 4, "--max-tokens", 48, "--engine", "transformers", "--prefill", "<think>")
    plain = lines(r1kit("rollout", *flags, source).stdout)
    found = lines(r1kit("rollout", *flags, "--search", "best-of-n", "--prm", prm, source).stdout)
    texts = [sorted(r["completion"] for r in rows if r["id"] == "3") for rows in (plain, found)]
    assert texts[0] == texts[1]
    assert texts[0][0].startswith("<think>")


def test_a_search_that_is_killed_and_resumed_gives_the_same_bytes(prm, source, tmp_path):
    flags = ("--model", "base", "--search", "beam", "-n", 8, "--prm", prm, *SEARCH)
    whole, output = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    many = write_jsonl(tmp_path / "p.jsonl", [{**p, "id": f"{i}-{p['id']}"} for i in range(6) for p in PROBLEMS])
    invoke("rollout", *flags, many, "-o", whole)
    part = tmp_path / "out.jsonl.part"
    command = [sys.executable, "-m", "r1kit", "rollout", *map(str, (*flags, many, "-o", output))]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None and (not part.exists() or part.stat().st_size < 1000):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert part.exists()
    invoke("rollout", *flags, many, "-o", output, "--resume")
    assert output.read_bytes() == whole.read_bytes()


def rule(low, budget, search, method, by=None):
    return {
        "difficulty": 2 - (low > 0), "low": low, "high": 1.0, "budget": budget, "search": search, "method": method,
        "by": by, "pilot_n": 4, "chosen": True,
    }  # fmt: skip


def test_a_policy_chooses_by_the_agreement_of_a_pilot(source, tmp_path):
    rules = [rule(0.0, 8, "beam", "best-of-n", "score"), rule(0.5, 2, None, "majority"), rule(0.5, 8, None, "majority")]
    policy = write_jsonl(tmp_path / "policy.jsonl", rules)
    flags = ("--model", "base", "--search", "auto", "--policy", policy, *SEARCH, source)
    plain = lines(r1kit("rollout", "--model", "base", "-n", 8, *SEARCH[-4:], source).stdout)
    run = r1kit("rollout", *flags, "--budget", 8)
    assert run.returncode == 0, run.stderr
    rollouts = lines(run.stdout)
    methods = {r["id"]: r["vote"]["method"] for r in rollouts}
    assert set(methods.values()) == {"majority", "best-of-n"}
    assert {(r["search"], r["budget"]) for r in rollouts} == {("auto", 8)}
    for problem, method in methods.items():
        texts = sorted(r["completion"] for r in rollouts if r["id"] == problem)
        drawn = [r for r in plain if r["id"] == problem]
        [cost] = {r["generated_tokens"] for r in rollouts if r["id"] == problem}
        if method == "majority":
            assert texts == sorted(r["completion"] for r in drawn)
            assert cost == sum(r["completion_tokens"] for r in drawn)
        else:  # the pilot is paid too
            assert cost > sum(r["completion_tokens"] for r in drawn[:4])
    votes = lines(r1kit("vote", "--method", "policy", stdin=run.stdout).stdout)
    assert [v["id"] for v in votes] == [p["id"] for p in PROBLEMS]
    assert {v["method"] for v in votes} == {"policy"}
    few = r1kit("rollout", *flags, "--budget", 4)
    assert few.returncode == 1
    assert "nothing was measured at a budget of 4 or less; the smallest is 8" in few.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--search", "none"), "--search"),
        (("--search", "auto", "--budget", 4), "auto and --policy go together"),
        (("--search", "beam", "--policy", "p.jsonl"), "auto and --policy go together"),
        (("--search", "auto", "--policy", "p.jsonl"), "auto needs a budget"),
        (("--search", "beam", "-n", 6), "beam of 6 candidates cannot keep one in 4; say a multiple of 4"),
        (("--search", "dvts", "-n", 8), "dvts needs a process reward model; say --prm DIR"),
        (("--search", "best-of-n", "--engine", "openai", "--url", "http://localhost:1/v1"), "a server's tokens"),
        (("--search", "beam", "-n", 8, "--aggregate", "median"), "median"),
        (("--search", "beam", "-n", 8, "--separator", ""), "an empty separator ends no step"),
    ],
)
def test_what_cannot_be_searched_is_a_usage_error(flags, message):
    run = r1kit("rollout", "--model", "base", *flags, stdin='{"prompt": "1 + 1?"}\n')
    assert (run.returncode, run.stdout) == (2, "")
    assert message in run.stderr
