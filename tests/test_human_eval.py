import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from human_eval_tasks import read_tasks

from r1kit.code import run_tests

TASKS = read_tasks()


@pytest.fixture(scope="module")
def results() -> dict[str, tuple]:
    """Return what the tests say of the solved and of the unsolved program of each problem."""

    def run(task):
        return run_tests(task.solved, task.tests), run_tests(task.unsolved, task.tests)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return dict(zip([task.name for task in TASKS], threads.map(run, TASKS), strict=True))


def test_all_canonical_solutions_pass(results):
    failing = {name: solved for name, (solved, _) in results.items() if solved.verdict != "correct"}
    assert failing == {}
    assert len(results) == 164


def test_no_function_without_a_body_passes(results):
    passing = [name for name, (_, unsolved) in results.items() if unsolved.verdict != "wrong" or unsolved.passed]
    assert passing == []
    assert len(results) == 164


def test_helpers_of_a_prompt_are_not_the_programs_own():
    [task] = [task for task in TASKS if task.problem["entry_point"] == "decode_cyclic"]
    cheat = "def encode_cyclic(s):\n    return s\n\ndef decode_cyclic(s):\n    return s\n"
    assert run_tests(cheat, task.tests).verdict == "wrong"
