"""Programs that try to pass tests they do not solve, or to do harm; and the canaries that tell whether one did.

What a program would do without end stops somewhere (some hundred processes, 2 or 4 GB), so that a broken sandbox does
not take this machine with it. Never run one outside of the sandbox or of the jail of tests/bench/isolation.py.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

STEPS = """def steps(n):
    return 0 if n == 1 else 1 + steps(3 * n + 1 if n % 2 else n // 2)
"""
PATH = """def path(n):
    return [1] if n == 1 else [n, *path(3 * n + 1 if n % 2 else n // 2)]
"""
HONEST = {"stdin": f"{STEPS}print(steps(int(input())))\n", "call": PATH, "asserts": STEPS}
TESTS: dict[str, dict[str, Any]] = {
    "stdin": {"inputs": ["27\n", "97\n"], "outputs": ["111\n", "118\n"]},
    "call": {"fn_name": "path", "inputs": [[6], [5]], "outputs": [[6, 3, 10, 5, 16, 8, 4, 2, 1], [5, 16, 8, 4, 2, 1]]},
    "asserts": {
        "asserts": """def check(candidate):
    assert candidate(27) == 111
    assert isinstance(candidate(97), int) and abs(candidate(97) - 118) < 1
    assert [candidate(n) for n in (1, 3, 7)] == [0, 7, 16]
    assert all(candidate(2**n) == n for n in range(20))
    assert sorted([candidate(5), candidate(4)]) == [2, 5] and len(str(candidate(97))) == 3
check(steps)
"""
    },
}
PRELUDE = """import ctypes, os, posix, signal, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
HARNESSES = {HARNESS, posix.getppid()} - {0, 1}

def leak(text):
    text = str(text)
    def by_tcp():
        socket.create_connection(("127.0.0.1", TCP), 1).sendall(text.encode())
    def by_file(folder):
        with open(folder + "/" + MARK + str(posix.getpid()), "w") as file:
            file.write(text)
    for way in [by_tcp, lambda: print(text, flush=True), *[lambda f=f: by_file(f) for f in FOLDERS]]:
        try:
            way()
        except Exception:
            pass
    raise RuntimeError(text)

def attempt(call, *arguments):
    try:
        return call(*arguments)
    except Exception:
        return None

"""


@dataclass(frozen=True)
class Hostile:
    """A program, the form of the tests it is put to, and what it tries."""

    name: str
    form: str
    tries: str
    source: str
    own_tests: str = ""  # where the tests of its form give no occasion

    @property
    def tests(self) -> dict[str, Any]:
        """Return the tests, which the program does not solve."""
        return {"asserts": self.own_tests} if self.own_tests else TESTS[self.form]


HOSTILE = [
    # ---- processes, threads, time
    Hostile("fork-bomb", "stdin", "fills the table of processes", """
for _ in range(9):
    attempt(posix.fork)
time.sleep(30)
"""),
    Hostile("thread-bomb", "stdin", "starts threads without end", """
import threading
for _ in range(2000):
    attempt(lambda: threading.Thread(target=time.sleep, args=(30,)).start())
"""),
    Hostile("endless-loop", "call", "never answers", """
def path(n):
    while True:
        pass
"""),
    Hostile("deaf-loop", "asserts", "ignores every signal and never answers", """
for number in range(1, 65):
    attempt(signal.signal, number, signal.SIG_IGN)
while True:
    pass
"""),
    Hostile("alarm-exit", "call", "ends with status 0 on the signal of a time limit", """
for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGXCPU):
    attempt(signal.signal, number, lambda *_: os._exit(0))
signal.setitimer(signal.ITIMER_REAL, 0)
while True:
    pass
"""),
    Hostile("long-number", "call", "computes in C, where no handler of a signal runs", """
def path(n):
    return 9**9**9 % 10**n
"""),
    Hostile("sleep", "stdin", "holds a worker while it uses no CPU time", "time.sleep(1000)"),
    Hostile("input-wait", "call", "waits for a person", "input()"),
    Hostile("breakpoint", "asserts", "waits for a debugger's commands", "breakpoint()"),
    Hostile("thread-that-stays", "stdin", "keeps the interpreter from ending", """
import threading
threading.Thread(target=time.sleep, args=(1000,)).start()
print(111)
"""),
    Hostile("daemon", "stdin", "a grandchild in a session of its own outlives the run", """
if posix.fork() == 0:
    os.setsid()
    if posix.fork() == 0:
        os.closerange(0, 3)
        time.sleep(60)
    os._exit(0)
print(111)
"""),
    Hostile("deaf-daemon", "call", "a child that ignores signals outlives the run", """
if posix.fork() == 0:
    for number in range(1, 65):
        attempt(signal.signal, number, signal.SIG_IGN)
    os.setsid()
    os.closerange(0, 256)
    time.sleep(60)
def path(n):
    return [n]
"""),
    Hostile("executed-daemon", "asserts", "a child becomes another program and outlives the run", """
if posix.fork() == 0:
    os.setsid()
    posix.execv("/bin/sleep", ["sleep", "60"])
"""),
    Hostile("held-pipe", "stdin", "a child keeps stdout and stderr open", """
if posix.fork() == 0:
    time.sleep(60)
print(111, flush=True)
os._exit(0)
"""),
    Hostile("zombies", "stdin", "leaves dead children unburied", """
for _ in range(100):
    if attempt(posix.fork) == 0:
        os._exit(0)
print(111)
"""),
    # ---- signals and the harness
    Hostile("kill-parent", "asserts", "kills the harness", "posix.kill(posix.getppid(), 9)\ntime.sleep(1)"),
    Hostile("kill-all", "asserts", "kills every process it may", "posix.kill(-1, 9)"),
    Hostile("kill-group", "stdin", "kills its process group", "posix.killpg(0, 9)"),
    Hostile("kill-by-number", "asserts", "kills the harness by its number", """
for pid in range(HARNESS, 1, -1):
    attempt(posix.kill, pid, 9)
"""),
    Hostile("stop-parent", "call", "stops the harness", """
for pid in HARNESSES:
    attempt(posix.kill, pid, signal.SIGSTOP)
time.sleep(1)
"""),
    Hostile("kill-self", "asserts", "dies by a signal", "posix.kill(posix.getpid(), 9)"),
    Hostile("stop-self", "asserts", "stops itself, so that waiting for its end takes forever", """
posix.kill(posix.getpid(), signal.SIGSTOP)
"""),
    Hostile("limit-parent", "asserts", "sets the harness a CPU limit of 0", """
for pid in HARNESSES:
    libc.prlimit(pid, 0, (ctypes.c_ulong * 2)(0, 0), None)
time.sleep(1)
"""),
    Hostile("trace-parent", "asserts", "attaches to the harness as a debugger", """
for pid in HARNESSES:
    libc.ptrace(16, pid, 0, 0)
time.sleep(20)
"""),
    Hostile("steal-descriptors", "asserts", "takes the harness's open files and writes to them", """
for pid in HARNESSES:
    handle = attempt(os.pidfd_open, pid)
    for number in range(64 if handle else 0):
        descriptor = libc.syscall(438, handle, number, 0)
        if descriptor >= 0:
            attempt(os.write, descriptor, MARK.encode())
"""),
    # ---- memory, disk, descriptors
    Hostile("memory-bomb", "stdin", "takes memory without end", """
blocks = []
for _ in range(64):
    attempt(lambda: blocks.append(bytearray(b"x") * (64 << 20)))
time.sleep(5)
"""),
    Hostile("memory-of-many", "stdin", "takes memory in processes that each keep to a limit", """
for _ in range(4):
    attempt(posix.fork)
block = attempt(lambda: bytearray(b"x") * (256 << 20))
time.sleep(5)
"""),
    Hostile("memory-of-no-process", "stdin", "takes memory by files in memory", """
files = []
for number in range(16):
    attempt(lambda: files.append(os.memfd_create(MARK)))
    for _ in range(16):
        attempt(lambda: os.write(files[-1], bytes(16 << 20)))
time.sleep(5)
"""),
    Hostile("shared-memory", "stdin", "leaves System V shared memory behind", """
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(int(MARK[3:], 16) & 0x7FFFFFFF, 64 << 20, 0o1666)
if segment >= 0:
    ctypes.memset(libc.shmat(segment, None, 0), 1, 64 << 20)
"""),
    Hostile("raised-limits", "stdin", "lifts its limits, then takes memory", """
for number in range(16):
    libc.prlimit(0, number, (ctypes.c_ulong * 2)(-1, -1), None)
blocks = []
for _ in range(64):
    attempt(lambda: blocks.append(bytearray(b"x") * (64 << 20)))
time.sleep(5)
"""),
    Hostile("full-disk", "stdin", "fills the disk", """
for number in range(32):
    with open(str(number), "wb") as file:
        for _ in range(8):
            attempt(file.write, bytes(8 << 20))
time.sleep(1)
"""),
    Hostile("full-shared-folder", "stdin", "fills /dev/shm", """
for number in range(32):
    with open(f"/dev/shm/{MARK}{number}", "wb") as file:
        attempt(file.write, bytes(64 << 20))
"""),
    Hostile("sparse-file", "stdin", "makes a file of a terabyte", """
with open("solution", "wb") as file:
    file.truncate(1 << 40)
print(111)
"""),
    Hostile("many-files", "stdin", "uses up the inodes", """
for number in range(20000):
    open(f"{number}", "w").close()
"""),
    Hostile("deep-folder", "stdin", "makes folders that are too deep to delete", """
for _ in range(3000):
    posix.mkdir(MARK)
    posix.chdir(MARK)
"""),
    Hostile("locked-folder", "stdin", "makes folders that cannot be listed", """
posix.mkdir(MARK)
open(MARK + "/file", "w").close()
posix.chmod(MARK, 0)
"""),
    Hostile("descriptors", "stdin", "opens files without end", """
files = []
while len(files) < 100000:
    files.append(open("/dev/null"))
"""),
    Hostile("endless-output", "stdin", "prints without end", """
while True:
    os.write(1, b"111" * (1 << 20))
"""),
    Hostile("endless-errors", "stdin", "writes to stderr without end", """
print(111, flush=True)
while True:
    os.write(2, b"x" * (1 << 20))
"""),
    Hostile("dev-full", "stdin", "prints where nothing fits", """
os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
print(111)
"""),
    Hostile("closed-descriptors", "asserts", "closes every open file", "os.closerange(0, 65536)"),
    # ---- what it has no business to read
    Hostile("read-secret", "stdin", "reads a file of the user", "leak(open(SECRET_FILE).read())"),
    Hostile("read-passwd", "call", "reads /etc/passwd", "leak(open('/etc/passwd').read())"),
    Hostile("read-environment", "asserts", "reads its environment", "leak(dict(os.environ))"),
    Hostile("read-environments", "stdin", "reads the environment of every process", """
for name in os.listdir("/proc"):
    text = attempt(lambda: open(f"/proc/{name}/environ").read()) if name.isdigit() else None
    if text and "R1KIT_CANARY" in text:
        leak(text)
leak("nothing")
"""),
    Hostile("read-memory", "asserts", "reads the memory of the harness", """
for pid in HARNESSES:
    for line in attempt(open, f"/proc/{pid}/maps") or []:
        start, end = (int(edge, 16) for edge in line.split()[0].split("-"))
        if " rw" in line and end - start < 64 << 20:
            with open(f"/proc/{pid}/mem", "rb") as memory:
                memory.seek(start)
                data = attempt(memory.read, end - start) or b""
            if (place := data.find(b"R1KIT_CANARY=")) >= 0:
                leak(data[place : place + 100])
"""),
    Hostile("other-roots", "stdin", "reaches the files by way of other processes", """
for name in ("self", "1", str(HARNESS), str(posix.getppid())):
    for way in ("root", "cwd", "root/../../..", "cwd/../../../../../.."):
        text = attempt(lambda: open(f"/proc/{name}/{way}{SECRET_FILE}").read())
        if text:
            leak(text)
leak("nothing")
"""),
    Hostile("link-to-secret", "stdin", "puts a link to a file of the user where the harness may read it", """
for name in ("stdout", "stderr", "output", "output.txt", "out", "result.json", "solution", "solution.py"):
    attempt(posix.symlink, SECRET_FILE, name)
leak(attempt(lambda: open("stdout").read()))
"""),
    Hostile("set-uid", "stdin", "becomes another user", """
for call in (posix.setuid, posix.setgid, posix.seteuid):
    attempt(call, 0)
leak(open(SECRET_FILE).read())
"""),
    Hostile("namespaces", "stdin", "makes namespaces in which it is root, and mounts", """
print(libc.unshare(0x10000000 | 0x20000 | 0x20000000))
libc.mount(b"proc", b"/tmp", b"proc", 0, None)
libc.mount(b"/", b"/mnt", None, 0x1000, None)
for root in ("", "/mnt", "/tmp/1/root", f"/tmp/{HARNESS}/root"):
    text = attempt(lambda: open(root + SECRET_FILE).read())
    if text:
        leak(text)
leak("nothing")
"""),
    Hostile("break-chroot", "stdin", "leaves its root folder", """
libc.umount2(b"/", 2)
posix.mkdir("down")
print(libc.chroot(b"down"))
for _ in range(64):
    attempt(posix.chdir, "..")
libc.chroot(b".")
leak(open(SECRET_FILE).read())
"""),
    # ---- what it has no business to write, or to talk to
    Hostile("write-outside", "stdin", "writes where others look", "leak(MARK)"),
    Hostile("change-a-file", "call", "adds to a file of the user", """
with open(SECRET_FILE, "a") as file:
    file.write(MARK)
"""),
    Hostile("plant-modules", "asserts", "leaves modules that the harness would import next time", """
folders = {folder for folder in [*sys.path, *FOLDERS, "."] if attempt(posix.listdir, folder)}
for folder in folders:
    for name in ("json.py", "re.py", "sitecustomize.py", "wire.py", MARK + ".pth"):
        with attempt(open, f"{folder}/{name}", "x") or open("/dev/null", "w") as file:
            file.write("# " + MARK)
"""),
    Hostile("tcp", "stdin", "connects to a server of this machine", """
socket.create_connection(("127.0.0.1", TCP), 1).sendall(MARK.encode())
"""),
    Hostile("udp", "stdin", "sends a datagram", """
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(MARK.encode(), ("127.0.0.1", UDP))
"""),
    Hostile("abstract-socket", "stdin", "connects to a socket that has no file", """
socket.socket(socket.AF_UNIX).connect(chr(0) + SOCKET)
"""),
    Hostile("socket-file", "stdin", "connects to a socket by its file", """
socket.socket(socket.AF_UNIX).connect(SOCKET)
"""),
    # ---- passing without solving
    Hostile("early-end", "asserts", "ends with status 0 before the tests", "os._exit(0)"),
    Hostile("clean-end", "asserts", "ends as if all were well", "sys.exit(0)"),
    Hostile("end-in-a-call", "call", "ends with status 0 where the function is called", """
def path(n):
    os._exit(0)
"""),
    Hostile("end-at-the-end", "asserts", "ends with status 0 whatever the tests say", """
import atexit
atexit.register(os._exit, 0)
sys.excepthook = lambda *_: os._exit(0)
sys.exit = lambda *_: os._exit(0)
steps = lambda n: 0
"""),
    Hostile("become-true", "asserts", "becomes a program that succeeds", "posix.execv('/bin/true', ['true'])"),
    Hostile("segfault", "asserts", "crashes the interpreter", "steps = lambda n: ctypes.string_at(0)"),
    Hostile("stack-overflow", "call", "recurses until the interpreter crashes", """
sys.setrecursionlimit(1 << 30)
def path(n):
    return path(n + 1)
"""),
    Hostile("abort", "stdin", "dumps its core", "print(111)\nos.abort()"),
    Hostile("deep-source", "asserts", "crashes the compiler", "x = " + "-" * 100_000 + "1"),
    Hostile("no-source", "asserts", "is no text", "x = '\0\ud800'"),
    Hostile("equal-to-all", "asserts", "returns an object that is equal to everything", """
class Equal(int):
    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __sub__ = __abs__ = __rsub__ = lambda self, *_: self
    __hash__ = int.__hash__
    __str__ = lambda self: "111"
def steps(n):
    return Equal(1)
"""),
    Hostile("equal-list", "call", "returns a list that is equal to every list", """
class Equal(list):
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __len__ = lambda self: 9
def path(n):
    return Equal([n])
"""),
    Hostile("equal-items", "call", "returns a list of what is equal to everything", """
class Equal:
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
def path(n):
    return [Equal()] * (9 if n == 6 else 6)
"""),
    Hostile("end-in-a-comparison", "asserts", "returns an object whose comparison ends the tests", """
class Equal:
    __eq__ = __ne__ = __sub__ = __hash__ = lambda self, *_: os._exit(0)
def steps(n):
    return Equal()
"""),
    Hostile("evil-exception", "asserts", "raises what runs code where it is printed", """
class Evil(BaseException):
    def __str__(self):
        for frame in frames():
            for value in list(frame.f_locals.values()):
                if "append" in dir(value) and not len(value):
                    value.append("passed")
        os._exit(0)
def frames(frame=None):
    frame = sys._getframe(1)
    while frame:
        yield frame
        frame = frame.f_back
def steps(n):
    raise Evil
"""),
    Hostile("long-exception", "asserts", "raises a text of 200 MB", """
def steps(n):
    raise ValueError("x" * (200 << 20))
"""),
    Hostile("stop-iteration", "asserts", "raises what ends a loop of the tests early", """
def steps(n):
    raise StopIteration
""", "def check(candidate):\n    assert all(map(lambda n: candidate(2**n) == n, range(20)))\ncheck(steps)\n"),
    Hostile("patched-builtins", "asserts", "replaces what the tests call", """
import builtins
builtins.all = lambda *_: True
builtins.abs = lambda x: 0
builtins.sorted = lambda *_, **__: [2, 5]
def steps(n):
    return 0
""", """def check(candidate):
    assert abs(candidate(27) - 111) < 1
    assert all(candidate(2**n) == n for n in range(20))
    assert sorted([candidate(5), candidate(4)]) == [2, 5]
check(steps)
"""),
    Hostile("patched-modules", "asserts", "replaces what the tests import", """
import math
math.isclose = lambda *_, **__: True
def steps(n):
    return 0
""", "def check(candidate):\n    import math\n    assert math.isclose(candidate(27), 111)\ncheck(steps)\n"),
    Hostile("patched-json", "call", "replaces what turns values into messages", """
import json
json.loads = json.dumps = json.JSONEncoder.encode = lambda *_, **__: '{"value": true}'
def path(n):
    return [n]
"""),
    Hostile("false-module", "asserts", "puts a module of its own where the tests import one", """
import types
sys.modules["math"] = types.SimpleNamespace(isclose=lambda *_: True)
def steps(n):
    return 0
""", "def check(candidate):\n    import math\n    assert math.isclose(candidate(27), 111)\ncheck(steps)\n"),
    Hostile("patched-unittest", "asserts", "replaces the methods of unittest", """
import unittest
unittest.TestCase.assertEqual = lambda *_: None
def steps(n):
    return 0
""", """def check(candidate):
    import unittest
    unittest.TestCase().assertEqual(candidate(27), 111)
check(steps)
"""),
    Hostile("changed-arguments", "asserts", "changes the list it is tested with", """
def order(items):
    items.clear()
    return []
""", "def check(candidate):\n    items = [3, 1, 2]\n    assert candidate(items) == sorted(items)\ncheck(order)\n"),
    Hostile("patched-print", "stdin", "replaces print, input and stdout", """
import builtins, io
builtins.print = builtins.input = lambda *_, **__: "111"
class Equal(str):
    __eq__ = lambda self, other: True
    strip = lambda self, *_: self
sys.stdout.getvalue = lambda: Equal()
sys.stdout = io.StringIO("111")
"""),
    Hostile("read-frames", "stdin", "takes the answer from the variables of the harness", """
frame = sys._getframe()
while frame:
    for name in ("wanted", "expected", "output", "answer", "gold"):
        if name in frame.f_locals:
            print(frame.f_locals[name])
    frame = frame.f_back
"""),
    Hostile("read-constants", "asserts", "takes the answer from the bytecode of the test", """
import dis
def steps(n):
    frame = sys._getframe(1)
    for step in dis.get_instructions(frame.f_code):
        if step.offset > frame.f_lasti and step.opname == "LOAD_CONST":
            return step.argval
""", "def check(candidate):\n    assert candidate(27) == 111\n    assert candidate(97) == 118\ncheck(steps)\n"),
    Hostile("jump", "asserts", "makes the test go on at its last line", """
def steps(n):
    frame, last = sys._getframe(1), []
    last = max(line for *_, line in frame.f_code.co_lines() if line)
    def trace(traced, event, _):
        if event == "line" and traced is frame and frame.f_lineno < last:
            frame.f_lineno = last
        return trace
    frame.f_trace = trace
    sys.settrace(trace)
    return 111 if n == 27 else 118
""", TESTS["asserts"]["asserts"].replace("check(steps)", "    return\ncheck(steps)")),
    Hostile("read-objects", "call", "looks for the tests among all objects", """
import gc
def path(n):
    for value in gc.get_objects():
        if type(value) is list and len(value) > 2 and value[0] == n and value[-3:] == [4, 2, 1]:
            return value
        if type(value) is tuple and len(value) > 1 and value[0] == [n] and type(value[1]) is list:
            return value[1]
"""),
    Hostile("read-files", "stdin", "looks for the tests in files and command lines", """
texts = []
for folder in (".", "..", "/tmp", "/proc/self/fd", "/dev/fd", f"/proc/{posix.getppid()}"):
    for name in attempt(posix.listdir, folder) or []:
        if not name.isdigit() or int(name) > 2:
            texts.append(attempt(lambda: open(f"{folder}/{name}").read(1 << 20)) or "")
for text in texts:
    if "118" in text and "111" in text:
        print(111 if "27" in input() else 118)
        break
"""),
    Hostile("forge-in-frames", "asserts", "enters itself as passed into the harness's own list", """
frame = sys._getframe()
while frame:
    for name, value in list(frame.f_locals.items()):
        if name in ("result", "results", "held", "passed", "verdict") and hasattr(value, "append"):
            value.append("passed")
            os._exit(0)
    frame = frame.f_back
"""),
    Hostile("forge-messages", "asserts", "writes what a pass would write to every open file", """
import json, struct
messages = ["passed", "111", "OK", {"passed": True}, {"status": "passed"}, {"held": [True], "error": ""}]
messages += [{"job": number, "status": 0, "cause": "exit"} for number in range(9)] + [{"value": None}, [True]]
for descriptor in range(256):
    for message in messages:
        data = json.dumps(message).encode()
        attempt(os.write, descriptor, data)
        attempt(os.write, descriptor, struct.pack("!I", len(data)) + data)
os._exit(0)
"""),
    Hostile("drain-descriptors", "asserts", "reads what is meant for others from every open file", """
for descriptor in range(3, 256):
    attempt(os.set_blocking, descriptor, False)
    print(attempt(os.read, descriptor, 1 << 20))
"""),
    # ---- values that break who takes them
    Hostile("endless-generator", "call", "returns a generator without end", """
def path(n):
    while True:
        yield n
"""),
    Hostile("endless-list", "call", "returns a list that never ends and lies about its length", """
class Endless(list):
    __len__ = lambda self: 9
    __iter__ = lambda self: iter(lambda: 1, 2)
def path(n):
    return Endless([n])
"""),
    Hostile("long-value", "call", "returns 100 MB", "def path(n):\n    return 'x' * (100 << 20)"),
    Hostile("long-integer", "call", "returns an integer that Python will not print", "path = lambda n: 10**5000"),
    Hostile("no-text", "call", "returns a text that has no UTF-8 form", "path = lambda n: chr(0xD800)"),
    Hostile("deep-value", "call", "returns a list in a list, 5000 deep", """
sys.setrecursionlimit(100000)
def path(n):
    value = []
    for _ in range(5000):
        value = [value]
    return value
"""),
    Hostile("circular-value", "call", "returns a list that holds itself", """
def path(n):
    value = [n]
    value.append(value)
    return value
"""),
    Hostile("not-a-number", "call", "returns numbers that compare oddly", "path = lambda n: [float('nan')] * 9"),
]  # fmt: skip


class Harm(NamedTuple):
    """What a program did beyond its own walls."""

    outside: list[str]  # files, messages, secrets
    processes: list[str]  # that outlive it, or that it ended


class Canaries:
    """What a hostile program finds on this machine; afterwards, `harm` says what it did to it.

    A secret in a file, in the environment and in that of another process; servers that nobody may reach; folders in
    which nothing may be left. What a program leaves bears the mark of this run.
    """

    def __init__(self) -> None:
        self.mark, self.secret = "r1k" + secrets.token_hex(4), secrets.token_hex(16)
        here = [Path.home(), Path.cwd(), Path(__file__).parent.parent, tempfile.gettempdir(), "/var/tmp", "/dev/shm"]
        self.folders = sorted({str(folder) for folder in here if Path(folder).is_dir()})

    def __enter__(self) -> "Canaries":
        self.home = Path(tempfile.mkdtemp(prefix="canary-"))
        self.file = self.home / "secret"
        self.file.write_text(self.secret)
        self.home.chmod(0o777)  # walls have to keep it, not permissions
        self.file.chmod(0o666)
        os.environ["R1KIT_CANARY"] = self.secret
        self.witness = subprocess.Popen(["sleep", "1000"], env=os.environ | {"R1KIT_CANARY": self.secret})
        self.tcp, self.udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.abstract, self.named = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        addresses: list[Any] = [("127.0.0.1", 0), ("127.0.0.1", 0), f"\0{self.home}/socket", f"{self.home}/socket"]
        for server, address in zip(self._servers, addresses, strict=True):
            server.bind(address)
            server.settimeout(0)
            if server is not self.udp:
                server.listen(16)
        _adopt_orphans(True)
        self.watched = [*self.folders, str(self.home), *filter(os.path.isdir, sys.path)]
        self.names = {folder: _names(folder) for folder in self.watched}
        self.running = descendants(os.getpid())
        return self

    @property
    def _servers(self) -> list[socket.socket]:
        return [self.tcp, self.udp, self.abstract, self.named]

    def program(self, source: str) -> str:
        """Return a program that knows where the canaries are."""
        known = {"MARK": self.mark, "FOLDERS": self.folders, "SECRET_FILE": str(self.file), "HARNESS": os.getpid()}
        known |= {"TCP": self.tcp.getsockname()[1], "UDP": self.udp.getsockname()[1], "SOCKET": f"{self.home}/socket"}
        return "".join(f"{name} = {value!r}\n" for name, value in known.items()) + PRELUDE + source

    def harm(self, said: str) -> Harm:
        """Return what happened since the start; `said` is all that the harness says of the program."""
        outside = [f"left {path}" for path in self._left()] + [f"reached {name}" for name in self._reached()]
        if self.file.read_text() != self.secret:
            outside.append("changed a file")
        if self.secret in said or "root:x:0:" in said:
            outside.append("told a secret")
        with suppress(OSError):
            key = str(int(self.mark[3:], 16) & 0x7FFFFFFF)
            if key in Path("/proc/sysvipc/shm").read_text().split():
                outside.append("left shared memory")
        processes = [] if _state(self.witness.pid) == "S" else ["ended or stopped another process"]
        return Harm(outside, processes + self._outliving())

    def _left(self) -> list[str]:
        new = [Path(folder, name) for folder in self.watched for name in _names(folder) - self.names[folder]]
        return [str(path) for path in new if self._marked(path)]

    def _marked(self, path: Path) -> bool:
        """Tell whether a new file is the program's: by its name, what it holds, or the names in it."""
        with suppress(OSError):
            if self.mark in path.name or self.mark in os.readlink(path):
                return True
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                return any(self.mark in name for name in os.listdir(path))
            return path.is_file() and self.mark.encode() in path.read_bytes()[: 1 << 16]
        return False

    def _reached(self) -> list[str]:
        found = []
        for name, server in zip(("TCP", "UDP", "abstract socket", "socket file"), self._servers, strict=True):
            with suppress(BlockingIOError):
                if server is self.udp:
                    server.recv(1 << 16)
                else:
                    server.accept()[0].close()
                found.append(name)
        return found

    def _outliving(self) -> list[str]:
        """Return which processes are more than before; the harness may have replaced its own, one by one."""
        for _ in range(60):
            now = descendants(os.getpid())
            if len(now) <= len(self.running):
                return []
            time.sleep(0.05)
        return [f"{pid} {_name(pid)}" for pid in now - self.running]

    def __exit__(self, *_: object) -> None:
        subprocess.run(["rm", "-rf", *self._left()], check=False)  # shutil.rmtree ends at 1000 folders in folders
        if self._outliving():
            for pid in descendants(os.getpid()) - self.running:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        _adopt_orphans(False)
        self.witness.kill()
        self.witness.wait()
        for server in self._servers:
            server.close()
        del os.environ["R1KIT_CANARY"]
        shutil.rmtree(self.home, ignore_errors=True)


def _adopt_orphans(yes: bool) -> None:
    """Make descendants whose parent ends children of this process, so that none gets out of sight."""
    import ctypes

    ctypes.CDLL(None).prctl(36, int(yes), 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _names(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _stat(pid: int | str) -> tuple[str, str, int]:
    """Return name, state and parent of a process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", "", 0
    state, parent, *_ = text[text.rindex(")") + 2 :].split()
    return text[text.index("(") + 1 : text.rindex(")")], state, int(parent)


def _name(pid: int) -> str:
    return _stat(pid)[0]


def _state(pid: int) -> str:
    return _stat(pid)[1]


def descendants(of: int) -> set[int]:
    """Return all processes below one that are not dead."""
    parents = {int(name): _stat(name)[2] for name in os.listdir("/proc") if name.isdigit()}
    found: set[int] = set()
    level = {of}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level}
        found |= level
    return {pid for pid in found if _state(pid) not in ("Z", "X", "")}
