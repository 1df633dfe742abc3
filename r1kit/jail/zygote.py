"""The process inside the sandbox that all jobs are forked from: warm, so that a job costs a fork and not a start.

It takes jobs over a socket, each with file descriptors of its own, forks each into namespaces of its own, ends it at
its limits and says how it ended. It never reads what the jobs are given.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from . import confine, roles

WARM = (
    "bisect cmath collections copy dataclasses datetime decimal enum fractions functools hashlib heapq io itertools "
    "math operator queue random re statistics string textwrap threading typing"
)
POLL = 0.05  # seconds between two looks at the memory of a job
TEMPORARY = "size=64m,nr_inodes=4096,mode=1777"
NOBODY = 65534


@dataclass
class Job:
    """One job that runs."""

    number: int
    pid: int
    deadline: float  # monotonic seconds
    memory: int  # bytes of all its processes
    cause: str = "exit"  # or what ended it: "time", "memory", "killed"


def main(settings: dict[str, Any]) -> None:
    """Put up the walls that stand for all jobs, then take jobs from the socket `settings["control"]`."""
    mode, control = settings["mode"], socket.socket(fileno=settings["control"])
    for name in WARM.split():
        importlib.import_module(name)
    if os.getuid() == 0 and mode != "none":  # the limit on processes does not bind uid 0
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    if mode == "bubblewrap":
        confine.enter_user_namespace()
    if mode == "landlock":
        confine.enter_user_namespace(confine.NEWNET | confine.NEWUTS | confine.NEWIPC)
    processes = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    if mode != "none":
        confine.mount_tmpfs("/proc", "size=0", read_only=True)  # from here on seen through the descriptor only
    confine.adopt_orphans()
    sys.set_int_max_str_digits(0)
    confine.call_filter()
    roles.rehearse()
    gc.collect()
    gc.freeze()
    control.send(json.dumps({"ready": mode}).encode())
    serve(control, processes, settings)


def serve(control: socket.socket, processes: int, settings: dict[str, Any]) -> None:
    """Take jobs and report their ends until the other side hangs up; what still runs then ends with it."""
    jobs: dict[int, Job] = {}  # by pidfd
    shared = _resident(processes, os.getpid())  # bytes that a fork has from here
    while True:
        ready, _, _ = select.select([control.fileno(), *jobs], [], [], POLL if jobs else None)
        for handle in [handle for handle in ready if handle in jobs]:
            os.close(handle)
            control.send(_ending(processes, jobs.pop(handle), {job.pid for job in jobs.values()}))
        if control.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(control, 1 << 12, 8)
            if not message:
                _end(list(jobs.values()), "killed")
                return
            request = json.loads(message)
            if "kill" in request:
                _end([job for job in jobs.values() if job.number == request["kill"]], "killed")
            else:
                job = start(request, descriptors, settings)
                jobs[os.pidfd_open(job.pid)] = job
            for descriptor in descriptors:
                os.close(descriptor)
        _end([job for job in jobs.values() if time.monotonic() > job.deadline], "time")
        if not ready:
            _end([job for job in jobs.values() if _memory(processes, job.pid, shared) > job.memory], "memory")


def start(request: dict[str, Any], descriptors: list[int], settings: dict[str, Any]) -> Job:
    """Fork a job: one that runs what nobody trusts into namespaces of its own, one that runs tests into none."""
    alone = settings["mode"] != "none" and request["role"] != "check"
    pid = confine.clone(confine.NEWPID | confine.NEWNS) if alone else os.fork()
    if pid == 0:
        _become(request, descriptors, settings, alone)
    return Job(request["job"], pid, time.monotonic() + request["seconds"], request["memory"])


def _become(request: dict[str, Any], descriptors: list[int], settings: dict[str, Any], alone: bool) -> None:
    """Be the job: arrange its descriptors, confine this process, do what the role says; never return.

    One that is alone is the first process of its namespace: when it ends, the kernel ends all others.
    """
    status = 125
    try:
        confine.die_with_parent()
        if alone:
            confine.mount_tmpfs("/tmp", TEMPORARY)
        with open(os.dup(descriptors[0]), encoding="utf-8") as file:
            file.seek(0)
            payload = json.load(file)
        links = _arrange(descriptors[1:], request["role"])
        os.setsid()
        os.chdir(tempfile.mkdtemp(dir=settings["scratch"]) if settings["mode"] == "none" else "/tmp")
        stack = 256 << 20 if request["role"] == "command" else None
        walled = settings["mode"] != "none"
        processes = request["processes"] if walled else None  # else it would count all that this user runs
        confine.limit_resources(request["seconds"], request["memory"], processes, request["output"], stack)
        if walled:
            confine.drop_privileges()
            if settings["mode"] == "landlock":
                confine.restrict_files(settings["readable"], ["/dev/null"] + ["/tmp"] * (request["role"] != "check"))
            confine.deny_calls()
        status = _play(request["role"], payload, links)
    except OSError as error:  # the walls do not stand, so that nothing has run
        os.write(2, f"{error}\n".encode())
    finally:
        os._exit(status)


def _arrange(descriptors: list[int], role: str) -> list[int]:
    """Put the given descriptors where the role wants them, close all others; return those beyond 0, 1 and 2."""
    streams = descriptors if role in ("program", "command") else [os.open(os.devnull, os.O_RDWR)] * 3 + descriptors
    high = [os.dup2(descriptor, 100 + place) for place, descriptor in enumerate(streams)]
    for place, descriptor in enumerate(high):
        os.dup2(descriptor, place)
    os.closerange(len(streams), 256)
    for place, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        setattr(sys, name, os.fdopen(place, mode, encoding="utf-8", closefd=False))
    return list(range(3, len(streams)))


def _play(role: str, payload: dict[str, Any], links: list[int]) -> int:
    if role == "program":
        return roles.run_program(payload)
    if role == "command":
        return roles.run_command(payload)
    link = socket.socket(fileno=links[0])
    return roles.serve_program(payload, link) if role == "serve" else roles.check_programs(link)


def _end(jobs: list[Job], cause: str) -> None:
    for job in jobs:
        if job.cause == "exit":
            job.cause = cause
            os.kill(job.pid, signal.SIGKILL)


def _ending(processes: int, job: Job, others: set[int]) -> bytes:
    """Return how a job ended; all processes of one that had its own namespaces have ended by now."""
    _, status = os.waitpid(job.pid, 0)
    while orphans := [pid for pid in _children(processes, os.getpid()) if pid not in others]:
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status) % 256
    return json.dumps({"job": job.number, "status": code, "cause": job.cause}).encode()


def _memory(processes: int, pid: int, shared: int) -> int:
    """Return the bytes of memory that a process and its descendants hold beyond what each has from this one."""
    below = sum(_memory(processes, child, shared) for child in _children(processes, pid))
    return max(0, _resident(processes, pid) - shared) + below


def _children(processes: int, pid: int) -> list[int]:
    return [int(child) for child in _read(processes, f"{pid}/task/{pid}/children")]


def _resident(processes: int, pid: int) -> int:
    return int((_read(processes, f"{pid}/statm") or ["0", "0"])[1]) * os.sysconf("SC_PAGE_SIZE")


def _read(processes: int, path: str) -> list[str]:
    """Return the words of a file in the folder of processes, none where the process is gone."""
    try:
        file = os.open(path, os.O_RDONLY, dir_fd=processes)
    except OSError:
        return []
    try:
        return os.read(file, 1 << 16).decode().split()
    except OSError:
        return []
    finally:
        os.close(file)
