import shutil

import pytest

from r1kit.code import check_tests, extract_program, run_tests
from r1kit.errors import Ungradable
from r1kit.sandbox import Limits, Sandbox

SHORT = Limits(seconds=1.0)
INCREMENT = "def f(x):\n    return x + 1\n"
CALLS = {"fn_name": "f", "inputs": [[1], [2], [3]], "outputs": [2, 3, 4]}
LINES = {"inputs": ["1\n", "2\n"], "outputs": ["2\n", "3\n"]}
ASSERTS = {"asserts": "assert f(1) == 2\nassert f(2) == 3"}


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("```python\nx = 1\n```", ("x = 1\n", "python")),
        ("first\n```py\na\n```\nthen\n```\nb\n```\ndone", ("b\n", "python")),
        ("~~~C++\nint x;\n~~~", ("int x;\n", "cpp")),
        ("```java\nclass A {}\n```", ("class A {}\n", "java")),
        ("````python\n'''```\nno end\n```'''\n````", ("'''```\nno end\n```'''\n", "python")),
        ("x = 1", None),
        ("```python\nx = 1", None),
    ],
)
def test_the_program_is_the_last_fenced_block(text, program):
    assert extract_program(text) == program


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        (INCREMENT, CALLS),
        ("class Solution:\n    def f(self, x):\n        return x + 1", CALLS),
        (INCREMENT, {"fn_name": "f", "inputs": ["1", "2"], "outputs": ["2", "3"]}),  # LiveCodeBench's lines of JSON
        ("def f(a, b): return (a, {'b': b})", {"fn_name": "f", "inputs": [[1, "é"]], "outputs": [[1, {"b": "é"}]]}),
        ("print(int(input()) + 1)", LINES),
        ("import sys\nprint(float(sys.stdin.read()) + 1)\nsys.exit()", LINES),
        (INCREMENT, ASSERTS),
        ("import math\n" + INCREMENT, {"asserts": "assert math.isclose(f(0.1), 1.1)"}),
        ("def sum(a, b): return a + b", {"asserts": "assert sum(1, 2) == 3"}),  # a built-in's name, and no other
        ("class P:\n    def __init__(self, x): self.x = x\ndef f(ps): return [p.x for p in ps]",
         {"asserts": "assert f([P(1), P(2)]) == [1, 2]"}),
        ("def f(n):\n    for i in range(n): yield i", {"asserts": "assert list(f(3)) == [0, 1, 2]"}),
        ("def f(x): raise KeyError(x)", {"asserts": "try:\n    f(1)\n    assert False\nexcept KeyError:\n    pass"}),
        ("def f(): return {1: (2, {3}), 'k': 1j, 'big': 2 ** 80, 'b': b'x', 'inf': float('inf')}",
         {"asserts": "assert f() == {1: (2, {3}), 'k': 1j, 'big': 2 ** 80, 'b': b'x', 'inf': float('inf')}"}),
    ],
)  # fmt: skip
def test_right_programs_pass_in_every_form(program, tests):
    result = run_tests(program, tests)
    assert (result.verdict, result.reason) == ("correct", None)
    assert result.passed == result.total == check_tests(tests)


@pytest.mark.parametrize(
    ("program", "tests", "verdict", "reason"),
    [
        ("def f(x): return 2", CALLS, "wrong", "f(2) gives 2, not 3"),
        ("def g(x): return 2", CALLS, "wrong", "f raised NameError: the program defines no f"),
        ("def f(x: return", CALLS, "wrong", "f raised SyntaxError"),
        ("def f(x): return x / 0", CALLS, "wrong", "f raised ZeroDivisionError: division by zero"),
        ("def f(x):\n    while True: pass", CALLS, "timeout", "it ran past 1 s"),
        ("import os; os._exit(0)", CALLS, "wrong", "the program ended or hung up"),
        ("print(2)", LINES, "wrong", "on '2\\n' it prints '2\\n', not '3\\n'"),
        ("print(int(input()) + 1); raise SystemExit(1)", LINES, "wrong", "exit status 1"),
        ("while True: pass", LINES, "timeout", "it ran past 1 s"),
        ("def f(x): return 2", ASSERTS, "wrong", "assert f(2) == 3"),
        ("def f(x): return 1 / 0", ASSERTS, "wrong", "assert f(1) == 2 raised ZeroDivisionError: division by zero"),
        ("import os; os._exit(0)", ASSERTS, "wrong", "the program ended or hung up"),
        ("while True: pass", ASSERTS, "timeout", "it ran past 1 s"),
        ("def f(x): return 2", {"asserts": "def check(g):\n    assert g(1) == 3\ncheck(f)"}, "wrong", "AssertionError"),
    ],
)
def test_wrong_programs_fail_with_the_reason(program, tests, verdict, reason):
    result = run_tests(program, tests, limits=SHORT)
    assert result.verdict == verdict
    assert result.reason.startswith(reason)
    assert result.passed < result.total


@pytest.mark.parametrize(
    ("program", "tests", "passed", "total"),
    [
        ("def f(x): return 3 if x == 2 else 0", CALLS, 1, 3),
        ("import time\ndef f(x):\n    if x == 1: time.sleep(9)\n    return x + 1", CALLS, 2, 3),
        ("import os\ndef f(x):\n    if x == 1: os._exit(0)\n    return x + 1", CALLS, 2, 3),
        ("print(3)", LINES, 1, 2),
        ("def f(x): return 3", ASSERTS, 1, 2),
    ],
)
def test_partial_credit_is_the_number_of_tests_passed(program, tests, passed, total):
    result = run_tests(program, tests, partial=True, limits=SHORT)
    assert (result.passed, result.total) == (passed, total)
    assert result.verdict != "correct"


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_cpp_is_compiled_and_run():
    double = "#include <iostream>\nint main() { int x; std::cin >> x; std::cout << x + 1; }"
    assert run_tests(double, LINES, "cpp").verdict == "correct"
    assert run_tests(double.replace("+ 1", "+ 2"), LINES, "cpp").verdict == "wrong"
    assert run_tests("int main( {", LINES, "cpp").reason.startswith("it does not compile")
    assert "error" in run_tests('#include "/etc/passwd"\nint main() {}', LINES, "cpp").reason


@pytest.mark.parametrize(
    ("tests", "language", "reason"),
    [
        ([], "python", "tests is no object"),
        ({}, "python", 'tests holds neither "asserts" nor lists "inputs" and "outputs"'),
        ({"inputs": ["1"], "outputs": []}, "python", "tests holds 1 inputs and 0 outputs"),
        ({"inputs": [], "outputs": []}, "python", "tests holds 0 inputs and 0 outputs"),
        ({"inputs": [[1]], "outputs": ["1"]}, "python", "no text, and no fn_name"),
        ({"inputs": ["not JSON"], "outputs": ["1"], "fn_name": "f"}, "python", "neither a list of arguments nor"),
        ({"asserts": "assert f(1) =="}, "python", "tests.asserts is no Python source"),
        ({"asserts": 5}, "python", "tests.asserts is no Python source"),
        (LINES, "java", "programs in java cannot be run; known are python, cpp"),
        (CALLS, "cpp", "tests that call functions cannot be put to cpp"),
    ],
)
def test_tests_that_cannot_be_run_are_not_gradable(tests, language, reason):
    with pytest.raises(Ungradable, match=reason):
        run_tests("pass", tests, language)


def test_the_program_cannot_stand_for_what_the_tests_name_themselves():
    program = "def f(x): return 0\ndef abs(x): return 0\ndef helper(x): return x\nclass math:\n    fabs = abs"
    for asserts in (
        "assert abs(f(1) - 2) < 1e-6",
        "assert math.fabs(f(1) - 2) < 1e-6",
        "def helper(x): return x + 1\nassert helper(f(1)) == 0",
    ):
        assert run_tests(program, {"asserts": asserts}).verdict == "wrong"


def test_a_process_for_tests_that_died_costs_no_program_its_verdict():
    sandbox = Sandbox("bubblewrap", workers=1)
    try:
        assert run_tests(INCREMENT, ASSERTS, sandbox=sandbox).verdict == "correct"
        with sandbox.jail() as jail:
            jail.kill(jail.checker[0])
        assert run_tests(INCREMENT, ASSERTS, sandbox=sandbox).verdict == "correct"
    finally:
        sandbox.close()


def test_tests_that_end_their_own_process_are_not_passed():
    result = run_tests(INCREMENT, {"asserts": "import os\nos._exit(0)\nassert f(1) == 2"})
    assert (result.verdict, result.reason) == ("wrong", "the tests ended early")
    assert run_tests(INCREMENT, ASSERTS).verdict == "correct"


def test_reasons_say_the_same_each_time():
    result = run_tests("def f(x): return object()", CALLS)
    assert result.reason == "f(1) gives <an object of the program's>, not 2"
    assert run_tests("x = '\ud800'", CALLS).reason.startswith("f raised RuntimeError: UnicodeEncodeError")


def test_a_program_finds_no_trace_of_its_tests():
    search = """
import gc, sys
def f(x):
    seen, frame = [], sys._getframe()
    while frame:
        seen += [frame.f_locals, frame.f_globals]
        frame = frame.f_back
    return [repr(thing)[:200] for thing in [*gc.get_objects(), *seen] if "terces-eht" in repr(thing)[::-1]]
"""
    for _ in range(2):  # the second is forked from what has seen the first
        result = run_tests(search, {"asserts": "assert f(1) == [], 'the-secret'"})
        assert (result.verdict, result.reason) == ("correct", None)
