"""What a job of the sandbox does, in a process of its own: run a program, serve its functions, or check them.

Each takes its payload from a file descriptor, so that the process all jobs are forked from never sees any of it: what
one job was given cannot be found in another's memory.
"""

import ast
import base64
import builtins
import importlib
import os
import random
import socket
import sys
import threading
import traceback
import types
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from .wire import Gone, decode, encode, receive, send

MAIN = "__main__"
_ENDS = (StopIteration, StopAsyncIteration)  # with these a program could end a loop of its tests


def run_program(payload: dict[str, Any]) -> int:
    """Run a Python program as a script, on the job's stdin, stdout and stderr; return its exit status."""
    status = 0
    try:
        exec(compile(payload["program"], "solution.py", "exec"), _new_main())
        threading._shutdown()  # type: ignore[attr-defined]  # waits for its threads, as the interpreter does
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return status & 0xFF


def run_command(payload: dict[str, Any]) -> int:
    """Become another program: `argv`, in a folder that holds `files` (base64)."""
    for name, content in payload["files"].items():
        with open(name, "wb") as file:
            file.write(base64.b64decode(content))
        os.chmod(name, 0o755)
    os.execve(payload["argv"][0], payload["argv"], {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})


def serve_program(payload: dict[str, Any], link: socket.socket) -> int:
    """Run a Python program, then answer for what it defined until the other side hangs up."""
    main = _new_main()
    kept: list[Any] = []  # what went out as a reference
    try:
        exec(compile(payload["program"], "solution.py", "exec"), main)
    except BaseException as error:
        send(link, _raised(error))
        return 1
    send(link, {"value": None})
    while True:
        try:
            request = receive(link)
        except Gone:
            return 0
        try:
            reply = {"value": encode(_answer(request, main, kept), lambda value: _keep(value, kept))}
            send(link, reply)
        except BaseException as error:
            send(link, _raised(error))


def _new_main() -> dict[str, Any]:
    module = types.ModuleType(MAIN)
    sys.modules[MAIN] = module
    sys.argv = ["solution.py"]
    random.seed(0)  # the same numbers each time
    return module.__dict__


def _keep(value: Any, kept: list[Any]) -> dict[str, int]:
    kept.append(value)
    return {"reference": len(kept) - 1}


def _raised(error: BaseException) -> dict[str, str]:
    name = type(error).__name__
    try:
        return {"raised": name, "text": str(error)[:500]}
    except BaseException:
        return {"raised": name, "text": ""}


def _answer(request: dict[str, Any], main: dict[str, Any], kept: list[Any]) -> Any:
    """Return what a request asks for: a name of the program, an attribute, the next item, or the value of a call."""

    def resolve(message: dict[str, Any]) -> Any:
        return kept[message["reference"]]

    subject: Any = decode(request["of"], resolve) if "of" in request else None
    match request["ask"]:
        case "name":
            return _find(request["name"], main)
        case "attribute":
            return getattr(subject, request["name"])
        case "iterator":
            return iter(subject)
        case "next":
            return list(islice(subject, 1))
    return subject(*decode(request["args"], resolve), **decode(request["kwargs"], resolve))


def _find(name: str, main: dict[str, Any]) -> Any:
    """Return what a program calls by a name, else the method of that name of its class Solution."""
    if name in main:
        return main[name]
    if "Solution" in main and hasattr(main["Solution"], name):
        return getattr(main["Solution"](), name)
    raise NameError(f"the program defines no {name}")


class Remote:
    """Something of the program's that has no plain form; it can be called, iterated and asked for attributes.

    It is equal to nothing but itself: whether it is equal is nothing the program is asked.
    """

    def __init__(self, link: socket.socket, message: dict[str, Any]):
        self._link, self._message = link, message

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        arguments = {"args": encode(args, _reference), "kwargs": encode(kwargs, _reference)}
        return ask(self._link, {"ask": "call", "of": self._message, **arguments})

    def __repr__(self) -> str:
        return "<an object of the program's>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return ask(self._link, {"ask": "attribute", "of": self._message, "name": name})

    def __iter__(self) -> Iterator[Any]:
        iterator = ask(self._link, {"ask": "iterator", "of": self._message})
        while (item := ask(self._link, {"ask": "next", "of": _reference(iterator)})) != []:
            yield item[0]


def _reference(value: Any) -> dict[str, Any]:
    if not isinstance(value, Remote):
        raise TypeError(f"a test passes {type(value).__name__}, which has no plain form")
    return value._message


def ask(link: socket.socket, request: dict[str, Any]) -> Any:
    """Return the value that the served program answers with.

    Raises:
        Exception: what the program raised, where that is a built-in exception, else RuntimeError; Gone: it is no more.
    """
    send(link, request)
    return value_of(receive(link), link)


def value_of(reply: Any, link: socket.socket) -> Any:
    """Return the value of a reply, or raise what it says was raised; what is no reply raises ValueError."""
    if not isinstance(reply, dict):
        raise ValueError("not a reply")
    if "raised" in reply:
        kind: Any = getattr(builtins, str(reply["raised"]), None)
        known = isinstance(kind, type) and issubclass(kind, Exception) and kind not in _ENDS
        if not known or issubclass(kind, UnicodeError):  # those take more than a text
            raise RuntimeError(f"{reply['raised']}: {reply.get('text')}")
        raise kind(str(reply.get("text")))
    return decode(reply.get("value"), lambda message: Remote(link, message))


def check_programs(control: socket.socket) -> int:
    """Run tests as they come, each with a link to a served program, until the other side hangs up.

    A request is the two descriptors of tests and link; the reply is one message.
    """
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 16, 2)
        if not request:
            return 0
        with open(descriptors[0], encoding="utf-8") as tests, socket.socket(fileno=descriptors[1]) as link:
            send(control, check_program(tests.read(), link))


def check_program(asserts: str, link: socket.socket) -> dict[str, Any]:
    """Run the tests of a served program; return which of its asserts hold, and the first error.

    Each assert at the top is a test; where there is none, the whole is one.
    """
    tree = ast.parse(asserts)
    several = any(isinstance(statement, ast.Assert) for statement in tree.body)
    held: list[bool] = []
    error = ""
    try:
        value_of(receive(link), link)
        names = _new_main()
        names.update(_names_for(tree, link))
        for statement in tree.body:
            try:
                exec(compile(ast.Module([statement], []), "tests", "exec"), names)
                passed = True
            except Exception as problem:
                if not (several and isinstance(statement, ast.Assert)):
                    raise
                passed, error = False, error or _describe(statement, problem)
            if several and isinstance(statement, ast.Assert):
                held.append(passed)
        held = held if several else [True]
    except Gone as end:
        error = error or str(end)
    except BaseException as problem:
        error = error or f"{type(problem).__name__}: {problem}"[:500]
    return {"held": held, "error": error}


def count_tests(tree: ast.Module) -> int:
    """Return how many tests an assert-style source holds."""
    return sum(isinstance(statement, ast.Assert) for statement in tree.body) or 1


def _describe(statement: ast.stmt, problem: Exception) -> str:
    text = "" if isinstance(problem, AssertionError) else f" raised {type(problem).__name__}: {problem}"
    return (ast.unparse(statement) + text)[:500]


def _names_for(tree: ast.Module, link: socket.socket) -> dict[str, Any]:
    """Return what tests use and do not define: modules that they only take attributes of, else the program's.

    The name of a built-in is the program's only where the tests use no other name of it.
    """
    nodes = list(ast.walk(tree))
    loaded = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    owners = {node.value.id for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}
    modules = loaded & owners & sys.stdlib_module_names
    names: dict[str, Any] = {name: importlib.import_module(name) for name in modules}
    for name in sorted((loaded - modules - set(dir(builtins))) or (loaded - modules)):
        with suppress(NameError):  # the tests define it themselves, or fail for its want
            names[name] = ask(link, {"ask": "name", "name": name})
    return names


def rehearse() -> None:
    """Do once what jobs do, so that what Python builds at first use is there for all of them."""
    here, there = socket.socketpair()
    with here, there:
        send(here, {"value": encode([1, 2.0, "x", (None, {True})], _reference)})
        value_of(receive(there), there)
        send(here, {"value": {"reference": 0}})
        send(here, {"value": None})
        tree = ast.parse("import math\nassert math.floor(f(1.5)) == 1, 'no'")
        names = _names_for(tree, there)
    names["f"] = abs
    exec(compile(ast.Module(tree.body, []), "tests", "exec"), names)
    ast.unparse(tree)
    traceback.format_exc()
