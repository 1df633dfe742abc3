"""Benchmarks as their projects publish them: every gold answer is right by its own grader, and published outputs are
measured as they were published."""

from collections import defaultdict

import pytest
from conftest import SHARED, needs_shared

from r1kit.data import read_problems
from r1kit.grader import Grader
from r1kit.metrics import measure
from r1kit.reward import RewardSummary, score_rollouts
from r1kit.reward_spec import parse_rewards

pytestmark = needs_shared
MATH = {
    "gsm8k=gsm8k_test.jsonl": 1319,
    "math500=math500.jsonl": 500,
    "aime24=aime24.jsonl": 30,
    "amc23=amc23.jsonl": 40,
    "minerva-math=minerva_math.jsonl": 272,
}


def problems_of(source):
    name, _, file = source.partition("=")
    return list(read_problems(f"{name}={SHARED / 'data' / file}", "test"))


def measured(rollouts):
    """Return the metrics of rollouts, and the ids of those that are not right."""
    scored = list(score_rollouts(iter(rollouts), Grader(parse_rewards("accuracy")), RewardSummary()))
    return measure(scored), [rollout["id"] for rollout in scored if rollout["verdict"] != "correct"]


def rollout(problem, sample, completion):
    return problem.derive(sample=sample, completion=completion, completion_tokens=1, finish_reason="stop")


@pytest.mark.parametrize("source", MATH)
def test_every_gold_answer_is_right_as_it_stands_and_in_a_box(source):
    problems = problems_of(source)
    assert len({problem["id"] for problem in problems}) == MATH[source]
    texts = {
        problem["id"]: (problem["answer"], f"So it is \\boxed{{{problem['answer'].strip('$')}}}.")
        for problem in problems
    }
    metrics, wrong = measured(rollout(p, i, text) for p in problems for i, text in enumerate(texts[p["id"]]))
    assert wrong == []
    assert (metrics.problems, metrics.samples, metrics.ungraded) == (MATH[source], 2, 0)
    assert (metrics.pass_at_1.value, metrics.cons_at[2].value) == (1, 1)


def test_every_solution_of_mbpp_passes_its_tests():
    problems = problems_of("mbpp=mbpp_prime.json")
    metrics, wrong = measured(rollout(p, 0, f"<think>so</think>\n```python\n{p['code']}\n```") for p in problems)
    assert wrong == []
    assert (metrics.problems, metrics.pass_at_1.value, metrics.ungraded) == (399, 1, 0)


def test_published_outputs_are_measured_as_they_were_published(graded_outputs):
    sources = defaultdict(list)
    for scored in graded_outputs:
        sources[scored["source"]].append(scored)
    assert sorted(map(len, sources.values())) == [500, 1319, 1319, 1319]
    for scored in sources.values():
        published = sum(case["expected"] for case in scored) / len(scored)
        accuracy = measure(scored).pass_at_1
        assert accuracy.value == pytest.approx(published, abs=0.005)
        assert accuracy.low <= published <= accuracy.high
