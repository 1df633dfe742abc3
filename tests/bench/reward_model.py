"""How fast preference pairs of ragged length are trained on, against TRL's RewardTrainer with its defaults.

    python tests/bench/reward_model.py [--model base] [--rounds 3] [--steps 8] [--longest 800]

Prompts have 16 to `--prompt` tokens; answers 16 to `--longest`, their logarithm uniform, made of the embedded corpus.
All train the same model with the same head on the same pairs by the same optimiser, 8 pairs a step (TRL's default), in
float32 on a CPU and in bfloat16 on a GPU. Against TRL with its defaults stands r1kit with its own, which checkpoints no
activations of so small a model; TRL without checkpointing is beside it. Each run has a process of its own, one after
another in each round; ratios are medians over rounds of the quotient within a round.
"""

import argparse
import json
import math
import random
import resource
import subprocess
import sys
import time
from statistics import median
from tempfile import TemporaryDirectory

RUNS = ("r1kit", "trl", "trl, no checkpointing")
BATCH = 8  # pairs


def pairs(tokenizer, count: int, prompt: int, longest: int) -> list[dict[str, object]]:
    """Return pairs of token ids."""
    from r1kit.embedded.corpus import documents

    stream, chance = documents(7, frozenset()), random.Random(0)
    pool: list[int] = []

    def draw(length: int) -> list[int]:
        nonlocal pool
        while len(pool) < length:
            pool += tokenizer(next(stream))["input_ids"]
        drawn, pool = pool[:length], pool[length:]
        return drawn

    def answer() -> list[int]:
        return [*draw(round(math.exp(chance.uniform(math.log(16), math.log(longest))))), tokenizer.eos_token_id]

    found = []
    for number in range(count):
        asked = draw(chance.randint(16, prompt))
        found.append(
            {"chosen_ids": asked + answer(), "rejected_ids": asked + answer(), "margin": 0.0, "prompt": number}
        )
    return found


def run(name: str, asked: argparse.Namespace) -> dict:
    """Train by one of `RUNS`; return pairs a second after the first step, and the losses of the steps."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import RewardConfig, RewardTrainer

    from r1kit.classifier import open_classifier
    from r1kit.preference_trainer import PreferenceTrainer
    from r1kit.training_plan import CPU_BUDGET, GPU_BUDGET

    class Timed(TrainerCallback):
        def __init__(self):
            self.ends, self.losses = [], []

        def on_step_end(self, args, state, control, **_):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.ends.append(time.perf_counter())

        def on_log(self, args, state, control, logs, **_):
            if "loss" in logs:
                self.losses.append(logs["loss"])

    gpu = torch.cuda.is_available()
    model, tokenizer = open_classifier(asked.model, "sequence", 1)
    dataset = Dataset.from_list(pairs(tokenizer, BATCH * (asked.steps + 1), asked.prompt, asked.longest))
    timed = Timed()
    with TemporaryDirectory() as folder:
        settings = {
            "output_dir": folder, "max_steps": asked.steps + 1, "learning_rate": 1e-4, "logging_steps": 1, "seed": 0,
            "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": not gpu, "bf16": gpu,
        }  # fmt: skip
        if name == "r1kit":
            args = RewardConfig(
                per_device_train_batch_size=BATCH, gradient_checkpointing=False, max_length=None,
                remove_unused_columns=False, **settings,
            )  # fmt: skip
            trainer = PreferenceTrainer(
                model=model, args=args, train_dataset=dataset, processing_class=tokenizer, callbacks=[timed],
                token_budget=asked.token_budget or (GPU_BUDGET if gpu else CPU_BUDGET),
            )  # fmt: skip
        else:
            args = RewardConfig(gradient_checkpointing="no checkpointing" not in name, **settings)
            trainer = RewardTrainer(
                model=model, args=args, train_dataset=dataset, processing_class=tokenizer, callbacks=[timed]
            )
        trainer.train()
    seconds = timed.ends[-1] - timed.ends[0]
    peak = torch.cuda.max_memory_allocated() if gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"speed": BATCH * asked.steps / seconds, "losses": timed.losses, "gigabytes": peak / 1e9}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="base")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--longest", type=int, default=800)
    parser.add_argument("--token-budget", type=int)
    parser.add_argument("--run")
    asked = parser.parse_args()
    if asked.run:
        print(json.dumps(run(asked.run, asked)))  # noqa: T201
        return
    rounds = []
    for number in range(asked.rounds):
        found = {}
        for name in RUNS:
            command = [sys.executable, __file__, *sys.argv[1:], "--run", name]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[name] = json.loads(said.split("\n")[-2])
            speed, peak = found[name]["speed"], found[name]["gigabytes"]
            print(f"round {number + 1}  {name}: {speed:,.2f} pairs/s, peak memory {peak:.1f} GB", flush=True)  # noqa: T201
        rounds.append(found)
    ours, theirs = rounds[0]["r1kit"], rounds[0]["trl, no checkpointing"]
    apart = max(abs(a - b) / b for a, b in zip(ours["losses"], theirs["losses"], strict=True))
    print(f"losses of the steps: r1kit's and TRL's differ by {apart:.1e} at most, relative")  # noqa: T201
    for name in RUNS[1:]:
        ratios = sorted(found["r1kit"]["speed"] / found[name]["speed"] for found in rounds)
        print(f"r1kit against {name}: {median(ratios):.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f})")  # noqa: T201


if __name__ == "__main__":
    main()
