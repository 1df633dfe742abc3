"""The same model and problems through EleutherAI's lm-evaluation-harness and through r1kit: accuracies and differences.

    pip install lm-eval
    python tests/bench/lm_eval.py --model FOLDER [--problems ../shared/data/gsm8k_test.jsonl] [--limit 50] [--shots 1]

Two sets: the file, by lm-eval's own task gsm8k (its few-shot prompts, made of the rows after the limit, its stop texts
and its two filters), with FOLDER; and the embedded arith, by a task made here, with the embedded base. Both greedy, in
float32 on a CPU. Of each set:

1. lm-eval's completions, byte for byte, as rollouts through `r1kit reward` and `r1kit eval`: both accuracies, and every
   completion that the two judge differently.
2. The same prompts through `r1kit rollout`: how many completions are the same, and of each other one the token at which
   it parts and how near the two likeliest tokens are there, by the plain forward of the model. Greedy decoding parts
   where that is within the rounding of float32: lm-eval pads on the left, r1kit does not.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = sys.path.pop(0)  # this folder, in which lm_eval is this file
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import torch  # noqa: E402

from r1kit.data import read_problems  # noqa: E402
from r1kit.model import load_model, resolve_model  # noqa: E402
from r1kit.prompts import Prompting, plain_prompt  # noqa: E402

BENCHMARKS = Path(HERE).parents[2] / "shared" / "data"
NUMBER = "(-?[$0-9.,]{2,})|(-?[0-9]+)"  # lm-eval's gsm8k: flexible-extract takes the last one
ARITH = {
    "task": "r1kit_arith",
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "{{prompt}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "exact_match", "regexes_to_ignore": [",", "\\$", "\\.$"]}],
    "filter_list": [
        {"name": "strict-match", "filter": [
            {"function": "regex", "regex_pattern": "(?:The answer is|答案是) (-?[0-9.,]+)"}, {"function": "take_first"},
        ]},
        {"name": "flexible-extract", "filter": [
            {"function": "regex", "regex_pattern": NUMBER, "group_select": -1}, {"function": "take_first"},
        ]},
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One model on one set."""

    name: str
    model: str
    task: dict[str, Any]  # lm-eval's, without data and limits
    shots: int
    max_tokens: int
    until: tuple[str, ...]
    problems: list[dict[str, Any]]  # r1kit's
    rows: dict[str, list[dict[str, Any]]]  # the task's, by split, those of "test" in the order of the problems


def say(line: str) -> None:
    """Write one line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def gsm8k(model: str, path: Path, limit: int, shots: int) -> Case:
    """Return the first problems of a file that has GSM8K's columns."""
    problems = [dict(problem) for problem in islice(read_problems(f"gsm8k={path}"), limit)]
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    import lm_eval
    from yaml import safe_load

    theirs = Path(lm_eval.__file__).parent / "tasks" / "gsm8k" / "gsm8k.yaml"
    task = safe_load(theirs.read_text(encoding="utf-8")) | {"dataset_path": "json", "dataset_name": None, "tag": None}
    splits = {"test": rows[:limit], "train": rows[limit:]}
    return Case("gsm8k", model, task, shots, 256, ("Question:", "</s>", "<|im_end|>"), problems, splits)


def arith(limit: int) -> Case:
    """Return problems of the embedded set, in the prompts that the embedded base is trained on."""
    problems = list(islice(read_problems("arith", "test"), limit))
    rows = [{"prompt": plain_prompt(p, Prompting("r1-zero")), "answer": p["answer"]} for p in problems]
    return Case("arith", "base", ARITH, 0, 128, (), [dict(p) for p in problems], {"test": rows})


def by_lm_eval(case: Case, folder: Path, batch_size: int) -> list[dict[str, Any]]:
    """Return of each problem the prompt, the completion, and {filter: what was extracted, whether that is right}."""
    import lm_eval

    files = {}
    for split, rows in case.rows.items():
        files[split] = str(folder / f"{case.name}-{split}.jsonl")
        Path(files[split]).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = {"until": list(case.until), "do_sample": False, "max_gen_toks": case.max_tokens}
    task = {**case.task, "dataset_kwargs": {"data_files": files}, "num_fewshot": case.shots}
    results = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": resolve_model(case.model), "dtype": "float32"},
        tasks=[{**task, "generation_kwargs": settings}],
        device="cpu",
        batch_size=batch_size,
        bootstrap_iters=0,
        log_samples=True,
    )
    found: list[dict[str, Any]] = [{"judged": {}} for _ in case.problems]
    for sample in results["samples"][case.task["task"]]:
        mine = found[sample["doc_id"]]
        mine |= {"prompt": sample["arguments"][0][0], "completion": sample["resps"][0][0]}
        mine["judged"][sample["filter"]] = (sample["filtered_resps"][0], bool(sample["exact_match"]))
    return found


def r1kit(*arguments: object, stdin: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run one of r1kit's commands on records; return those that it writes."""
    command = [sys.executable, "-m", "r1kit", *map(str, arguments)]
    text = "".join(json.dumps(record) + "\n" for record in stdin)
    run = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in run.stdout.split("\n") if line]


def graded(case: Case, rollouts: list[dict[str, Any]], folder: Path) -> tuple[list[dict[str, Any]], float]:
    """Return rollouts as `reward` grades them, and pass@1 as `eval` measures it."""
    scored = r1kit("reward", "--reward", "accuracy", stdin=rollouts)
    path = folder / f"{case.name}-scored.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in scored), encoding="utf-8")
    [metrics] = r1kit("eval", path, stdin=[])
    return scored, metrics["pass@1"]["value"]


def compare_verdicts(case: Case, theirs: list[dict[str, Any]], tokenizer: Any, folder: Path) -> None:
    """Print the accuracies of the same completions, and every one that the two judge differently."""
    rollouts = []
    for problem, found in zip(case.problems, theirs, strict=True):
        tokens = len(tokenizer(found["completion"], add_special_tokens=False)["input_ids"])
        reason = "length" if tokens >= case.max_tokens else "stop"
        drawn = {"completion": found["completion"], "completion_tokens": tokens, "finish_reason": reason}
        rollouts.append({**problem, "sample": 0, **drawn})
    scored, accuracy = graded(case, rollouts, folder)
    ours = [record["rewards"]["accuracy"] == 1 for record in scored]
    for name in theirs[0]["judged"]:
        right = [found["judged"][name][1] for found in theirs]
        apart = [i for i, (a, b) in enumerate(zip(ours, right, strict=True)) if a != b]
        say(f"  lm-eval {name}: {sum(right) / len(right):.2%}; r1kit: {accuracy:.2%}; judged differently: {len(apart)}")
        for i in apart:
            gold, extracted = scored[i]["answer"], theirs[i]["judged"][name][0]
            end = json.dumps(theirs[i]["completion"][-100:], ensure_ascii=False)
            verdicts = f"lm-eval {extracted!r} ({'right' if right[i] else 'wrong'})"
            verdicts += f", r1kit {scored[i]['extracted']!r} ({'right' if ours[i] else 'wrong'})"
            say(f"    {scored[i]['id']}: gold {gold!r}, {verdicts}, ends in {end}")


def compare_completions(case: Case, theirs: list[dict[str, Any]], model: Any, tokenizer: Any, folder: Path) -> None:
    """Print how many completions of r1kit's engine are those of lm-eval, and how near those that are not."""
    problems = [{**p, "prompt": found["prompt"]} for p, found in zip(case.problems, theirs, strict=True)]
    stops = [word for text in case.until for word in ("--stop", text)]
    flags = ("--prompt-style", "raw", "--temperature", 0, "--max-tokens", case.max_tokens, *stops)
    drawn = r1kit("rollout", "--model", case.model, "--engine", "transformers", *flags, stdin=problems)
    for rollout in drawn:
        rollout["completion"] = cut(rollout["completion"], case.until)
    _, accuracy = graded(case, drawn, folder)
    pairs = list(zip(drawn, theirs, strict=True))
    apart = [(a, b) for a, b in pairs if a["completion"] != b["completion"]]
    say(f"  r1kit's own engine: {accuracy:.2%}; {len(pairs) - len(apart)} of {len(pairs)} completions are the same")
    for mine, found in apart:
        place, gap = parting(model, tokenizer, found["prompt"], mine["completion"], found["completion"])
        say(f"    {mine['id']} parts at token {place}: the two likeliest are {gap:.1e} nats apart")


def cut(completion: str, until: tuple[str, ...]) -> str:
    """Return a completion up to the first stop text, as lm-eval cuts it."""
    for text in until:
        completion = completion.split(text)[0]
    return completion


def parting(model: Any, tokenizer: Any, prompt: str, one: str, other: str) -> tuple[int, float]:
    """Return how many tokens two completions share, and how far the two likeliest after them are apart, in nats."""
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (one, other))
    shared = min(len(first), len(second))
    place = next((i for i in range(shared) if first[i] != second[i]), shared)
    ids = tokenizer(prompt)["input_ids"] + first[:place]
    with torch.no_grad():
        best, next_best = model(input_ids=torch.tensor([ids])).logits[0, -1].topk(2).values.tolist()
    return place, best - next_best


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """Yield what is compared."""
    yield arith(arguments.arith)
    yield gsm8k(arguments.model, arguments.problems, arguments.limit, arguments.shots)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--problems", type=Path, default=BENCHMARKS / "gsm8k_test.jsonl")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--arith", type=int, default=200, help="problems of the embedded set")
    parser.add_argument("--shots", type=int, default=1, help="lm-eval's own are 5, which is slow on a CPU")
    parser.add_argument("--batch-size", type=int, default=16)
    arguments = parser.parse_args()
    for case in cases(arguments):
        say(f"{case.name}, {len(case.problems)} problems, {case.model}:")
        with TemporaryDirectory() as folder:
            theirs = by_lm_eval(case, Path(folder), arguments.batch_size)
            model, tokenizer = load_model(case.model)
            compare_verdicts(case, theirs, tokenizer, Path(folder))
            compare_completions(case, theirs, model, tokenizer, Path(folder))


if __name__ == "__main__":
    main()
