"""Tokens a second of the vLLM engine as r1kit drives it, against one bare call of `LLM.generate` in the same engine.

    VLLM_CPU_KVCACHE_SPACE=4 python tests/bench/rollouts_vllm.py [MODEL] [--prompts 32] [--samples 8] [--rounds 5]

The same prompts, sampling (temperature 1) and lengths, 16 to 256 tokens; end tokens end nothing, so that both draw as
many tokens. Ours gives every completion a seed of its own; the bare call gives none. Also when the first completion is
out, as a share of the run. MODEL is a folder; the default is the embedded base.
"""

import argparse
import random
import statistics
import sys
import time

from vllm import SamplingParams

from r1kit.data import read_problems
from r1kit.engines import Request, Sampling
from r1kit.engines.vllm import VllmEngine
from r1kit.model import load_tokenizer


class Endless(VllmEngine):
    """The engine, with completions that only their limit ends."""

    def _parameters(self, request, sampling):
        parameters = super()._parameters(request, sampling)
        parameters.ignore_eos = True
        return parameters


def ours(engine, requests):
    """Return the seconds until the first completion and until the last."""
    started, first, drawn = time.perf_counter(), None, 0
    for _, completion in engine.complete(requests, Sampling()):
        first = first or time.perf_counter() - started
        drawn += completion.completion_tokens
    assert drawn == sum(request.max_tokens for request in requests)
    return first, time.perf_counter() - started


def bare(engine, requests):
    """Return the seconds of one call, with the texts that it decodes."""
    started = time.perf_counter()
    prompts = [{"prompt_token_ids": request.prompt} for request in requests]
    parameters = [SamplingParams(temperature=1, max_tokens=r.max_tokens, ignore_eos=True) for r in requests]
    outputs = engine.llm.generate(prompts, parameters, use_tqdm=False)
    assert sum(len(o.outputs[0].token_ids) for o in outputs) == sum(request.max_tokens for request in requests)
    return time.perf_counter() - started


def main():
    """Print the medians of paired rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="base")
    for name, default in (("prompts", 32), ("samples", 8), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    tokenizer, drawn = load_tokenizer(args.model), random.Random(0)
    engine = Endless(args.model, tokenizer, "float32", {"max_model_len": 512, "enforce_eager": True})
    prompts = [tokenizer(problem["prompt"])["input_ids"] for problem in read_problems("arith", "test")][: args.prompts]
    requests = [
        Request(f"{i}/{j}", p, drawn.randint(16, 256)) for i, p in enumerate(prompts) for j in range(args.samples)
    ]
    tokens = sum(request.max_tokens for request in requests)
    ours(engine, requests[:16])
    bare(engine, requests[:16])
    rounds = []
    for number in range(args.rounds):  # who goes first takes turns
        if number % 2:
            theirs = bare(engine, requests)
            first, mine = ours(engine, requests)
        else:
            first, mine = ours(engine, requests)
            theirs = bare(engine, requests)
        rounds.append((theirs / mine, tokens / mine, tokens / theirs, first / mine))
    ratios, mine, theirs, firsts = (statistics.median(column) for column in zip(*rounds, strict=True))
    sys.stdout.write(
        f"r1kit {mine:.0f} tokens/s   LLM.generate {theirs:.0f} tokens/s   medians of {args.rounds} rounds\n"
    )
    low, high = min(r[0] for r in rounds), max(r[0] for r in rounds)
    sys.stdout.write(f"ratio {ratios:.2f} ({low:.2f} to {high:.2f})   first completion after {firsts:.1%} of the run\n")


if __name__ == "__main__":
    main()
