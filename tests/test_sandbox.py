import os
import shutil
import signal
import socket
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from tempfile import gettempdir

import pytest
from conftest import REPO

from r1kit.errors import UserError
from r1kit.jail.wire import Gone
from r1kit.sandbox import PROBE, Jail, Limits, Sandbox

SHORT = Limits(seconds=1.0)


@pytest.fixture(scope="module")
def jail():
    jail = Jail("bubblewrap")
    yield jail
    jail.close()


def run(jail, program, stdin="", limits=SHORT):
    return jail.run("program", {"program": program}, stdin, limits)


def test_a_program_reads_stdin_and_writes_stdout(jail):
    assert run(jail, "print(input()[::-1])", "abc\n") == (0, "exit", "cba\n", "")


def test_text_that_is_no_unicode_goes_in_too(jail):
    assert run(jail, "import sys; print(len(sys.stdin.buffer.read()))", "\ud800").stdout == "3\n"


def test_its_exit_status_and_its_error_come_back(jail):
    assert run(jail, "import sys; sys.exit(3)").status == 3
    failed = run(jail, "1 / 0")
    assert failed.status == 1
    assert failed.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_it_is_nobody_with_no_environment_no_network_and_no_files(jail):
    assert run(jail, PROBE).stdout == "behind walls"
    seen = run(jail, "import os; print(sorted(os.environ), os.listdir('/'), os.listdir('.'))").stdout
    assert "['HOME', 'LC_ALL', 'MALLOC_ARENA_MAX', 'PATH'" in seen
    assert "home" not in seen
    assert seen.endswith("[]\n")


def test_what_it_writes_is_gone_for_the_next(jail):
    assert run(jail, "open('/tmp/left', 'w').write('x'); open('here', 'w')").status == 0
    assert run(jail, "import os; print(os.listdir('/tmp'))").stdout == "[]\n"


def test_what_it_changes_in_its_interpreter_is_gone_for_the_next(jail):
    assert run(jail, "import builtins, json; builtins.print = None; json.dumps = None").status == 0
    assert run(jail, "import json; print(json.dumps(1))").stdout == "1\n"


def test_the_same_numbers_are_drawn_each_time(jail):
    draw = "import random; print(random.random(), hash('a'))"
    assert run(jail, draw) == run(jail, draw)


def test_it_ends_at_its_time(jail):
    assert run(jail, "while True: pass").cause == "time"
    assert run(jail, "import time; time.sleep(1000)").cause == "time"


def test_it_cannot_hold_more_memory_than_it_may(jail):
    small = Limits(seconds=20.0, memory=200 << 20)
    assert "MemoryError" in run(jail, "x = bytearray(300 << 20)", limits=small).stderr
    many = "import os\nfor _ in range(3): os.fork()\nx = b'x' * (40 << 20)\nimport time; time.sleep(100)"
    assert run(jail, many, limits=small).cause == "memory"


def test_it_cannot_write_without_end(jail):
    ended = run(jail, "while True: print('x' * 10000)", limits=Limits(output=1 << 20))
    assert ended.status != 0
    assert len(ended.stdout) <= 1 << 20


def test_the_number_of_its_processes_is_limited(jail):
    forks = "import os, sys\nn = 0\ntry:\n    while os.fork(): n += 1\n    os._exit(0)\nexcept OSError: print(n)"
    assert 0 < int(run(jail, forks, limits=Limits(seconds=5.0)).stdout.split()[-1]) < 32


def test_no_process_of_it_is_left(jail):
    marker = f"r1kit-left-{os.getpid()}"
    daemon = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import ctypes
        ctypes.CDLL(None).prctl(15, b"{marker[-15:]}", 0, 0, 0)
        time.sleep(1000)
    os._exit(0)
print("started")
"""
    assert run(jail, daemon).stdout == "started\n"
    names = [path.read_text().strip() for path in Path("/proc").glob("[0-9]*/comm")]
    assert marker[-15:] not in names


def test_a_jail_that_died_is_replaced():
    sandbox = Sandbox("bubblewrap", workers=1)
    try:
        with sandbox.jail() as jail:
            os.killpg(jail.process.pid, signal.SIGKILL)
            for _ in range(2):  # also where it is known to be dead
                assert run(jail, "print(1)").cause == "killed"
            with pytest.raises(Gone):
                jail.check("assert True", socket.socketpair()[0], SHORT)
        with sandbox.jail() as jail:
            assert run(jail, "print(1)").stdout == "1\n"
    finally:
        sandbox.close()


def test_a_forked_process_has_jails_of_its_own():
    sandbox = Sandbox("bubblewrap", workers=1)
    try:
        child = os.fork()
        if child == 0:
            with sandbox.jail() as jail:
                os._exit(0 if run(jail, "print(1)").stdout == "1\n" else 1)
        assert os.waitpid(child, 0)[1] == 0
        with sandbox.jail() as jail:
            assert run(jail, "print(2)").stdout == "2\n"
    finally:
        sandbox.close()


def test_without_bubblewrap_it_is_refused_with_the_name_of_the_package(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="bwrap is not installed; install the package bubblewrap"):
        Sandbox("bubblewrap")


def test_without_walls_limits_still_hold_and_nothing_is_left(tmp_path):
    jail = Jail("none")
    try:
        assert run(jail, "print(input())", "hi\n").stdout == "hi\n"
        assert run(jail, "while True: pass").cause == "time"
        left = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)"
        assert run(jail, left).status == 0
        children = Path(f"/proc/{jail.process.pid}/task/{jail.process.pid}/children").read_text()
        assert children == ""
    finally:
        jail.close()


@pytest.mark.parametrize("mode", ["landlock", "bubblewrap"])
def test_walls_stand_for_a_user_who_is_not_root(mode, tmp_path_factory):
    python = shutil.which("python3", path="/usr/bin") or sys.executable
    package = tmp_path_factory.mktemp("package")
    shutil.copytree(REPO / "r1kit", package / "r1kit", ignore=shutil.ignore_patterns("embedded", "__pycache__"))
    inside = takewhile(lambda folder: folder != Path(gettempdir()), (package, *package.parents))
    for folder in inside:
        folder.chmod(0o755)
    program = f"""
import sys
sys.path.insert(0, {str(package)!r})
from r1kit.code import run_tests
from r1kit.sandbox import Sandbox
sandbox = Sandbox({mode!r})
print(run_tests("def f(x): return x + 1", {{"asserts": "assert f(1) == 2"}}, sandbox=sandbox).verdict)
sandbox.close()
"""
    drop = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
    result = subprocess.run([python, "-c", program], capture_output=True, text=True, cwd="/", check=False, **drop)
    assert (result.stdout, result.stderr) == ("correct\n", "")
