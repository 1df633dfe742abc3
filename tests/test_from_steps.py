"""Chains continued from their steps: the prompts, the records, and a run that is killed and goes on."""

import json
import signal
import subprocess
import sys
import time

import pytest
from conftest import invoke, lines, write_jsonl
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.engines import Sampling
from r1kit.errors import UsageError, UserError
from r1kit.from_steps import FromSteps
from r1kit.jsonl import Record
from r1kit.prompts import Prompting, encode_prefix, encode_prompt
from r1kit.rollout import RolloutPlan, loaded_policy, sample_rollouts
from r1kit.steps import cut_completion, step_starts

CHAIN = " <think> First, 2 + 3 = 5. Then 5 + 4 = 9. </think> <answer> 9 </answer>"
LINES = "<think>one\ntwo\nthree</think> 3"


def chain(completion=CHAIN, **fields):
    own = {"id": "a", "sample": 1, "prompt": "What is 2 + 3 + 4?", "answer": "9", "finish_reason": "stop", "x": 1}
    scores = {"completion_tokens": 30, "prompt_tokens": 9, "reward": 1.0, "rewards": {}, "verdict": "correct"}
    return Record({**own, **scores, "completion": completion, **fields}, "f:1")


def continued(tiny_model, chains, separator=". ", batch_size=256, n=3, **sampling):
    policy = loaded_policy(*tiny_model, "r1-zero", batch_size)
    problems = FromSteps(separator).problems(chains)
    return list(sample_rollouts(problems, policy, RolloutPlan(n=n, sampling=Sampling(max_tokens=6, **sampling))))


def test_each_beginning_is_a_problem_and_the_chain_itself_comes_last(tiny_model):
    found = continued(tiny_model, [chain()])
    assert [(r["id"], r["sample"], r["step"]) for r in found] == [
        *(("a/1/1", sample, 1) for sample in range(3)),
        *(("a/1/2", sample, 2) for sample in range(3)),
        ("a/1/3", 0, 3),
    ]
    assert {json.dumps(r["chain"]) for r in found} == {'{"id": "a", "sample": 1, "steps": 3}'}
    assert all((r["answer"], r["x"]) == ("9", 1) for r in found)
    assert all(not {"reward", "rewards", "verdict"} & r.keys() for r in found[:-1])
    assert (found[-1]["completion"], found[-1]["verdict"]) == (CHAIN, "correct")
    for r in found[:-1]:
        beginning = " <think> First, 2 + 3 = 5." + " Then 5 + 4 = 9." * (r["step"] - 1)
        assert r["completion"].startswith(beginning)
        assert r["completion"] != beginning
        assert 0 < r["completion_tokens"] <= 6


def test_a_beginning_is_the_chains_own_tokens_cut_where_one_ends(tiny_model):
    _, tokenizer = tiny_model
    problem, prompting = chain(), Prompting("r1-zero")
    whole, said = encode_prefix(problem, CHAIN, len(CHAIN), prompting, tokenizer)
    assert (whole, said) == (encode_prompt(problem, Prompting("r1-zero", prefill=CHAIN), tokenizer), CHAIN)
    for length in range(1, len(CHAIN)):
        ids, said = encode_prefix(problem, CHAIN, length, prompting, tokenizer)
        assert ids == whole[: len(ids)]
        assert tokenizer.decode(ids).endswith("Assistant:" + said)
        assert len(said) <= length < len(said) + len(tokenizer.decode(whole[len(ids)]))


def test_a_completion_that_begins_without_the_styles_blank_keeps_its_text(tiny_model):
    _, tokenizer = tiny_model
    ids, said = encode_prefix(chain(LINES), LINES, 11, Prompting("r1-zero"), tokenizer)
    assert said == "<think>one\n"
    assert tokenizer.decode(ids).endswith("Assistant: <think>one\n")


def test_batch_size_order_and_company_change_nothing(tiny_model):
    chains = [chain(), chain(id="b"), chain(sample=2)]
    found = continued(tiny_model, chains)
    assert continued(tiny_model, chains, batch_size=1) == found
    assert continued(tiny_model, chains[2:]) == found[-7:]
    assert len({r["completion"] for r in found}) > 10  # ids, samples and steps have numbers of their own
    assert continued(tiny_model, chains, seed=1) != found


@pytest.mark.parametrize(
    ("completion", "separator"),
    [
        (CHAIN, ". "),
        (CHAIN, " = "),
        (LINES, None),
        (" \n<think>\n\none\n\n \ttwo\nmore\n\nthree</think> 3", None),
        ("one. . two.  three. ", ". "),
        ("xabb", "ab"),
        ("</think>only\na summary", None),
        ("先算 2。再算 3。", "。"),
        ("", None),
        ("", ". "),
    ],
)
def test_steps_start_where_they_are_cut(completion, separator):
    steps, starts = cut_completion(completion, separator), step_starts(completion, separator)
    assert [completion[start : start + len(step)] for step, start in zip(steps, starts, strict=True)] == steps
    assert starts == sorted(starts)


def test_steps_that_do_not_stand_in_the_completion_have_no_start():
    completion = "<think></think>It is\n<answer>5</answer> indeed\nyes"
    assert cut_completion(completion, None) == ["It is", "5 indeed", "yes"]
    assert step_starts(completion, None) == []


def test_chains_without_steps_are_left_out_and_told():
    steps = FromSteps()
    rows = [chain("<think></think>"), chain(finish_reason="error", completion=""), chain(LINES, id="c")]
    found = list(steps.problems(rows))
    assert [problem["id"] for problem in found] == ["c/1/1", "c/1/2", "c/1/3"]
    assert steps.lines() == [
        "1 chains, 2 beginnings of them continued",
        "  1 left out: they have no steps (first: f:1)",
        "  1 left out: they ended in an error (first: f:1)",
    ]


@pytest.mark.parametrize("field", ["completion", "sample"])
def test_a_problem_that_is_no_rollout_is_named(field):
    with pytest.raises(UserError, match=f'f:1: no "{field}"; --from-steps reads rollouts; run r1kit rollout first'):
        list(FromSteps().problems([chain(**{field: None})]))


def test_an_empty_separator_is_refused():
    with pytest.raises(UsageError, match="--separator: an empty separator ends no step; say another separator"):
        FromSteps("")


@pytest.mark.parametrize("flags", [("--search", "beam"), ("--prefill", "<think>")])
def test_flags_that_do_not_go_with_it_are_refused(flags):
    run = CliRunner().invoke(app, ["rollout", "--model", "base", "--from-steps", *flags])
    what = "--from-steps: chains are continued as they are, from beginnings of their own"
    assert isinstance(run.exception, UsageError)
    assert str(run.exception) == f"{what}; leave --search and --prefill out"


def rolling(source, output, *flags):
    own = ("--max-tokens", "32", "--engine", "transformers", "--batch-size", "8", "--separator", ". ")
    return ["rollout", "--model", "student", "--from-steps", "-n", "4", *own, str(source), "-o", str(output), *flags]


def test_a_run_that_is_killed_and_resumed_gives_the_same_bytes(tmp_path):
    source = write_jsonl(tmp_path / "c.jsonl", [dict(chain(id=str(number), model="another")) for number in range(12)])
    whole, output = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    assert "12 chains, 24 beginnings of them continued" in invoke(*rolling(source, whole))
    part = tmp_path / "killed.jsonl.part"
    process = subprocess.Popen([sys.executable, "-m", "r1kit", *rolling(source, output)], stderr=subprocess.DEVNULL)
    while process.poll() is None and (not part.exists() or part.stat().st_size < whole.stat().st_size / 3):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert part.exists()
    changed = CliRunner().invoke(app, rolling(source, output, "--resume", "--separator", "\n"))
    assert "the run has separator '. ', not '\\n'; resume with the same" in str(changed.exception)
    invoke(*rolling(source, output, "--resume"))
    assert output.read_bytes() == whole.read_bytes()
    models = {(rollout["step"], rollout["model"]) for rollout in lines(whole.read_text())}
    assert models == {(1, "student"), (2, "student"), (3, "another")}  # the chain itself stands last
    assert len(lines(whole.read_text())) == 12 * (2 * 4 + 1)
