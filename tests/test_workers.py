import os
import signal
import threading
import time
from pathlib import Path

import pytest

from r1kit import answer, workers
from r1kit.answer import equal_answers, extract_answer, judge
from r1kit.workers import NoReplyError, Worker, WorkerPool, pool

NEVER = "9**9**9**9"


@pytest.fixture
def short_limit(monkeypatch):
    monkeypatch.setattr(workers, "SECONDS", 1.0)


@pytest.fixture
def two_workers():
    own = WorkerPool(2)
    yield own
    own.close()


def test_a_worker_that_passes_its_time_is_killed_and_replaced(short_limit, two_workers):
    assert two_workers.ask("judge", "0.5", "\\frac{1}{2}", False) == ["correct", "\\frac{1}{2}"]
    [worker] = two_workers.idle
    started = time.monotonic()
    with pytest.raises(NoReplyError):
        two_workers.ask("judge", "7", NEVER, False)
    assert time.monotonic() - started < 10
    assert not worker.alive
    assert two_workers.idle == []
    assert two_workers.ask("judge", "7", "The answer is 7.", False) == ["correct", "7"]


def test_a_worker_that_died_is_replaced(two_workers):
    two_workers.ask("judge", "1", "x = 1", False)
    [worker] = two_workers.idle
    worker.process.kill()
    worker.process.wait()
    assert two_workers.ask("judge", "1", "x = 1", False) == ["correct", "1"]


def test_a_worker_that_crashes_at_a_question_is_replaced(two_workers):
    with pytest.raises(NoReplyError) as caught:
        two_workers.ask("no such question")
    assert caught.value.fair
    assert two_workers.ask("judge", "1", "x = 1", False) == ["correct", "1"]


def test_a_worker_has_a_memory_limit():
    worker = Worker()
    try:
        limits = Path(f"/proc/{worker.process.pid}/limits").read_text().splitlines()
        assert str(workers.MEMORY) in next(line for line in limits if line.startswith("Max address space"))
    finally:
        worker.kill()


def test_what_cannot_be_decided_is_a_timeout_and_the_next_case_is_right(short_limit):
    assert judge("8", NEVER).verdict == "timeout"
    assert judge("8", "it is 8").verdict == "correct"


def test_a_timeout_is_remembered(short_limit):
    answer._judge_text.cache_clear()
    for _ in range(20):  # on a busy machine a worker may get too little processor time, once or twice
        assert judge("7", NEVER).verdict == "timeout"
        if answer._judge_text.cache_info().currsize:
            break
    misses = answer._judge_text.cache_info().misses
    assert judge("7", NEVER).verdict == "timeout"
    assert answer._judge_text.cache_info().misses == misses


def test_a_timeout_by_accident_of_load_is_not_remembered(short_limit):
    judge("7", "a worker is ready by now: 49/7")
    for worker in pool.idle:
        os.kill(worker.process.pid, signal.SIGSTOP)  # as if others had the processor
    for _ in range(len(pool.idle)):
        assert judge("7", "it is 70/10").verdict == "timeout"
    assert judge("7", "it is 70/10").verdict == "correct"


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


def test_no_more_workers_live_than_the_pool_may_have(two_workers):
    def ask_all(count: int) -> None:
        asking = [threading.Thread(target=two_workers.ask, args=("judge", "1", "x = 1", False)) for _ in range(count)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()

    ask_all(6)
    assert 1 <= len(two_workers.idle) <= 2
    two_workers.resize(1)
    assert len(two_workers.idle) == 1
    ask_all(6)
    assert len(two_workers.idle) == 1


def test_a_forked_process_has_workers_of_its_own():
    assert extract_answer("so it is 12.") == "12"
    child = os.fork()
    if child == 0:
        os._exit(0 if extract_answer("and here it is 13.") == "13" else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert extract_answer("and there 14.") == "14"


def test_many_open_files_do_no_harm(two_workers):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip("this system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert two_workers.ask("judge", "1", "x = 1", False) == ["correct", "1"]
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
