"""How fast a reward model scores completions of ragged length, against a loop that pads them as they come.

    python tests/bench/scoring.py [--model base] [--rounds 5] [--rows 512] [--longest 1000] [--batch-size 32]

Texts have 16 to `--longest` tokens, their logarithm uniform, made of the embedded corpus; no two are the same. Both
sides read the same folder, the model with a head of one label: r1kit by `RewardModel.scores`, the loop by transformers
alone, `--batch-size` texts at a time in the order of the input, padded to the longest of them. In each round one comes
after the other; the ratio is the median over rounds. Scores are compared.

The second part scores groups of which a share is the same text, as the rollouts of a trained model are.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from r1kit.classifier import open_classifier
from r1kit.embedded.corpus import documents
from r1kit.model import save_model
from r1kit.rewards.model import RewardModel, rollout_text


def rollouts(tokenizer, count: int, longest: int) -> list[dict[str, str]]:
    """Return rollouts of ragged length."""
    stream, chance = documents(7, frozenset()), random.Random(0)
    pool: list[int] = []
    found = []
    for number in range(count):
        length = round(math.exp(chance.uniform(math.log(16), math.log(longest))))
        while len(pool) < length:
            pool += tokenizer(next(stream))["input_ids"]
        found.append({"prompt": f"What is {number}?", "completion": tokenizer.decode(pool[:length])})
        pool = pool[length:]
    return found


def padded_scores(model, tokenizer, texts: list[str], batch_size: int) -> list[float]:
    """Return scores as a plain loop takes them."""
    scores: list[float] = []
    for top in range(0, len(texts), batch_size):
        batch = tokenizer(
            texts[top : top + batch_size], padding=True, padding_side="right", add_special_tokens=False,
            return_tensors="pt",
        ).to(model.device)  # fmt: skip
        with torch.no_grad():
            scores += model(**batch).logits[:, 0].float().tolist()
    return scores


def seconds(work) -> tuple[float, list[float]]:
    """Return how long work took, and what it gave."""
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def main() -> None:
    """Measure, and print a line of JSON for each part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="base")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--longest", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batch-tokens", type=int)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        model, tokenizer = open_classifier(asked.model, "sequence", 1)
        save_model(model, tokenizer, Path(folder), {})
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).to(model.device).eval()
        model.config.use_cache = False
        given = rollouts(tokenizer, asked.rows, asked.longest)
        options = {"batch_tokens": asked.batch_tokens} if asked.batch_tokens else {}
        for part, chosen in (("all new", given), ("half of each group the same", doubled(given))):
            texts = [rollout_text(rollout, tokenizer)[0] for rollout in chosen]
            padded_scores(model, tokenizer, texts[:64], asked.batch_size)
            ours, theirs = [], []
            for _ in range(asked.rounds):
                reward = RewardModel(folder, **options)
                ours.append(seconds(lambda reward=reward, chosen=chosen: reward.scores(chosen)))
                theirs.append(seconds(lambda texts=texts: padded_scores(model, tokenizer, texts, asked.batch_size)))
            ratios = [b[0] / a[0] for a, b in zip(ours, theirs, strict=True)]
            difference = max(abs(a - b) for a, b in zip(ours[0][1], theirs[0][1], strict=True))
            result = {
                "part": part,
                "r1kit": round(len(chosen) / median(s for s, _ in ours), 1),
                "padded loop": round(len(chosen) / median(s for s, _ in theirs), 1),
                "ratio": round(median(ratios), 2),
                "ratios": [round(ratio, 2) for ratio in sorted(ratios)],
                "largest difference": difference,
            }
            print(json.dumps(result), flush=True)  # noqa: T201


def doubled(given: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return groups of eight, of which four are the same."""
    return [given[place if place % 8 < 5 else place - place % 8] for place in range(len(given))]


if __name__ == "__main__":
    main()
