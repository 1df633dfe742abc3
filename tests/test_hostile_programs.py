import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hostile_programs import HONEST, HOSTILE, TESTS, Canaries, descendants

from r1kit.code import run_tests
from r1kit.sandbox import Limits

LIMITS = Limits(seconds=2.0)
THREADS = """from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as threads:
    print(sum(threads.map(lambda n: n, range(8))))
"""
STUBBORN = """
libc.prctl(1, 0, 0, 0, 0)  # not to end with its parent
if posix.fork() == 0:
    os.setsid()
for number in range(1, 65):
    attempt(signal.signal, number, signal.SIG_IGN)
while True:
    time.sleep(1)
"""


def honest_verdicts():
    return {form: run_tests(program, TESTS[form], limits=LIMITS).verdict for form, program in HONEST.items()}


@pytest.fixture
def canaries():
    assert honest_verdicts() == dict.fromkeys(HONEST, "correct")  # the sandbox's own processes count as here before
    with Canaries() as canaries:
        yield canaries


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_a_hostile_program_passes_nothing_reaches_nothing_and_leaves_nothing(hostile, canaries):
    result = run_tests(canaries.program(hostile.source), hostile.tests, limits=LIMITS)
    assert result.verdict in ("wrong", "timeout")
    assert result.passed < result.total
    assert result.reason
    assert len(result.reason.encode()) < 5000
    assert honest_verdicts() == dict.fromkeys(HONEST, "correct")
    harm = canaries.harm(str(result))
    assert harm.outside == []
    assert harm.processes == []


def test_a_hostile_program_does_no_harm_to_those_beside_it(canaries):
    names = ("fork-bomb", "memory-of-many", "full-disk", "descriptors", "endless-loop")
    chosen = [hostile for hostile in HOSTILE if hostile.name in names]
    with ThreadPoolExecutor(1) as beside:
        programs = [(canaries.program(hostile.source), hostile.tests) for hostile in chosen]
        hostile = [beside.submit(run_tests, *program, limits=LIMITS) for program in programs]
        rounds = 0
        while not all(future.done() for future in hostile):
            assert honest_verdicts() == dict.fromkeys(HONEST, "correct")
            assert run_tests(THREADS, {"inputs": [""], "outputs": ["28"]}, limits=LIMITS).verdict == "correct"
            rounds += 1
    assert "correct" not in [future.result().verdict for future in hostile]
    assert rounds > 10


def test_nothing_outlives_a_harness_that_is_killed(canaries):
    program = canaries.program(STUBBORN)
    script = f"from r1kit.code import run_tests\nrun_tests({program!r}, {TESTS['stdin']!r})"
    harness = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while len(descendants(harness.pid)) <= 3 and time.monotonic() < deadline:  # the sandbox's, the program, its child
        time.sleep(0.05)
    assert len(descendants(harness.pid)) > 3
    harness.kill()
    harness.wait()
    assert canaries.harm("").processes == []


def test_no_socket_opens_that_reaches_beyond_a_network_namespace(canaries):
    opens = "import socket\ntry:\n    print(socket.socket(socket.AF_VSOCK))\nexcept OSError:\n    print('shut')\n"
    assert run_tests(opens, {"inputs": [""], "outputs": ["shut"]}).verdict == "correct"


@pytest.mark.parametrize("form", HONEST)
def test_an_honest_program_passes_the_tests_of_the_hostile_ones(form, canaries):
    result = run_tests(canaries.program(HONEST[form]), TESTS[form], limits=LIMITS)
    assert (result.verdict, result.passed) == ("correct", result.total)
    assert canaries.harm(str(result)) == ([], [])


def leave_file(canaries):
    Path("/tmp", canaries.mark).touch()


def plant_module(canaries):
    Path(canaries.home, "json.py").write_text(f"# {canaries.mark}")


def leave_folder(canaries):
    Path(canaries.home, "new", canaries.mark).mkdir(parents=True)


def change_file(canaries):
    canaries.file.write_text("changed")


def connect(canaries):
    socket.create_connection(canaries.tcp.getsockname()).close()


def send_datagram(canaries):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", canaries.udp.getsockname())


def connect_abstract(canaries):
    socket.socket(socket.AF_UNIX).connect(f"\0{canaries.home}/socket")


def connect_by_file(canaries):
    socket.socket(socket.AF_UNIX).connect(f"{canaries.home}/socket")


@pytest.mark.parametrize(
    "act",
    [
        leave_file,
        plant_module,
        leave_folder,
        change_file,
        connect,
        send_datagram,
        connect_abstract,
        connect_by_file,
    ],
)
def test_canaries_notice_what_is_done_outside(act, canaries):
    act(canaries)
    assert len(canaries.harm("").outside) == 1


def test_canaries_notice_a_secret_that_was_told(canaries):
    assert canaries.harm(f"it prints {canaries.secret}").outside == ["told a secret"]
    assert canaries.harm("root:x:0:0:root:/root:/bin/bash").outside == ["told a secret"]


def test_canaries_notice_a_process_that_outlives_its_parent(canaries):
    subprocess.run(["sh", "-c", "sleep 60 &"], check=True)
    assert [name.split()[1] for name in canaries.harm("").processes] == ["sleep"]


def test_canaries_notice_that_another_process_was_ended(canaries):
    canaries.witness.kill()
    canaries.witness.wait()
    assert canaries.harm("").processes == ["ended or stopped another process"]


def test_the_secret_lies_where_other_processes_can_read_it(canaries):
    assert canaries.secret.encode() in Path(f"/proc/{canaries.witness.pid}/environ").read_bytes()
    assert os.environ["R1KIT_CANARY"] == canaries.file.read_text() == canaries.secret
