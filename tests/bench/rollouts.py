"""Useful tokens a second of the transformers engine, against `generate` and `generate_batch` of transformers.

    python tests/bench/rollouts.py [MODEL] [--prompts 32] [--samples 8] [--rounds 3] [--rows 64 256]

The same prompts, sampling (temperature 1, whole vocabulary) and lengths for all: ragged, 16 to 256 tokens, and equal,
136 tokens, their mean. End tokens end nothing, so that all draw as many tokens. `generate` runs `--rows` rows at a time
and carries rows that ended until the last of its batch ends, as it does; the ratio is to its best number of rows.
Also the share of the peak of matrix products that the engine reaches, the peak being measured in the same run.
MODEL is a folder; the default is the embedded base.
"""

import argparse
import random
import statistics
import sys
import time
from itertools import islice

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, StoppingCriteria, StoppingCriteriaList

from r1kit.data import read_problems
from r1kit.engines import Request, Sampling
from r1kit.engines.transformers import TransformersEngine
from r1kit.model import load_model


def say(line: str) -> None:
    """Write one line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class EndAt(StoppingCriteria):
    """Ends each row of a batch at its own length."""

    def __init__(self, ends: list[int]):
        self.ends = torch.tensor(ends)

    def __call__(self, input_ids, scores, **kwargs):
        return input_ids.shape[1] >= self.ends


def ours(model, tokenizer, requests, rows):
    """Draw by the engine."""
    engine = TransformersEngine(model, tokenizer, rows)
    engine._ends = set()
    return sum(completion.completion_tokens for _, completion in engine.complete(requests, Sampling()))


def by_generate(model, tokenizer, requests, rows):
    """Draw by `generate`, `rows` at a time, prompts of like length together."""
    drawn = 0
    waiting = iter(sorted(requests, key=lambda request: len(request.prompt)))
    while batch := list(islice(waiting, rows)):
        width = max(len(request.prompt) for request in batch)
        ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(r.prompt)) + r.prompt for r in batch])
        mask = torch.tensor([[0] * (width - len(r.prompt)) + [1] * len(r.prompt) for r in batch])
        config = GenerationConfig(
            do_sample=True, top_k=0, max_new_tokens=256, eos_token_id=None, pad_token_id=tokenizer.pad_token_id
        )
        ends = StoppingCriteriaList([EndAt([width + r.max_tokens for r in batch])])
        model.generate(ids, attention_mask=mask, generation_config=config, stopping_criteria=ends)
        drawn += sum(request.max_tokens for request in batch)
    return drawn


def by_generate_batch(model, tokenizer, requests, rows):
    """Draw by transformers' continuous batching, with a cache that holds all rows."""
    config = GenerationConfig(do_sample=True, top_k=0, eos_token_id=-1, pad_token_id=tokenizer.pad_token_id)
    blocks = rows * 8
    shape = ContinuousBatchingConfig(
        page_size=64, num_blocks=blocks, max_batch_tokens=max(512, rows), max_requests_per_batch=rows
    )
    drawn = 0
    with model.continuous_batching_context_manager(config, continuous_batching_config=shape, warmup=False) as manager:
        for request in requests:
            manager.add_request(request.prompt, request.key, request.max_tokens, eos_token_id=-1)
        for _ in requests:
            result = manager.get_result()
            drawn += len(result.generated_tokens)
    return drawn


def matrix_peak():
    """Return the floating-point operations a second of a large matrix product."""
    one, other = torch.randn(2048, 2048), torch.randn(2048, 2048)
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        one @ other
        seconds.append(time.perf_counter() - started)
    return 2 * 2048**3 / min(seconds)


def main():
    """Print the medians of paired rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="base")
    for name, default in (("prompts", 32), ("samples", 8), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--lengths", nargs="+", default=["ragged", "equal"])
    parser.add_argument("--without-batch", action="store_true", help="leave generate_batch out")
    args = parser.parse_args()
    model, tokenizer = load_model(args.model)
    model.generation_config.eos_token_id = None
    prompts = [tokenizer(problem["prompt"])["input_ids"] for problem in read_problems("arith", "test")]
    drawn = random.Random(0)
    weights = model.num_parameters() - (
        0 if model.config.tie_word_embeddings else model.get_input_embeddings().weight.numel()
    )
    contestants = {f"generate, {rows} rows": (by_generate, rows) for rows in args.rows}
    if not args.without_batch:
        contestants["generate_batch"] = (by_generate_batch, max(args.rows))
    contestants["r1kit"] = (ours, max(args.rows))
    for lengths in args.lengths:
        requests = [
            Request(f"{i}/{j}", prompt, drawn.randint(16, 256) if lengths == "ragged" else 136)
            for i, prompt in enumerate(prompts[: args.prompts])
            for j in range(args.samples)
        ]
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        cpu: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(args.rounds):
            for name, (draw, rows) in contestants.items():
                started, spent = time.perf_counter(), time.process_time()
                tokens = draw(model, tokenizer, requests, rows)
                assert tokens == sum(request.max_tokens for request in requests), (name, tokens)
                rates[name].append(tokens / (time.perf_counter() - started))
                cpu[name].append(tokens / (time.process_time() - spent))
        report(lengths, rates, cpu, 2 * weights / matrix_peak())


def report(lengths, rates, cpu, seconds_a_token):
    """Print one table."""
    say(f"{lengths} lengths, useful tokens a second (a CPU second), medians of {len(rates['r1kit'])} rounds")
    for name, values in rates.items():
        say(f"  {name:<20} {statistics.median(values):8.0f}  ({statistics.median(cpu[name]):.1f})")
    plain = [name for name in rates if name.startswith("generate,")]
    best = max(plain, key=lambda name: statistics.median(rates[name]))
    for name in filter(rates.__contains__, (best, "generate_batch")):
        pairs = [mine / theirs for mine, theirs in zip(rates["r1kit"], rates[name], strict=True)]
        say(f"  ratio to {name}: {statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})")
    share = statistics.median(rates["r1kit"]) * seconds_a_token
    say(f"  share of the peak of matrix products: {share:.0%}")


if __name__ == "__main__":
    main()
