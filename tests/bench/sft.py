"""How fast examples of ragged length are trained on, against TRL's SFTTrainer: with its defaults, and with packing.

    python tests/bench/sft.py [--model base] [--rounds 3] [--steps 8] [--longest 1000]

Prompts have 16 to 64 tokens; completions 16 to `--longest`, their logarithm uniform, made of the embedded corpus. All
train the same model on the same rows by the same optimiser, 8 rows a step (TRL's default), in float32 on a CPU and in
bfloat16 on a GPU. Packed rows of TRL's hold 1,024 tokens; against 8 of those stand 32 of r1kit's, about as many tokens.
Real tokens a second are those of rows, padding aside. Each run has a process of its own, one after another in each
round; ratios are medians over rounds of the quotient within a round. The losses of the steps are compared with those of
TRL's unpacked run, which has the same rows in the same order.
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

RUNS = ("r1kit", "trl", "trl, no checkpointing", "r1kit, 32 rows", "trl, packing", "trl, packing, no checkpointing")


def rows(tokenizer, count: int, longest: int) -> list[dict[str, list[int]]]:
    """Return rows of token ids and labels."""
    from r1kit.embedded.corpus import documents
    from r1kit.sft_rows import UNTRAINED

    stream, chance = documents(7, frozenset()), random.Random(0)
    pool: list[int] = []
    found = []
    for _ in range(count):
        prompt = chance.randint(16, 64)
        completion = round(math.exp(chance.uniform(math.log(16), math.log(longest))))
        while len(pool) < prompt + completion:
            pool += tokenizer(next(stream))["input_ids"]
        ids, pool = [*pool[: prompt + completion - 1], tokenizer.eos_token_id], pool[prompt + completion :]
        found.append({"input_ids": ids, "labels": [UNTRAINED] * prompt + ids[prompt:]})
    return found


class Timed:
    """Steps as they end: seconds and losses."""

    def __new__(cls):
        import torch
        from transformers import TrainerCallback

        class Callback(TrainerCallback):
            def __init__(self):
                self.ends, self.losses = [], []

            def on_step_begin(self, args, state, control, **_):
                if not self.ends:
                    self.ends.append(time.perf_counter())

            def on_step_end(self, args, state, control, **_):
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                self.ends.append(time.perf_counter())

            def on_log(self, args, state, control, logs, **_):
                if "loss" in logs:
                    self.losses.append(logs["loss"])

        return Callback()


def run(name: str, model_name: str, steps: int, longest: int) -> dict:
    """Train by one of `RUNS`; return real tokens a second after the first step, and the losses of the steps."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from r1kit.model import load_model
    from r1kit.sft_trainer import PackedTrainer

    gpu = torch.cuda.is_available()
    model, tokenizer = load_model(model_name, "float32")
    many = "packing" in name or "32" in name
    found = rows(tokenizer, 8 * (steps + 1) * (5 if many else 1), longest)
    timed = Timed()
    with TemporaryDirectory() as folder:
        settings = {
            "output_dir": folder, "max_steps": steps + 1, "learning_rate": 1e-4, "logging_steps": 1, "seed": 0,
            "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": not gpu, "bf16": gpu,
        }  # fmt: skip
        if name.startswith("r1kit"):
            args = SFTConfig(
                per_device_train_batch_size=32 if many else 8, gradient_checkpointing=False, max_length=None,
                remove_unused_columns=False, dataset_kwargs={"skip_prepare_dataset": True}, **settings,
            )  # fmt: skip
            budget = 16384 if gpu else 2048
            trainer = PackedTrainer(
                model=model, args=args, train_dataset=Dataset.from_list(found), processing_class=tokenizer,
                callbacks=[timed], token_budget=budget,
            )  # fmt: skip
        else:
            args = SFTConfig(
                max_length=2048 if longest > 960 and "packing" not in name else 1024, packing="packing" in name,
                gradient_checkpointing="no checkpointing" not in name, **settings,
            )  # fmt: skip
            trainer = SFTTrainer(
                model=model, args=args, train_dataset=Dataset.from_list(found), processing_class=tokenizer,
                callbacks=[timed],
            )  # fmt: skip
        seen: list[int] = []
        take = trainer.training_step

        def count(model, inputs, *rest):
            if "lengths" in inputs or "position_ids" in inputs:
                seen.append(inputs["input_ids"].numel())
            else:
                seen.append(int(inputs["attention_mask"].sum()))
            return take(model, inputs, *rest)

        trainer.training_step = count
        trainer.train()
    seconds = timed.ends[-1] - timed.ends[1]
    peak = torch.cuda.max_memory_allocated() if gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"speed": sum(seen[1:]) / seconds, "losses": timed.losses, "gigabytes": peak / 1e9}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="base")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--longest", type=int, default=900)
    parser.add_argument("--run")
    asked = parser.parse_args()
    if asked.run:
        print(json.dumps(run(asked.run, asked.model, asked.steps, asked.longest)))  # noqa: T201
        return
    rounds = []
    for number in range(asked.rounds):
        found = {}
        for name in RUNS:
            flags = ["--model", asked.model, "--steps", str(asked.steps), "--longest", str(asked.longest)]
            command = [sys.executable, __file__, "--run", name, *flags]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[name] = json.loads(said.split("\n")[-2])
            speed, peak = found[name]["speed"], found[name]["gigabytes"]
            print(f"round {number + 1}  {name}: {speed:,.0f} real tokens/s, peak memory {peak:.1f} GB", flush=True)  # noqa: T201
        rounds.append(found)
    ours, theirs = rounds[0]["r1kit"], rounds[0]["trl"]
    apart = max(abs(a - b) / b for a, b in zip(ours["losses"], theirs["losses"], strict=True))
    print(f"losses of the steps: r1kit's and TRL's unpacked run's differ by {apart:.1e} at most, relative")  # noqa: T201
    for name in (name for name in RUNS if name.startswith("trl")):
        mine = "r1kit, 32 rows" if "packing" in name else "r1kit"
        ratios = sorted(found[mine]["speed"] / found[name]["speed"] for found in rounds)
        print(f"{mine} against {name}: {median(ratios):.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f})")  # noqa: T201


if __name__ == "__main__":
    main()
