"""What `eval` takes beside the engine alone, which draws the same completions of the same prompts.

    python tests/bench/evaluate.py [--model base] [--on arith] [--limit N] [--samples 16] [--max-tokens N] [--rounds 5]

Both load the model and draw all completions; `eval` also reads and writes the problems, keeps each rollout, grades it,
and measures. Rounds are paired; the ratios are medians of eval's time over the engine's, by the clock and in seconds of
processors (that of worker processes included), which other work on the machine disturbs less where each has one thread:
OMP_NUM_THREADS=1.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil

from r1kit.engines import Request
from r1kit.engines.opening import EngineOptions, open_engine
from r1kit.eval_run import EvalPlan, EvalRun
from r1kit.evaluate import Evaluation
from r1kit.rollout import open_prompting

PROMPTING = {"style": None, "system": None, "prefill": "", "examples": ()}


class Clock:
    """Seconds since it was made, by the clock and of processors."""

    def __init__(self) -> None:
        self.started, self.used = time.perf_counter(), self._used()

    def read(self) -> tuple[float, float]:
        """Return both."""
        return time.perf_counter() - self.started, self._used() - self.used

    @staticmethod
    def _used() -> float:
        here = psutil.Process()
        times = [process.cpu_times() for process in (here, *here.children(recursive=True))]
        return sum(t.user + t.system for t in times)


def by_eval(options: argparse.Namespace, folder: Path) -> tuple[tuple[float, float], Evaluation]:
    """Return the seconds that eval takes, and what it did."""
    clock = Clock()
    plan = EvalPlan(
        folder,
        EngineOptions(options.engine),
        PROMPTING,
        samples=options.samples,
        max_tokens=options.max_tokens,
        limit=options.limit,
    )
    evaluation = Evaluation([options.model], [options.on], plan)
    evaluation.prepare()
    list(evaluation.run())
    evaluation.check()
    return clock.read(), evaluation


def by_engine(options: argparse.Namespace, evaluation: Evaluation) -> tuple[tuple[float, float], int]:
    """Return the seconds that the engine alone takes for what eval drew, and how many tokens it drew."""
    clock = Clock()
    [task] = evaluation.tasks
    tokenizer, prompting = open_prompting(options.model, evaluation.plan.options, PROMPTING)
    policy = EvalRun(options.model, task, evaluation.plan, tokenizer, prompting).policy
    plan = evaluation.plan.rollout_plan(task)
    prompts = [(problem["id"], policy.prompt(problem)) for problem in task.problems]
    requests = [Request(f"{name}/{sample}", prompt) for name, prompt in prompts for sample in range(plan.n)]
    engine = open_engine(options.model, evaluation.plan.options, tokenizer, with_logprobs=False)
    tokens = sum(completion.completion_tokens for _, completion in engine.complete(requests, plan.sampling))
    engine.close()
    return clock.read(), tokens


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="base")
    parser.add_argument("--on", default="arith")
    parser.add_argument("--engine", default="transformers")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ratios = []
    for number in range(options.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            whole, evaluation = by_eval(options, Path(folder))
            alone, tokens = by_engine(options, evaluation)
        if number == 0:
            continue  # warms up
        ratios.append([ours / theirs for ours, theirs in zip(whole, alone, strict=True)])
        seconds = f"eval {whole[0]:6.2f} s ({whole[1]:6.2f})   engine {alone[0]:6.2f} s ({alone[1]:6.2f})"
        sys.stdout.write(f"{seconds}   {tokens:,} tokens   {ratios[-1][0]:.3f} ({ratios[-1][1]:.3f})\n")
        sys.stdout.flush()
    for name, found in zip(("the clock", "processors"), zip(*ratios, strict=True), strict=True):
        sys.stdout.write(f"eval / engine by {name}: {median(found):.3f} ({min(found):.3f} to {max(found):.3f})\n")


if __name__ == "__main__":
    main()
