"""Scored rollouts that reject-sample reads per second, and the memory it takes.

    python tests/bench/reject_sample.py [ROLLOUTS]

1,000,000 rollouts (16 of each problem, half of them right, two in sixteen with the same chain of thought, as long as
those of the embedded world) are fed to each run through a pipe; its rows go nowhere. Prints rows a second, and the peak
of resident memory over that of a run on a hundredth of them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Thread
from typing import IO

GROUP = 16
RUNS = {
    "the defaults": [],
    "all right ones, no language filter": ["--keep", "all", "--mixed-language", "0"],
    "all right ones": ["--keep", "all"],
    "2 of the most diverse, 25 % others": ["--keep", "2", "--select", "diverse", "--mix", "GENERAL:0.25"],
    "pairs": ["--pairs"],
    "steps": ["--steps", "--separator", ". "],
}


def rollout_lines(count: int) -> Iterator[str]:
    """Yield scored rollouts as lines."""
    random = Random(0)
    for number in range(count):
        problem, sample = divmod(number, GROUP)
        a, b, c = problem % 97, problem // 97, 0 if sample < 4 else sample
        right = sample % 2 == 0
        thought = f"First, {a} + {b} = {a + b}. Then we take {c} away from {a + b + c}, so that {a + b} is left."
        yield json.dumps(
            {
                "id": f"p{problem}",
                "prompt": f"What is {a} + {b}?",
                "answer": str(a + b),
                "kind": "math",
                "language": "en",
                "sample": sample,
                "completion": f" <think> {thought} </think> <answer> {a + b} </answer>",
                "finish_reason": "stop",
                "prompt_tokens": 9,
                "completion_tokens": random.randrange(30, 60),
                "rewards": {"accuracy": float(right), "format": 1.0},
                "reward": right + 0.2,
                "extracted": str(a + b),
                "verdict": "correct" if right else "wrong",
            }
        )


def feed(pipe: IO[str], count: int) -> None:
    """Write rollouts into a process."""
    with pipe:
        for line in rollout_lines(count):
            pipe.write(line + "\n")


def measure(count: int, flags: list[str]) -> tuple[float, float, str]:
    """Return seconds, peak megabytes and the last line but one of the report of a run on so many rollouts."""
    command = [sys.executable, "-m", "r1kit", "reject-sample", "-", "-o", os.devnull, *flags]
    started = time.perf_counter()
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    feeding = Thread(target=feed, args=(run.stdin, count))
    feeding.start()
    assert run.stderr is not None
    report = run.stderr.read()
    _, status, usage = os.wait4(run.pid, 0)
    feeding.join()
    assert status == 0, report
    kept = next(line.strip() for line in report.splitlines() if "kept:" in line)
    return time.perf_counter() - started, usage.ru_maxrss / 1024, kept


def main() -> None:
    """Run the benchmark."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        general = Path(folder, "general.jsonl")
        with general.open("w", encoding="utf-8") as file:
            for number in range(count // 4):
                file.write(json.dumps({"prompt": f"Who is {number}?", "completion": f"Number {number}."}) + "\n")
        for name, flags in RUNS.items():
            flags = [flag.replace("GENERAL", str(general)) for flag in flags]
            _, small, _ = measure(count // 100, flags)
            seconds, large, kept = measure(count, flags)
            rate = count / seconds
            sys.stdout.write(f"{name}: {rate:,.0f} rollouts/s, {large:.0f} MB (of a hundredth: {small:.0f}); {kept}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
