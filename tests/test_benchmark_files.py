"""Benchmarks as their projects publish them: every gold answer is right by its own grader, and published completions
come to the accuracy that was published."""

import gzip
import json

import pytest
from conftest import SHARED, needs_shared

from r1kit.data import read_problems
from r1kit.grader import Grader
from r1kit.jsonl import Record
from r1kit.metrics import measure
from r1kit.reward import RewardSummary, score_rollouts
from r1kit.reward_spec import parse_rewards
from r1kit.row_forms import problem_of_row

pytestmark = needs_shared
MATH = {
    "gsm8k=gsm8k_test.jsonl": 1319,
    "math500=math500.jsonl": 500,
    "aime24=aime24.jsonl": 30,
    "amc23=amc23.jsonl": 40,
    "minerva-math=minerva_math.jsonl": 272,
}
OUTPUTS = SHARED / "grading" / "model_outputs.jsonl.gz"
GSM8K = "openai/grade-school-math:grade_school_math/data/example_model_solutions.jsonl"
SOURCES = {
    f"{GSM8K}:6b_finetuning": 1319,
    f"{GSM8K}:6b_verification": 1319,
    "microsoft/rho:rho-1/outputs.zip:rho-math-1b-v0.1/gsm8k": 1319,
    "microsoft/rho:rho-1/outputs.zip:rho-math-1b-v0.1/minerva_math": 500,
}
# completions whose published verdict is mistaken, by what they state. Of rho-1's those on MATH were graded with a rule
# that passes over a final answer without $…$ (37, 107, 182, 337, 374), with a unit (243, 329, 467) or at the end of an
# equation (20), and 174, which is right; it let through one of two solutions (25), a value of its own (399) and a
# completion without an end (474). On GSM8K 16, 76 and 908 state the gold answer, 328, 413 and 951 another by a power
# of ten.
RIGHT = {f"rho-minerva_math-{n}" for n in (20, 37, 107, 174, 182, 243, 329, 337, 374, 467)} | {
    f"rho-gsm8k-{n}" for n in (16, 76, 908)
}
WRONG = {f"rho-minerva_math-{n}" for n in (25, 399, 474)} | {f"rho-gsm8k-{n}" for n in (328, 413, 951)}


def problems_of(source):
    name, _, file = source.partition("=")
    return list(read_problems(f"{name}={SHARED / 'data' / file}", "test"))


def rollout(problem, sample, completion):
    return problem.derive(sample=sample, completion=completion, completion_tokens=1, finish_reason="stop")


def graded(rollouts):
    return list(score_rollouts(iter(rollouts), Grader(parse_rewards("accuracy")), RewardSummary()))


def wrong(scored):
    return [record["id"] for record in scored if record["verdict"] != "correct"]


@pytest.mark.parametrize("source", MATH)
def test_every_gold_answer_is_right_as_it_stands_and_in_a_box(source):
    problems = problems_of(source)
    assert len({problem["id"] for problem in problems}) == MATH[source]
    forms = ("{}", "So it is \\boxed{{{}}}.")
    golds = [(problem, (problem["answer"], problem["answer"].strip("$"))) for problem in problems]
    scored = graded(rollout(p, i, forms[i].format(text)) for p, texts in golds for i, text in enumerate(texts))
    assert wrong(scored) == []
    metrics = measure(scored)
    assert (metrics.problems, metrics.samples, metrics.ungraded) == (MATH[source], 2, 0)
    assert (metrics.pass_at_1.value, metrics.pass_at[2].value, metrics.cons_at[2].value) == (1, 1, 1)


def test_every_solution_of_mbpp_passes_its_tests():
    problems = problems_of("mbpp=mbpp_prime.json")
    scored = graded(rollout(p, 0, f"<think>so</think>\n```python\n{p['code']}\n```") for p in problems)
    assert wrong(scored) == []
    metrics = measure(scored)
    assert (metrics.problems, metrics.pass_at_1.value, metrics.ungraded) == (399, 1, 0)


@pytest.fixture(scope="module")
def outputs():
    """Return the published completions as scored rollouts by source, their gold answers as `data` has them."""
    with gzip.open(OUTPUTS, "rt", encoding="utf-8") as file:
        cases = [problem_of_row(Record({"prompt": "", **json.loads(line)}, OUTPUTS.name)) for line in file]
    scored = graded(rollout(case, 0, case["completion"]) for case in cases)
    return {source: [record for record in scored if record["source"] == source] for source in SOURCES}


@pytest.mark.parametrize("source", SOURCES)
def test_published_completions_are_as_right_as_they_were_published(outputs, source):
    scored = outputs[source]
    assert len(scored) == SOURCES[source]
    accuracy = measure(scored).pass_at_1
    assert accuracy.low <= sum(record["expected"] for record in scored) / len(scored) <= accuracy.high
    right = [record["id"] in RIGHT or (record["expected"] and record["id"] not in WRONG) for record in scored]
    assert accuracy.value == pytest.approx(sum(right) / len(scored), abs=0.005)
    assert sum((a["verdict"] == "correct") is b for a, b in zip(scored, right, strict=True)) >= 0.99 * len(scored)
