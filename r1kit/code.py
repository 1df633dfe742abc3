"""Does a program pass its tests? It runs in the sandbox; what it says is compared out here.

Three forms of `tests`: {"inputs", "outputs"} (text on stdin to text on stdout), the same with "fn_name" (lists of
arguments to values), and {"asserts": Python source} (HumanEval, MBPP), which a second process runs that reaches the
program by messages only.
"""

import ast
import base64
import json
import os
import re
import socket
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from r1kit.errors import Ungradable
from r1kit.jail.roles import ask, count_tests, value_of
from r1kit.jail.wire import Gone, Late, receive
from r1kit.outputs import equal_outputs, equal_values, shown
from r1kit.sandbox import Jail, Limits, Sandbox


@dataclass(frozen=True)
class Language:
    """How programs of a language are run. Without `run`, they run in the warm Python of the sandbox."""

    fences: tuple[str, ...]  # what a fenced block of it is marked with
    source: str = ""  # file name of the program
    compile: tuple[str, ...] = ()  # leaves the file "solution"
    run: tuple[str, ...] = ()


LANGUAGES = {
    "python": Language(("python", "py", "python3", "")),
    "cpp": Language(
        ("cpp", "c++", "cc", "cxx"),
        "main.cpp",
        ("/usr/bin/g++", "-O2", "-std=c++17", "main.cpp", "-o", "solution"),
        ("./solution",),
    ),
}
COMPILE = Limits(seconds=30.0, output=64 << 20)
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+#.-]*)[^\n]*\n(.*?)^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE)


class Program(NamedTuple):
    """A program as a completion states it."""

    source: str
    language: str  # a key of LANGUAGES, or what the block was marked with


class TestsResult(NamedTuple):
    """What the tests say of a program."""

    passed: int
    total: int
    verdict: str  # "correct", "wrong" or "timeout"
    reason: str | None  # of the first test that fails


class _Failure(NamedTuple):
    reason: str
    late: bool = False


def extract_program(text: str) -> Program | None:
    """Return the last fenced block of a text, None where there is none; an unmarked one counts as Python."""
    blocks = _FENCE.findall(text)
    if not blocks:
        return None
    _, mark, source = blocks[-1]
    language = next((name for name, known in LANGUAGES.items() if mark.lower() in known.fences), mark.lower())
    return Program(source, language)


@cache
def default_sandbox() -> Sandbox:
    """Return the sandbox of those who bring none."""
    return Sandbox()


def run_tests(
    program: str,
    tests: dict[str, Any],
    language: str = "python",
    sandbox: Sandbox | None = None,
    limits: Limits | None = None,
    partial: bool = False,
) -> TestsResult:
    """Run a program against tests; without `partial` no test runs after the first that fails.

    Raises:
        Ungradable: the tests are malformed, or ask for what the language does not have here.
        UserError: the sandbox does not work here.
    """
    limits = limits or Limits()
    if language not in LANGUAGES:
        raise Ungradable(f"programs in {language} cannot be run; known are {', '.join(LANGUAGES)}")
    compiled = bool(LANGUAGES[language].run)
    total = check_tests(tests)
    if compiled and ("asserts" in tests or "fn_name" in tests):
        raise Ungradable(f"tests that call functions cannot be put to {language}")
    if compiled and not os.access(LANGUAGES[language].compile[0], os.X_OK):
        raise Ungradable(f"{LANGUAGES[language].compile[0]} is not installed")
    with (sandbox or default_sandbox()).jail(toolchain=compiled) as jail:
        if "asserts" in tests:
            return _judge_asserts(jail, program, tests["asserts"], total, limits)
        found = []
        with closing(_failures(jail, program, language, tests, limits)) as failures:
            for failure in failures:
                found.append(failure)
                if failure and not partial:
                    break
    return _sum_up(found, total)


def check_tests(tests: Any) -> int:
    """Return how many tests there are.

    Raises:
        Ungradable: they are malformed; says how.
    """
    if not isinstance(tests, dict):
        raise Ungradable("tests is no object")
    if "asserts" in tests:
        try:
            return count_tests(ast.parse(tests["asserts"]))
        except (SyntaxError, TypeError, ValueError, RecursionError) as error:
            raise Ungradable(f"tests.asserts is no Python source ({error})") from None
    inputs, outputs = tests.get("inputs"), tests.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise Ungradable('tests holds neither "asserts" nor lists "inputs" and "outputs"')
    if len(inputs) != len(outputs) or not inputs:
        raise Ungradable(f"tests holds {len(inputs)} inputs and {len(outputs)} outputs")
    if "fn_name" in tests:
        for given, wanted in zip(inputs, outputs, strict=True):
            read_call(given, wanted)
    elif not all(isinstance(text, str) for text in [*inputs, *outputs]):
        raise Ungradable("tests holds inputs or outputs that are no text, and no fn_name")
    return len(inputs)


def _sum_up(found: Sequence[_Failure | None], total: int) -> TestsResult:
    first = next(filter(None, found), None)
    passed = sum(failure is None for failure in found)
    if first is None:
        return TestsResult(passed, total, "correct", None)
    return TestsResult(passed, total, "timeout" if first.late else "wrong", first.reason)


def _failures(
    jail: Jail, program: str, language: str, tests: dict[str, Any], limits: Limits
) -> Generator[_Failure | None, None, None]:
    """Yield for each test why it fails, None where it does not."""
    pairs = list(zip(tests["inputs"], tests["outputs"], strict=True))
    if "fn_name" in tests:
        yield from _call_failures(jail, program, tests["fn_name"], pairs, limits)
        return
    role, payload, broken = _prepare(jail, program, language)
    for given, wanted in pairs:
        yield broken or _output_failure(jail, role, payload, given, wanted, limits)


def _prepare(jail: Jail, program: str, language: str) -> tuple[str, dict[str, Any], _Failure | None]:
    """Return the role and payload that run a program, and why it cannot be run."""
    known = LANGUAGES[language]
    if not known.run:
        return "program", {"program": program}, None
    files = {known.source: base64.b64encode(program.encode(errors="replace")).decode()}
    build = " ".join(known.compile) + " >&2 && cat solution"
    finished, binary = jail.run_bytes("command", {"argv": ["/bin/sh", "-c", build], "files": files}, "", COMPILE)
    if finished.status != 0 or finished.cause != "exit":
        return "command", {}, _Failure(f"it does not compile: {finished.stderr[-300:].strip()}")
    files = {"solution": base64.b64encode(binary).decode()}
    return "command", {"argv": list(known.run), "files": files}, None


def _output_failure(
    jail: Jail, role: str, payload: dict[str, Any], given: str, wanted: str, limits: Limits
) -> _Failure | None:
    finished = jail.run(role, payload, given, limits)
    if failure := _ending(finished.cause, limits):
        return failure
    if finished.status != 0:
        return _Failure(f"exit status {finished.status}: {finished.stderr[-300:].strip()}")
    if not equal_outputs(finished.stdout, wanted):
        return _Failure(f"on {given[:100]!r} it prints {finished.stdout[:100]!r}, not {wanted[:100]!r}")
    return None


def _ending(cause: str, limits: Limits) -> _Failure | None:
    if cause == "time":
        return _Failure(f"it ran past {limits.seconds:g} s", late=True)
    if cause in ("memory", "killed"):
        return _Failure("it passed the limit on memory" if cause == "memory" else "its sandbox had to be ended")
    return None


def read_call(given: Any, wanted: Any) -> tuple[list[Any], Any]:
    """Return the arguments and the value of a test of a function: lists and values, or JSON text, an argument a line.

    Raises:
        Ungradable: they are neither.
    """
    if isinstance(given, list):
        return given, wanted
    try:
        value = json.loads(wanted) if isinstance(wanted, str) else wanted
        return [json.loads(line) for line in given.split("\n")], value
    except (AttributeError, ValueError):
        raise Ungradable(f"the input {str(given)[:60]!r} is neither a list of arguments nor lines of JSON") from None


def _call_failures(
    jail: Jail, program: str, name: str, pairs: list[tuple[Any, Any]], limits: Limits
) -> Generator[_Failure | None, None, None]:
    """Yield for each test of a function why it fails; a program that hangs or dies is started again for the next."""
    service: _Service | None = None
    try:
        for given, wanted in pairs:
            if service is None or service.over:
                service = _Service(jail, program, limits, len(pairs))
            yield service.failure(name, *read_call(given, wanted))
    finally:
        if service:
            service.close()


class _Service:
    """A program in the sandbox whose functions can be called."""

    def __init__(self, jail: Jail, program: str, limits: Limits, calls: int):
        self.jail, self.seconds, self.loaded, self.over = jail, limits.seconds, False, False
        self.limits = replace(limits, seconds=limits.seconds * calls)
        self.link, inner = socket.socketpair()
        self.link.settimeout(limits.seconds)
        with inner:
            self.job = jail.start("serve", {"program": program}, [inner.fileno()], self.limits)

    def failure(self, name: str, arguments: list[Any], wanted: Any) -> _Failure | None:
        """Return why a call does not give what is wanted, None where it does."""
        try:
            if not self.loaded:
                value_of(receive(self.link), self.link)
                self.loaded = True
            value = ask(self.link, {"ask": "name", "name": name})(*arguments)
        except Gone as end:
            return self._ended(end)
        except Exception as error:  # the program's own
            self.over = not self.loaded
            return _Failure(f"{name} raised {type(error).__name__}: {str(error)[:300]}")
        if equal_values(value, wanted):
            return None
        call = f"{name}({', '.join(map(shown, arguments))})"
        return _Failure(f"{call} gives {shown(value)}, not {shown(wanted)}")

    def _ended(self, end: Gone) -> _Failure:
        self.over = True
        self.jail.kill(self.job)
        finished = self.jail.wait(self.job, self.limits)
        if isinstance(end, Late):
            return _Failure(f"it ran past {self.seconds:g} s", late=True)
        return _ending("exit" if finished.cause == "killed" else finished.cause, self.limits) or _Failure(str(end))

    def close(self) -> None:
        """End the program."""
        self.link.close()
        if not self.over:
            self.jail.kill(self.job)
            self.jail.wait(self.job, self.limits)


def _judge_asserts(jail: Jail, program: str, asserts: str, total: int, limits: Limits) -> TestsResult:
    """Let one process serve the program and another, which it cannot reach, run the tests."""
    said: dict[str, Any] | None
    for _ in range(2):  # once more where what runs the tests had ended before
        try:
            said, cause = _put_to_test(jail, program, asserts, limits)
            break
        except Gone:
            said, cause = {"held": [], "error": ""}, "exit"
    if said is None:
        failure = _Failure(f"it ran past {limits.seconds:g} s", late=True)
        return _sum_up([failure] * total, total)
    held = said["held"]
    ending = _ending("exit" if cause == "killed" else cause, limits)
    failure = ending or _Failure(said["error"] or "the tests ended early")
    passed = sum(held)
    return _sum_up([None] * passed + [failure] * (total - passed), total)


def _put_to_test(jail: Jail, program: str, asserts: str, limits: Limits) -> tuple[dict[str, Any] | None, str]:
    """Return what the tests say of a program, None where they run past their time, and how the program ended."""
    ours, inner = socket.socketpair()
    with inner:
        served = jail.start("serve", {"program": program}, [inner.fileno()], limits)
    try:
        with ours:
            said = jail.check(asserts, ours, limits)
    finally:
        jail.kill(served)
        cause = jail.wait(served, limits).cause
    return said, cause
