"""Benchmarks: where their problems come from, and how R1 was measured on them.

Source: DeepSeek-R1 (arXiv 2501.12948), section 3: temperature 0.6, top-p 0.95, at most 32,768 tokens, and 4 to 64
samples of each problem, by the size of the benchmark.
"""

import hashlib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from r1kit.data import UnknownSourceError, read_problems
from r1kit.errors import UserError
from r1kit.jsonl import Record, to_line
from r1kit.records import unique_problems
from r1kit.verdict import grading_of, kind_of

TEMPERATURE, TOP_P, MAX_TOKENS = 0.6, 0.95, 32_768
FEW_SAMPLES = 4  # of a source that is no benchmark of the table


class Benchmark(NamedTuple):
    """A benchmark: a set of problems, and the sampling that it is measured with unless another is asked for."""

    name: str
    title: str  # in tables
    samples: int  # of each problem
    max_tokens: int = MAX_TOKENS
    counts: Callable[[Record], bool] | None = None  # which problems of the set belong to it; None: all


def _in_r1_window(problem: Record) -> bool:
    """Tell whether a contest was between August 2024 and January 2025, as R1's table 4 has it."""
    return "2024-08" <= str(problem.get("contest_date")) < "2025-02"


_BENCHMARKS = (
    Benchmark("aime24", "AIME 2024", 64),
    Benchmark("aime25", "AIME 2025", 64),
    Benchmark("amc23", "AMC 2023", 16),
    Benchmark("math500", "MATH-500", 4),
    Benchmark("minerva-math", "Minerva", 4),
    Benchmark("gsm8k", "GSM8K", 4),
    Benchmark("gpqa-diamond", "GPQA Diamond", 8),
    Benchmark("mmlu", "MMLU", 1),
    Benchmark("mmlu-pro", "MMLU-Pro", 1),
    Benchmark("humaneval", "HumanEval", 16),
    Benchmark("mbpp", "MBPP", 4),
    Benchmark("livecodebench", "LiveCodeBench", 16, counts=_in_r1_window),
    Benchmark("arith", "arith", 16, max_tokens=256),
    Benchmark("facts", "facts", 16, max_tokens=256),
    Benchmark("functions", "functions", 16, max_tokens=256),
)
BENCHMARKS = {benchmark.name: benchmark for benchmark in _BENCHMARKS}


class Task(NamedTuple):
    """The problems of a benchmark, and what identifies them."""

    benchmark: Benchmark
    source: str  # as it was asked for
    problems: list[Record]
    data_hash: str

    @property
    def grader(self) -> str:
        """What decides whether an answer is right."""
        return " and ".join(sorted({grader_of(problem) for problem in self.problems}))


def split_names(values: list[str]) -> list[str]:
    """Return the sources that were asked for: names with commas between them, or files."""
    return [
        name for value in values for name in ([value] if Path(value).exists() else value.split(",")) if name.strip()
    ]


def find_benchmark(source: str) -> Benchmark:
    """Return the benchmark of a source: of the table, or one made of any source that `r1kit data` has."""
    name = source.partition("=")[0] if not Path(source).exists() else source
    known = BENCHMARKS.get(name.lower())
    return known or Benchmark(source, Path(source).stem if Path(source).exists() else name, FEW_SAMPLES)


def read_task(source: str, limit: int | None) -> Task:
    """Return the first `limit` problems of a benchmark.

    Raises:
        UserError: there is no such benchmark, it cannot be read, or it holds no problem.
    """
    benchmark = find_benchmark(source)
    problems = list(islice(_problems(source, benchmark), limit))
    if not problems:
        raise UserError(source, "holds no problems", "give at least one")
    return Task(benchmark, source, problems, _hash_of(problems))


def _problems(source: str, benchmark: Benchmark) -> Iterator[Record]:
    try:
        for problem in unique_problems(read_problems(source, "test")):
            if benchmark.counts is None or benchmark.counts(problem):
                yield problem if problem.get("kind") else problem.derive(kind=kind_of(problem))
    except UnknownSourceError:
        what = "no such benchmark"
        remedy = f"the known ones are {', '.join(BENCHMARKS)}, also as NAME=FILE, and any source that r1kit data takes"
        raise UserError(source, what, remedy) from None


def grader_of(problem: Record) -> str:
    """Return the name of what decides whether an answer to a problem is right."""
    grading = grading_of(problem)
    if grading == "math":
        return f"math-verify {version('math-verify')}"
    if grading == "task":
        return f"reasoning-gym {version('reasoning-gym')}"
    return {"choice": "letter", "code": "tests", "text": "exact match"}[grading]


def _hash_of(problems: list[Record]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for problem in problems:
        digest.update(to_line(problem).encode())
    return digest.hexdigest()
