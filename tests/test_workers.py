import os
import threading
import time
from pathlib import Path

import pytest

from r1kit import workers
from r1kit.answer import equal_answers, extract_answer, judge
from r1kit.workers import Worker, WorkerPool


@pytest.fixture
def short_limits(monkeypatch):
    monkeypatch.setattr(workers, "SECONDS", 1.0)


def test_a_worker_that_passes_its_time_is_killed_and_replaced(short_limits):
    pool = WorkerPool()
    try:
        assert pool.ask(["0.5", "\\frac{1}{2}"]) == ["correct", "\\frac{1}{2}"]
        [worker] = pool.idle
        started = time.monotonic()
        assert pool.ask(["7", "9**9**9**9"]) is None
        assert time.monotonic() - started < 5
        assert not worker.alive
        assert pool.idle == []
        assert pool.ask(["7", "The answer is 7."]) == ["correct", "7"]
    finally:
        pool.close()


def test_a_worker_that_died_is_replaced():
    pool = WorkerPool()
    try:
        pool.ask(["1", "x = 1"])
        [worker] = pool.idle
        worker.process.kill()
        worker.process.wait()
        assert pool.ask(["1", "x = 1"])[0] == "correct"
    finally:
        pool.close()


def test_a_worker_has_a_memory_limit():
    worker = Worker()
    try:
        limits = Path(f"/proc/{worker.process.pid}/limits").read_text().splitlines()
        assert str(workers.MEMORY) in next(line for line in limits if line.startswith("Max address space"))
    finally:
        worker.kill()


def test_what_cannot_be_decided_is_a_timeout_and_the_next_case_is_right(short_limits):
    assert judge("8", "9**9**9**9").verdict == "timeout"
    assert judge("8", "it is 8").verdict == "correct"


def test_many_threads_agree_with_one():
    cases = [(str(i), f"the answer is {i + i % 2}.") for i in range(40)]
    expected = [i % 2 == 0 for i in range(40)]
    found: dict[int, bool | None] = {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: equal_answers(*cases[i])})) for i in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(40)] == expected


def test_a_forked_process_has_workers_of_its_own():
    assert extract_answer("so it is 12.") == "12"
    child = os.fork()
    if child == 0:
        os._exit(0 if extract_answer("and here it is 13.") == "13" else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert extract_answer("and there 14.") == "14"
