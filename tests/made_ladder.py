"""A small ladder of stages on disk, as recipes leave it: what the tests of the report look at."""

import hashlib
import json
from pathlib import Path

from conftest import write_jsonl

from r1kit.records import content_hash

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> <!-- & \u2028 \ud800"
ESTIMATE = {"value": 0.5, "low": 0.4, "high": 0.6}


def rollout(problem: int, sample: int, right: bool, **fields) -> dict:
    """Return a scored rollout of a problem; those of problem 0 hold hostile text."""
    text = HOSTILE if problem == 0 else f"{problem} plus 1. Wait, check"
    return {
        "id": f"p{problem}", "prompt": f"What is {problem} + 1?", "answer": str(problem + 1),
        "kind": "math" if problem % 2 else "general", "language": "zh" if problem % 3 == 0 else "en", "sample": sample,
        "completion": f"<think>{text}</think> <answer>{problem + right}</answer>", "finish_reason": "stop",
        "prompt_tokens": 8, "completion_tokens": 10 + problem + sample,
        "rewards": {"accuracy": float(right), "format": 1.0}, "reward": right + 0.2,
        "extracted": str(problem + right), "verdict": "correct" if right else "wrong", **fields,
    }  # fmt: skip


def rollouts(right, problems: int = 12, samples: int = 4, **fields) -> list[dict]:
    """Return the scored rollouts of problems, of each `right` of the samples right."""
    return [rollout(p, s, s < right, **fields) for p in range(problems) for s in range(samples)]


def log_lines(steps: int, **fields) -> list[dict]:
    """Return the log of a run with rewards."""
    line = {
        "reward": 0.5, "rewards": {"accuracy": 0.4, "format": 0.5}, "accuracy": 0.4, "accuracies": {"math": 0.4},
        "length": 20.0, "length_right": 18.0, "length_wrong": 21.0, "entropy": 0.3, "trained": 0.8, "zero_signal": 0.2,
        "reflection": 0.1, "truncated": 0.0, "loss": 0.1, "learning_rate": 1e-3,
    }  # fmt: skip
    return [{"step": step, **line, **fields} for step in range(1, steps + 1)]


def write_run(folder: Path, card: dict, log: list[dict]) -> Path:
    """Write the folder of a run that ended: what a report reads of it."""
    folder.mkdir(parents=True)
    (folder / "r1kit.json").write_text(json.dumps(card), encoding="utf-8")
    write_jsonl(folder / "log.jsonl", log)
    return folder


def rows_hash(rows: list[dict]) -> str:
    """Return the hash that sft gives its examples."""
    digest = hashlib.blake2b(digest_size=8)
    for row in rows:
        digest.update(content_hash(row).encode())
    return digest.hexdigest()


def make_ladder(out: Path) -> Path:
    """Write a ladder: problems, R1-Zero, examples of its rollouts, SFT, an evaluation and a policy."""
    out.mkdir()
    problems = [{"id": f"p{p}", "prompt": f"What is {p} + 1?", "answer": str(p + 1)} for p in range(12)]
    write_jsonl(out / "00-problems.jsonl", problems)
    metrics = {
        "problems": 12,
        "samples": 4,
        "pass@1": ESTIMATE,
        "mean_length": {"value": 9.0, "low": 8.0, "high": 10.0},
    }
    measured = {"before": metrics, "after": {**metrics, "pass@1": {"value": 0.9, "low": 0.8, "high": 0.95}}}
    zero = {"command": "grpo", "parent": "base", "seed": 0, "data_hash": content_hash(problems), "metrics": measured}
    write_run(out / "01-zero", zero, log_lines(12))
    samples = [{"step": step, **rollout(p, 0, True)} for step in (1, 11) for p in range(3)]
    write_jsonl(out / "01-zero" / "samples.jsonl", samples)
    scored = rollouts(3, model="somewhere/01-zero")
    write_jsonl(out / "02-scored.jsonl", scored)
    write_jsonl(
        out / "02-rollouts.jsonl", [{k: v for k, v in row.items() if k not in ("rewards", "reward")} for row in scored]
    )
    examples = [
        {"messages": [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}],
         "id": row["id"], "sample": row["sample"], "reward": 1.2}
        for row in scored[::4]
    ]  # fmt: skip
    write_jsonl(out / "03-examples.jsonl", examples)
    sft = {"command": "sft", "parent": "base", "seed": 0, "data_hash": rows_hash(examples), "metrics": {"loss": 0.1}}
    sft_log = [
        {"step": s, "loss": 1 / s, "learning_rate": 1e-3, "token_accuracy": 0.5, "held_out_loss": 0.5} for s in (1, 2)
    ]
    write_run(out / "04-sft", sft, sft_log)
    for model, right in (("base", 1), ("01-zero", 3)):
        folder = out / "08-eval" / model
        folder.mkdir(parents=True)
        write_jsonl(folder / "arith.jsonl", rollouts(right))
        named = "base" if model == "base" else f"out/{model}"
        card = {"model": named, "benchmark": "arith", "data_hash": "0", "samples": 4, "seconds": 61.0}
        (folder / "arith.json").write_text(json.dumps(card), encoding="utf-8")
    policy = [
        {"difficulty": "all", "search": None, "method": "majority", "by": None, "budget": budget, "accuracy": ESTIMATE,
         "generated_tokens": 10.0 * budget, "chosen": True, "pilot_n": 4}
        for budget in (1, 4, 16)
    ]  # fmt: skip
    write_jsonl(out / "09-policy.jsonl", policy)
    return out
