"""Worker processes for answers: parsing and comparing happen where they can be killed.

A worker lives long and answers one JSON line with one. One that passes a limit or crashes is killed and replaced, and
what it was asked has no reply. No signals in the caller: it works from any thread, inside a trainer, and from a forked
process, which starts workers of its own.
"""

import atexit
import gc
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 5.0  # wall time of one question, in its worker
FAIR_SHARE = 0.5  # of these seconds: with less processor time, the machine was too busy to say that it takes too long
START_SECONDS = 60.0  # until a new worker says that it is ready
MEMORY = 2 << 30  # bytes of address space of one worker
PACKAGE_FOLDER = str(Path(__file__).parent.parent)
PROGRAM = "from r1kit.workers import serve; serve()"


class NoReplyError(Exception):
    """A worker ended before it replied.

    Attributes:
        fair: it would end again: it crashed, or used its time. False where the machine gave it little of that time.
    """

    def __init__(self, fair: bool) -> None:
        super().__init__("a worker process for answers ended before it replied")
        self.fair = fair


class Worker:
    """One process that answers questions until it is killed."""

    def __init__(self, program: str = PROGRAM) -> None:
        self.socket, theirs = socket.socketpair()
        path = os.pathsep.join(filter(None, (PACKAGE_FOLDER, os.environ.get("PYTHONPATH"))))
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", program],  # -P: the current folder holds no modules of ours
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C in a terminal is not for it
            )
        self.processor_seconds = 0.0  # that it had used when it last replied
        try:
            self._receive(time.monotonic() + START_SECONDS)
        except OSError as error:
            self.kill()
            raise RuntimeError("a worker process for answers did not start") from error

    def ask(self, *question: Any) -> Any:
        """Return the reply to a question: its name, then its arguments.

        Raises:
            NoReplyError: it did not reply in time, or crashed; it is dead now.
        """
        deadline = time.monotonic() + SECONDS
        try:
            self.socket.settimeout(SECONDS)
            self.socket.sendall(json.dumps(question).encode() + b"\n")
            return self._receive(deadline)
        except TimeoutError:
            raise NoReplyError(fair=self.kill() >= FAIR_SHARE * SECONDS) from None
        except OSError:
            self.kill()
            raise NoReplyError(fair=True) from None
        except BaseException:  # Ctrl-C: the reply that it still owes is nobody's
            self.kill()
            raise

    def _receive(self, deadline: float) -> Any:
        line = b""
        while not line.endswith(b"\n"):
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            piece = self.socket.recv(1 << 16)
            if not piece:
                raise ConnectionResetError
            line += piece
        reply, self.processor_seconds = json.loads(line)
        return reply

    @property
    def alive(self) -> bool:
        """Tell whether the process still runs."""
        return self.process.poll() is None

    def kill(self) -> float:
        """End the process; return the seconds of processor time that it used since its last reply."""
        self.socket.close()
        self.process.kill()
        try:
            _, status, usage = os.wait4(self.process.pid, 0)
        except ChildProcessError:  # somebody has waited for it
            self.process.wait()
            return 0.0
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime - self.processor_seconds


class WorkerPool:
    """Workers for any number of threads: a question takes an idle one, or starts one where fewer than `limit` work."""

    def __init__(self, limit: int | None = None, program: str = PROGRAM) -> None:
        self.limit, self.program = limit or os.cpu_count() or 1, program
        self.idle: list[Worker] = []
        self.busy = 0
        self.changed = threading.Condition()

    def resize(self, limit: int) -> None:
        """Set how many workers there may be; those at work finish what they were asked."""
        with self.changed:
            self.limit = limit
            self._trim()
            self.changed.notify_all()

    def ask(self, *question: Any) -> Any:
        """Return the reply to a question: its name, then its arguments.

        Raises:
            NoReplyError: it passed a limit.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.busy < self.limit)
            self.busy += 1
            worker = self.idle.pop() if self.idle else None
        try:
            worker = worker if worker is not None and worker.alive else Worker(self.program)
            return worker.ask(*question)
        finally:
            with self.changed:
                self.busy -= 1
                if worker is not None and worker.alive:
                    self.idle.append(worker)
                    self._trim()
                self.changed.notify()

    def close(self) -> None:
        """End all workers that are idle."""
        with self.changed:
            while self.idle:
                self.idle.pop().kill()

    def forget(self) -> None:
        """Leave the workers to the process that started them."""
        self.__init__(self.limit, self.program)  # type: ignore[misc]

    def _trim(self) -> None:
        while self.idle and len(self.idle) + self.busy > self.limit:
            self.idle.pop().kill()


def shared_pool(program: str = PROGRAM) -> WorkerPool:
    """Return a pool that ends with the process, and that a forked process has none of."""
    workers = WorkerPool(program=program)
    atexit.register(workers.close)
    os.register_at_fork(after_in_child=workers.forget)
    return workers


pool = shared_pool()


def serve() -> None:
    """Answer questions about mathematics."""
    from r1kit import math_judge

    math_judge.hasten()
    math_judge.warm_up()
    reply_to_questions({"judge": math_judge.judge, "explain": math_judge.explain})


def reply_to_questions(answers: dict[str, Callable[..., Any]]) -> None:
    """Answer questions from stdin, [name, arguments…] a line, with [reply, processor seconds so far], until it ends."""
    gc.collect()
    gc.freeze()  # sympy is a large heap to search again and again
    gc.set_threshold(100_000, 20, 20)
    if sys.platform == "linux":  # macOS refuses this limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no reply
    reply: object = "ready"
    while True:
        replies.write(json.dumps([reply, time.process_time()]) + "\n")
        replies.flush()
        signal.alarm(0)
        line = sys.stdin.readline()
        if not line:
            return
        signal.alarm(2 * round(SECONDS))  # ends a worker whose parent is no longer there to end it
        name, *arguments = json.loads(line)
        reply = answers[name](*arguments)
