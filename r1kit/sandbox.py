"""Run a program nobody trusts: under bubblewrap, with no network, no files but the interpreter's, and hard limits.

A jail is a warm interpreter behind walls (r1kit/jail) that forks a process for each job, in namespaces of its own: when
a job ends, all its processes have ended and its files are gone. Only what a job is given goes in; what it writes comes
back as plain data, and is judged out here.
"""

import atexit
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, NamedTuple

from r1kit.errors import UserError
from r1kit.jail import Mode
from r1kit.jail.wire import Gone, Late, receive
from r1kit.walls import JAIL, bubblewrap_command, readable_paths

PROGRAM = """import sys
sys.path.append(sys.argv[1])
from jail import zygote
sys.path.pop()
import json
zygote.main(json.loads(sys.argv[2]))"""
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LC_ALL": "C.UTF-8"} | {
    "PYTHONHASHSEED": "0",  # the same order of a set each time
    "MALLOC_ARENA_MAX": "2",  # an arena a thread would use up the address space
}
START_SECONDS = 30.0
GRACE_SECONDS = 5.0  # beyond a job's own limit, until its jail is given up
PROBE = """import os, socket, wave
def refused(attempt, *arguments):
    try:
        attempt(*arguments)
    except OSError:
        return True
assert os.getuid() != 0
assert all(refused(open, path) for path in ("/etc/passwd", "/proc/1/environ"))
assert refused(socket.create_connection, ("127.0.0.1", 9), 1)
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
print("behind walls", end="")"""


@dataclass(frozen=True)
class Limits:
    """What one job may use."""

    seconds: float = 10.0  # wall time; CPU time is held to a second more
    memory: int = 1 << 30  # bytes of address space of a process, and of what all its processes hold
    processes: int = 32  # threads count
    output: int = 8 << 20  # bytes of a file, stdout among them


FOREVER = Limits(seconds=1e8)


class Finished(NamedTuple):
    """How a job ended."""

    status: int  # exit status; 125 where the job did not come to run
    cause: Literal["exit", "time", "memory", "killed"]
    stdout: str = ""
    stderr: str = ""


class Jail:
    """One warm interpreter behind walls; serves one thread at a time.

    Raises:
        UserError: the mode does not work on this machine.
    """

    def __init__(self, mode: Mode, toolchain: bool = False):
        self.mode, self.jobs, self.ended = mode, 0, dict[int, Finished]()
        self.checker: tuple[int, socket.socket] | None = None  # the job that runs tests, and the link to it
        walls = bubblewrap_command(toolchain) if mode == "bubblewrap" else []
        self.scratch = tempfile.TemporaryDirectory(prefix="r1kit-") if mode == "none" else None
        self.control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        settings = {
            "mode": mode,
            "control": inner.fileno(),
            "scratch": self.scratch and self.scratch.name,
            "readable": readable_paths(toolchain) if mode == "landlock" else [],
        }
        folder = "/jail" if mode == "bubblewrap" else str(JAIL.parent)
        interpreter = [os.path.realpath(sys.executable), "-s", "-S", "-B", "-P", "-c"]
        with tempfile.TemporaryFile() as log:
            self.process = subprocess.Popen(
                [*walls, *interpreter, PROGRAM, folder, json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=ENVIRONMENT,
                pass_fds=[inner.fileno()],
                start_new_session=True,
            )
            inner.close()
            self._await_start(log)

    def _await_start(self, log: BinaryIO) -> None:
        self.control.settimeout(START_SECONDS)
        try:
            started = bool(self.control.recv(1 << 12))
        except OSError:
            started = False
        if not started:
            self.close()
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines() or ["it says nothing"]
            raise UserError(f"sandbox {self.mode}", f"does not work here ({lines[-1]})")

    def start(self, role: str, payload: dict[str, Any], descriptors: list[int], limits: Limits) -> int:
        """Start a job; return its number."""
        self.jobs += 1
        request = {"job": self.jobs, "role": role, **limits.__dict__}
        sheet = sealed_buffer(json.dumps(payload).encode())
        try:
            socket.send_fds(self.control, [json.dumps(request).encode()], [sheet, *descriptors])
        except OSError:  # the jail is gone, which `wait` says
            pass
        finally:
            os.close(sheet)
        return self.jobs

    def wait(self, job: int, limits: Limits) -> Finished:
        """Return how a job ended; a jail that does not say it in time is closed."""
        try:
            self.control.settimeout(limits.seconds + GRACE_SECONDS)
            while job not in self.ended:
                report = json.loads(self.control.recv(1 << 12))
                self.ended[report["job"]] = Finished(report["status"], report["cause"])
        except (OSError, ValueError):
            self.close()
            return Finished(125, "killed")
        return self.ended.pop(job)

    def check(self, asserts: str, link: socket.socket, limits: Limits) -> dict[str, Any] | None:
        """Run tests of the program that serves the other end of a link; None where they run past their time.

        One process runs the tests of one program after the other: tests are trusted, what they test is not.

        Raises:
            Gone: that process ended; the next tests get another one.
        """
        if self.checker is None:
            ours, inner = socket.socketpair()
            with inner:
                self.checker = self.start("check", {}, [inner.fileno()], FOREVER), ours
        job, control = self.checker
        control.settimeout(limits.seconds)
        tests = sealed_buffer(asserts.encode())
        try:
            socket.send_fds(control, [b"check"], [tests, link.fileno()])
            return receive(control)
        except (Gone, OSError) as end:
            control.close()
            self.checker = None
            self.kill(job)
            self.wait(job, limits)
            if isinstance(end, Late):
                return None
            raise Gone from None
        finally:
            os.close(tests)

    def kill(self, job: int) -> None:
        """End a job; `wait` then says so."""
        with suppress(OSError):
            self.control.send(json.dumps({"kill": job}).encode())

    @property
    def alive(self) -> bool:
        """Tell whether the jail can take a job."""
        return self.process.poll() is None

    def close(self) -> None:
        """End the jail and all that runs in it."""
        self.control.close()  # at which it ends
        if self.checker:
            self.checker[1].close()
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # bubblewrap itself is only the parent of what it holds
            self.process.wait()
        if self.scratch:
            self.scratch.cleanup()

    def run(self, role: str, payload: dict[str, Any], stdin: str, limits: Limits) -> Finished:
        """Run a program or a command on a text; return what it wrote, as far as it is UTF-8."""
        return self.run_bytes(role, payload, stdin, limits)[0]

    def run_bytes(self, role: str, payload: dict[str, Any], stdin: str, limits: Limits) -> tuple[Finished, bytes]:
        """Run a program or a command on a text; return what it wrote, and its stdout as bytes."""
        given = stdin.encode(errors="surrogatepass")  # JSON may hold halves of characters
        streams = [sealed_buffer(given), os.memfd_create("stdout"), os.memfd_create("stderr")]
        try:
            finished = self.wait(self.start(role, payload, streams, limits), limits)
            stdout, stderr = (_contents(stream, limits.output) for stream in streams[1:])
        finally:
            for stream in streams:
                os.close(stream)
        texts = [data.decode(errors="replace") for data in (stdout, stderr[-2000:])]
        return finished._replace(stdout=texts[0], stderr=texts[1]), stdout


def sealed_buffer(data: bytes) -> int:
    """Return a descriptor that reads as `data`, and that nobody can change."""
    buffer = os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(buffer, view) :]
    fcntl.fcntl(buffer, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    os.lseek(buffer, 0, os.SEEK_SET)
    return buffer


def _contents(buffer: int, limit: int) -> bytes:
    return os.pread(buffer, min(limit, os.fstat(buffer).st_size), 0)


class Sandbox:
    """Jails for any number of threads, at most `workers` at a time; a job takes an idle one, or starts one.

    Raises:
        UserError: the mode (auto: bubblewrap, else Landlock) does not work here; names the remedy.
    """

    def __init__(self, mode: Mode = "auto", workers: int | None = None):
        self.slots = threading.BoundedSemaphore(workers or os.cpu_count() or 1)
        self.lock = threading.Lock()
        self.idle: dict[bool, list[Jail]] = {False: [], True: []}
        self.owner = os.getpid()
        self.mode = self._choose(mode)
        atexit.register(self.close)

    def _choose(self, mode: Mode) -> Mode:
        if mode == "none":
            return mode
        reasons = []
        for candidate in ("bubblewrap", "landlock") if mode == "auto" else (mode,):
            try:
                jail = Jail(candidate)
            except UserError as error:
                reasons.append(str(error))
                continue
            seen = jail.run("program", {"program": PROBE}, "", Limits())
            if seen.stdout == "behind walls":
                self.idle[False].append(jail)
                return candidate
            jail.close()
            said = (seen.stderr.strip().splitlines() or [f"status {seen.status}"])[-1]
            reasons.append(f"sandbox {candidate}: a trial program failed ({said})")
        remedy = "install the package bubblewrap, allow user namespaces, or say --sandbox none to run without walls"
        raise UserError("code", "; ".join(reasons), remedy)

    @contextmanager
    def jail(self, toolchain: bool = False) -> Iterator[Jail]:
        """Lend a jail that no other thread uses."""
        with self.slots:
            with self.lock:
                self._forget_parents()
                jails = self.idle[toolchain]
                jail = jails.pop() if jails else None
            if jail is None or not jail.alive:
                jail = Jail(self.mode, toolchain)
            try:
                yield jail
            finally:
                if jail.alive:
                    with self.lock:
                        self.idle[toolchain].append(jail)

    def _forget_parents(self) -> None:
        if self.owner != os.getpid():  # a fork: the jails are its parent's
            self.owner, self.idle = os.getpid(), {False: [], True: []}

    def close(self) -> None:
        """End the jails that are idle."""
        with self.lock:
            self._forget_parents()
            for jails in self.idle.values():
                while jails:
                    jails.pop().close()
