"""Answers that are made to hang, crash, exhaust or fool a grader."""

import os
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from r1kit import workers
from r1kit.answer import judge
from r1kit.workers import pool

GRACE = 15.0  # seconds beyond the limit, on a busy machine


def nested(opening: str, middle: str, closing: str, depth: int) -> str:
    """Return a formula inside itself."""
    return opening * depth + middle + closing * depth


def powers() -> Iterator[tuple[str, str]]:
    """Yield numbers that are too large to write out."""
    yield "tower", "9**9**9**9"
    yield "tower with carets", "9^9^9^9^9"
    yield "tower in latex", "\\boxed{9^{9^{9^{9}}}}"
    yield "tower of ten", "$" + nested("10^{", "10", "}", 10) + "$"
    yield "tower of a thousand", "\\boxed{" + nested("2^{", "2", "}", 1000) + "}"
    yield "one large power", "\\boxed{7^{10^{9}}}"
    yield "difference of powers", "\\boxed{2^{100000000} - 2^{99999999}}"
    yield "large exponent by digits", "2**" + "9" * 4000
    yield "inverse of a tower", "\\boxed{9^{-9^{9^9}}}"
    yield "fractional power", "\\boxed{(10^{30}+1)^{1/10^{30}}}"
    yield "modulus of a power", "\\boxed{3^{10^{12}} \\bmod 1000}"
    yield "million digits by power", "10**1000000 + 1"


def functions() -> Iterator[tuple[str, str]]:
    """Yield functions that take long."""
    yield "factorial", "\\boxed{1000000!}"
    yield "factorial of a factorial", "\\boxed{((10!)!)!}"
    yield "many factorials", "\\boxed{5" + "!" * 300 + "}"
    yield "binomial", "\\boxed{\\binom{10^9}{5 \\cdot 10^8}}"
    yield "sum", "\\boxed{\\sum_{n=1}^{10^{12}} \\frac{1}{n^{3}+n}}"
    yield "product", "\\boxed{\\prod_{n=1}^{1000000} n^n}"
    yield "integral", "\\boxed{\\int_0^1 \\sin(x^x) e^{x^5} \\ln(x+2)^7 dx}"
    yield "limit", "\\boxed{\\lim_{x \\to 0} \\frac{\\sin(\\tan x) - \\tan(\\sin x)}{x^7}}"
    yield "logarithms", "\\boxed{" + nested("\\log(", "x+8", ")", 60) + "}"
    yield "sines", "\\boxed{" + nested("\\sin(", "x", ")", 40) + "}"
    yield "determinant", "\\det\\begin{pmatrix}" + "\\\\".join(["&".join("abcdefgh")] * 8) + "\\end{pmatrix}"
    yield "gcd", "\\boxed{\\gcd(2^{30000000}-1, 2^{20000000}-1)}"
    yield "polynomial power", "\\boxed{(x+y+z+w+1)^{60} - (x+y+z+w)^{60}}"
    yield "equation of high degree", "\\boxed{x^{37} - 12x^{11} + 4x^{5} - 8 = 0}"


def shapes() -> Iterator[tuple[str, str]]:
    """Yield nested and unbalanced formulas."""
    yield "radicals", "\\boxed{" + nested("\\sqrt{1+", "8", "}", 60) + "}"
    yield "a thousand radicals", "\\boxed{" + nested("\\sqrt{", "8", "}", 1000) + "}"
    yield "fractions", "\\boxed{" + nested("\\frac{1}{1+", "8", "}", 200) + "}"
    yield "parentheses", "(" * 5000 + "8" + ")" * 5000
    yield "parentheses without end", "\\boxed{" + "(" * 20000 + "9}"
    yield "open braces", "\\boxed" + "{" * 100000
    yield "closed braces", "\\boxed{9" + "}" * 100000
    yield "boxes in boxes", nested("\\boxed{", "9", "}", 2000)
    yield "boxes without end", "\\boxed{" * 20000 + "9"
    yield "thousands of boxes", "\\boxed{9}, " * 5000
    yield "boxes in formulas", "$\\boxed{9}$ and " * 300 + "$\\boxed{9}$"
    yield "formulas", "$x$ and " * 20000
    yield "dollars", "$" * 100000
    yield "brackets", " [" * 50000
    yield "minus signs", "\\boxed{" + "-" * 3001 + "8}"
    yield "commas", "\\boxed{" + "9," * 3000 + "9}"
    yield "set of sets", "\\boxed{" + nested("\\{", "9", "\\}", 300) + "}"
    yield "a large matrix", "\\boxed{\\begin{pmatrix}" + "\\\\".join(["9&" * 40 + "9"] * 41) + "\\end{pmatrix}}"
    yield "a long sum", "\\boxed{" + "x+" * 3000 + "x}"
    yield "a long product", "9*" * 20000 + "9"
    yield "only a box", "\\boxed{}"
    yield "divided by zero", "\\boxed{\\frac{8}{0}}"
    yield "infinity less itself", "\\boxed{\\infty - \\infty}"


def texts() -> Iterator[tuple[str, str]]:
    """Yield texts of great length or with odd characters."""
    yield "integer of 4,301 digits", "9" * 4301
    yield "integer of 100,000 digits", "9" * 100_000
    yield "boxed integer of 100,000 digits", "\\boxed{" + "9" * 100_000 + "}"
    yield "decimal of 100,000 digits", "9." + "9" * 100_000
    yield "fraction of long integers", "\\frac{" + "9" * 50_000 + "}{" + "7" * 50_000 + "}"
    yield "a megabyte of prose", "we add nothing to it, " * 50_000
    yield "a megabyte of numbers", "12 + 7 = 19, " * 80_000
    yield "a megabyte of the word", "answer: " * 130_000
    yield "a megabyte of spaces", "answer" + " " * 1_000_000 + "!"
    yield "a megabyte of answer tags", "<answer>" * 130_000
    yield "a megabyte of dots and digits", "1.1" * 330_000
    yield "a megabyte of operators", "1-+*/" * 200_000
    yield "a megabyte of lines", "9\n" * 500_000
    yield "NUL bytes", "9\0\0" * 1000
    yield "NUL in a box", "\\boxed{9\x008\x00}"
    yield "a lone surrogate", "\ud800 9 \udfff"
    yield "a box of surrogates", "\\boxed{\ud83d}"
    yield "control characters", "".join(map(chr, range(32))) + "9"
    yield "line separators", "9\u2028{\u2029}\x85"
    yield "right to left", "\u202e8\u202d9"
    yield "combining marks", "9" + "\u0301" * 10_000
    yield "emoji", "\\boxed{" + "👩‍👩‍👧‍👦" * 1000 + "}"
    yield "zero-width digits", "\u200b9\u200b"
    yield "a JSON line", '9"]\n["correct", "8"]\n'
    yield "exponent notation", "1e999999999"
    yield "exponent notation in a box", "\\boxed{1e-999999999}"


def injections(marker: str) -> Iterator[tuple[str, str]]:
    """Yield programs that create a file where an answer belongs."""
    call = f"__import__('os').system('touch {marker}')"
    yield "plain program", call
    yield "program in a box", f"\\boxed{{{call}}}"
    yield "program in a formula", f"${call}$"
    yield "program as text", f"\\boxed{{\\text{{{call}}}}}"
    yield "program as operator", f"\\boxed{{\\operatorname{{{call}}}(8)}}"
    yield "program as a function", f"\\boxed{{f_{{{call}}}(x)}}"
    yield "program after arithmetic", f"The final answer is 1+1 ({call}). I hope it is correct."
    yield "lambda", f"(lambda: {call})()"
    yield "format string", f"\\boxed{{{{{call}}}!r}}"
    yield "exec by characters", "exec(" + "+".join(f"chr({ord(char)})" for char in call) + ")"
    yield "open", f"\\boxed{{open('{marker}','w')}}"
    yield "subscripts", f"\\boxed{{().__class__.__base__.__subclasses__()[0]; {call}}}"
    yield "exit", "\\boxed{exit()}"
    yield "quit in sympy", "quit()"


HOSTILE = [*powers(), *functions(), *shapes(), *texts()]


@pytest.fixture(autouse=True)
def short_limit(monkeypatch):
    """Let most cases use up a limit of a second, and not of five; have a worker that is ready."""
    monkeypatch.setattr(workers, "SECONDS", 1.0)
    the_next_case_is_right(f"a start at {time.monotonic()}")


def the_next_case_is_right(name: str) -> None:
    """Assert that no worker is lost, that none has used too much memory, and that what follows is graded right."""
    assert judge("8", f"After {name} it is \\frac{{16}}{{2}}").verdict == "correct"
    assert pool.busy == 0
    for worker in pool.idle:
        status = Path(f"/proc/{worker.process.pid}/status")
        if status.exists():
            peak = next(line for line in status.read_text().splitlines() if line.startswith("VmPeak"))
            assert int(peak.split()[1]) * 1024 <= workers.MEMORY


def test_they_are_many():
    assert len(dict(HOSTILE)) == len(HOSTILE) >= 60


@pytest.mark.parametrize(("name", "answer"), HOSTILE, ids=[name for name, _ in HOSTILE])
def test_a_hostile_answer_ends_in_its_time_and_is_not_right(name, answer):
    started = time.monotonic()
    assert judge("8", answer).verdict in ("wrong", "no_answer", "timeout")
    assert time.monotonic() - started < workers.SECONDS + GRACE
    the_next_case_is_right(name)


@pytest.mark.parametrize(("name", "gold"), HOSTILE[::9], ids=[name for name, _ in HOSTILE[::9]])
def test_a_hostile_gold_answer_ends_in_its_time(name, gold):
    started = time.monotonic()
    assert judge(gold, "it is 8").verdict in ("wrong", "gold_unparseable", "timeout")
    assert time.monotonic() - started < workers.SECONDS + GRACE
    the_next_case_is_right(f"the gold answer {name}")


def test_no_program_in_an_answer_is_run(tmp_path):
    marker = tmp_path / "ran"
    for name, answer in injections(str(marker)):
        assert judge("8", answer).verdict in ("wrong", "no_answer", "timeout"), name
        assert judge(answer, "8").verdict in ("wrong", "gold_unparseable", "timeout"), name
        assert not os.path.exists(marker), name
        the_next_case_is_right(name)


def test_a_box_behind_a_megabyte_is_read():
    assert judge("8", "we add nothing to it, " * 50_000 + "so it is \\boxed{\\frac{16}{2}}").verdict == "correct"
    assert (
        judge("8", "\\boxed{7} is too small,\n\n" * 40_000 + "." * 80 + "\\boxed{\\frac{16}{2}}").verdict == "correct"
    )


def test_every_system_of_digits_is_math_verifys():
    from math_verify import parse, verify

    zeros = [chr(i) for i in range(0x110000) if unicodedata.decimal(chr(i), None) == 0]
    assert len(zeros) > 60
    for zero in zeros:
        digits = chr(ord(zero) + 4) + chr(ord(zero) + 2)
        for text in (digits, f"\\boxed{{{digits}}}"):
            for gold in ("42", "24"):
                found = judge(gold, text).verdict
                assert (found == "correct") is verify(parse(gold), parse(text)), (found, gold, text)


def test_an_integer_of_more_digits_than_python_reads_is_no_answer():
    assert judge("8", "9" * 5000).verdict == "no_answer"
    assert judge("9" * 5000, "9" * 5000).verdict == "gold_unparseable"  # as math-verify parses it: to nothing
    assert judge("9" * 4300, "\\boxed{" + "9" * 4300 + "}").verdict == "correct"
