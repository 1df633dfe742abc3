"""Worker processes for answers: parsing and comparing happen where they can be killed.

A worker lives long, reads one JSON line a question and writes one a reply. One that passes its time or memory limit, or
crashes, is killed and replaced, and the question it was at is answered with None. No signals: it works from any thread,
and from a forked process, which starts workers of its own.
"""

import atexit
import gc
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

SECONDS = 5.0  # wall time of one question, in its worker
START_SECONDS = 60.0  # until a new worker says that it is ready
MEMORY = 2 << 30  # bytes of address space of one worker
PACKAGE_FOLDER = str(Path(__file__).parent.parent)
PROGRAM = "from r1kit.workers import serve; serve()"


class Worker:
    """One process that answers questions until it is killed."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, (PACKAGE_FOLDER, os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C in a terminal is not for it
        )
        if self._read_line(START_SECONDS) is None:
            self.kill()
            raise RuntimeError("a worker process for answers did not start")

    def ask(self, *question: Any) -> Any:
        """Return the reply to a question (its name, its arguments); None where it was not in time: it is dead now."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            line = None
        else:
            line = self._read_line(SECONDS)
        if line is None:
            self.kill()
            return None
        return json.loads(line)

    def _read_line(self, seconds: float) -> bytes | None:
        assert self.process.stdout is not None
        deadline, file, line = time.monotonic() + seconds, self.process.stdout.fileno(), b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([file], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(file, 1 << 16) if ready else b""
            if not piece:
                return None
            line += piece
        return line

    @property
    def alive(self) -> bool:
        """Tell whether the process still runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


class WorkerPool:
    """Workers for any number of threads, at most `limit` (the cores): a question takes an idle one, or starts one."""

    def __init__(self, limit: int | None = None) -> None:
        self.idle: list[Worker] = []
        self.lock = threading.Lock()
        self.resize(limit or os.cpu_count() or 1)

    def resize(self, limit: int) -> None:
        """Set how many workers may be at work; no question may be under way."""
        self.limit = limit
        self.slots = threading.BoundedSemaphore(limit)

    def ask(self, *question: Any) -> Any:
        """Return the reply to a question (its name, its arguments); None where it passed a limit."""
        with self.slots:
            with self.lock:
                worker = self.idle.pop() if self.idle else None
            worker = worker if worker is not None and worker.alive else Worker()
            reply = worker.ask(*question)
            if worker.alive:
                with self.lock:
                    self.idle.append(worker)
        return reply

    def close(self) -> None:
        """End all workers that are idle."""
        with self.lock:
            while self.idle:
                self.idle.pop().kill()

    def forget(self) -> None:
        """Leave the workers to the process that started them."""
        self.__init__(self.limit)  # type: ignore[misc]


pool = WorkerPool()
atexit.register(pool.close)
os.register_at_fork(after_in_child=pool.forget)


def serve() -> None:
    """Answer questions from stdin, [name, arguments…] a line, until it ends."""
    from r1kit import math_judge

    answers: dict[str, Any] = {"judge": math_judge.judge, "explain": math_judge.explain}
    math_judge.judge("1", "it is $\\frac{1}{2}$", True)  # what is built once is built before a question's time begins
    gc.collect()
    gc.freeze()  # sympy is a large heap to search again and again
    gc.set_threshold(100_000, 20, 20)
    if sys.platform == "linux":  # macOS refuses this limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no reply
    reply: object = "ready"
    while True:
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
        signal.alarm(0)
        line = sys.stdin.readline()
        if not line:
            return
        signal.alarm(2 * round(SECONDS))  # ends a worker whose parent is no longer there to end it
        name, *arguments = json.loads(line)
        reply = answers[name](*arguments)
