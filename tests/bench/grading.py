"""Answers judged per second: r1kit's workers against the plain serial loop of math-verify.

    python tests/bench/grading.py

On the 4,457 published model outputs of ../shared/grading, each run in a process of its own; and on batches as GRPO has
them: 64 problems x 16 completions of 500 to 3,000 tokens, in a process that has judged all answers of MATH-500 before,
as a trainer has after some steps; once with the golds of several sets, most of them numbers, once with MATH-500's
alone. Imports and the start of workers are not timed, nothing is remembered. The peers are verify(parse(gold),
parse(text)) over the full text, and over the part that states the answer.
"""

import gzip
import json
import logging
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from math_verify import parse, verify

from r1kit import answer
from r1kit.answer import answer_part, judge

SHARED = Path(__file__).parents[3] / "shared"
WORKERS = 2
ROUNDS = 5
Case = tuple[str, str]  # gold answer, completion

WRITINGS = ("\\boxed{%s}", "The answer is $\\boxed{%s}$.", "$%s$", "So we get \\boxed{%s} in the end.")
SETS = (("gsm8k_test", "math500", "aime24", "amc23"), ("math500",))  # of the first, as much of each; most are integers
TOKEN = 4  # characters of one, about


def outputs() -> list[dict]:
    """Return the published model outputs."""
    with gzip.open(SHARED / "grading" / "model_outputs.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def golds(*names: str) -> list[str]:
    """Return the gold answers of published problem sets."""
    found = []
    for name in names:
        lines = (SHARED / "data" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        found.append([str(json.loads(line)["answer"]).rpartition("#### ")[2] for line in lines])
    least = min(map(len, found))
    return [gold for column in found for gold in column[:least] if parse(gold)]


def batch(seed: int, names: tuple[str, ...]) -> list[Case]:
    """Return 64 problems x 16 completions in R1's form: right answers, and a few wrong ones of each problem.

    The chains of thought are made of MATH-500's own solutions, without their boxes; most answers of a model are written
    in one way.
    """
    draw = random.Random(seed)
    lines = (SHARED / "data" / "math500.jsonl").read_text(encoding="utf-8").splitlines()
    solutions = [json.loads(line)["solution"].replace("\\boxed", "") for line in lines]
    known = golds(*names)
    cases = []
    for gold in draw.sample(known, 64):
        wrong = [with_another_digit(gold, draw) or draw.choice(known) for _ in range(3)]
        for _ in range(16):
            thought, length = "", draw.randint(500, 3000) * TOKEN
            while len(thought) < length:
                thought += draw.choice(solutions) + "\n\n"
            said = gold if draw.random() < 0.5 else draw.choice(wrong)
            writing = draw.choices(WRITINGS, (0.7, 0.1, 0.1, 0.1))[0].replace("%s", said)
            cases.append((gold, f"<think>\n{thought[:length]}\n</think>\n<answer>{writing}</answer>"))
    return cases


def with_another_digit(gold: str, draw: random.Random) -> str | None:
    """Return an answer that is wrong as a model's are: of the same shape; None where the gold answer has no digit."""
    places = [place for place, character in enumerate(gold) if character.isdigit()]
    if not places:
        return None
    place = draw.choice(places)
    return gold[:place] + draw.choice("123456789".replace(gold[place], "")) + gold[place + 1 :]


def ours(cases: list[Case]) -> list[bool]:
    """Judge by r1kit, with nothing remembered."""
    answer._judge_text.cache_clear()
    with ThreadPoolExecutor(WORKERS) as threads:
        verdicts = threads.map(lambda case: judge(case[0], answer_part(case[1])).verdict, cases)
        return [verdict == "correct" for verdict in verdicts]


def full_text(cases: list[Case]) -> list[bool]:
    """Judge by the plain loop over whole completions."""
    return [verify(parse(gold), parse(text)) for gold, text in cases]


def same_text(cases: list[Case]) -> list[bool]:
    """Judge by the plain loop over what states the answer."""
    return [verify(parse(gold), parse(answer_part(text))) for gold, text in cases]


def compare(name: str, rounds: list[dict[str, tuple[float, list[bool]]]]) -> None:
    """Print seconds, ratios and differing verdicts of ours and of each peer, as medians of rounds."""
    sys.stdout.write(f"{name}, ours: {statistics.median(r['ours'][0] for r in rounds):.2f} s\n")
    for peer in rounds[0].keys() - {"ours"}:
        ratio = statistics.median(r[peer][0] / r["ours"][0] for r in rounds)
        pairs = [pair for r in rounds for pair in zip(r["ours"][1], r[peer][1], strict=True)]
        seconds, differ = statistics.median(r[peer][0] for r in rounds), sum(a != b for a, b in pairs)
        sys.stdout.write(f"  {peer}: {seconds:.2f} s, ratio {ratio:.1f}, {differ} of {len(pairs)} verdicts differ\n")


def timed(judge_all: Callable[[list[Case]], list[bool]], cases: list[Case]) -> tuple[float, list[bool]]:
    """Return the seconds and the verdicts of a run."""
    started = time.perf_counter()
    verdicts = judge_all(cases)
    return time.perf_counter() - started, verdicts


def in_a_process(name: str) -> tuple[float, list[bool]]:
    """Run one judge over the published outputs in a new process."""
    run = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
    seconds, verdicts = json.loads(run.stdout)
    return seconds, verdicts


def agreement(rows: list[dict]) -> None:
    """Print how many verdicts agree with the published ones, by source."""
    cases = [(row["answer"], row["completion"]) for row in rows]
    mine, plain = ours(cases), same_text(cases)
    totals, agree, theirs = Counter(), Counter(), Counter()
    for row, a, b in zip(rows, mine, plain, strict=True):
        source = row["source"].rpartition(":")[2]
        totals[source] += 1
        agree[source] += a == row["expected"]
        theirs[source] += b == row["expected"]
    for source, total in totals.items():
        sys.stdout.write(
            f"  {source}: {total} cases, ours {agree[source]} as published, math-verify {theirs[source]}\n"
        )


def start_workers() -> None:
    """Start the workers, and let each judge an answer."""
    logging.disable(logging.CRITICAL)
    answer.pool.resize(WORKERS)
    with ThreadPoolExecutor(WORKERS) as threads:
        list(threads.map(lambda i: judge("1", f"x = \\frac{{{i}}}{{7}}"), range(4 * WORKERS)))


def main() -> None:
    """Run the benchmark, or, with the name of a judge, one run over the published outputs."""
    start_workers()
    rows = outputs()
    cases = [(row["answer"], row["completion"]) for row in rows]
    if sys.argv[1:]:
        judge_all = {"ours": ours, "full_text": full_text}[sys.argv[1]]
        parse("$1$"), json.dump(timed(judge_all, cases), sys.stdout)
        return
    compare("file", [{name: in_a_process(name) for name in ("ours", "full_text")} for _ in range(ROUNDS)])
    boxed = [(gold, f"\\boxed{{{gold}}}") for gold in golds("math500")]
    ours(boxed * WORKERS), same_text(boxed)
    for names in SETS:
        batches = [batch(seed, names) for seed in range(ROUNDS)]
        rounds = [{j.__name__: timed(j, b) for j in (ours, full_text, same_text)} for b in batches]
        compare(f"batch of {', '.join(names)}", rounds)
    agreement(rows)


if __name__ == "__main__":
    main()
