"""How fast, and in how much memory, a million examples become tokens on disk, are gone through, and are trained on.

    python tests/bench/examples.py [--rows 1000000]

Each count has a process of its own that reads a JSON Lines file as `r1kit sft` does, goes once through all rows in the
trainer's random order, and takes two steps of the embedded base. Peak memory is that of a hundredth of the rows where
it is constant; pages of the token file, which the system may drop at any time, count as the process's own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory


def write_examples(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            said = f" <think> {number} + 1 = {number + 1}. </think> <answer> {number + 1} </answer>"
            file.write(json.dumps({"id": str(number), "prompt": f"What is {number} + 1?", "completion": said}) + "\n")


def run(path: Path, folder: Path) -> dict[str, float]:
    """Tokenise the rows of a file, read them in random order, and train for two steps."""
    from transformers.trainer_utils import set_seed

    from r1kit.jsonl import read_records
    from r1kit.prompts import Prompting
    from r1kit.row_files import open_rows
    from r1kit.sft import new_trainer, open_student, write_examples
    from r1kit.sft_plan import SftPlan

    plan = SftPlan("base", steps=2)
    model, tokenizer, style = open_student(plan)
    started = time.perf_counter()
    found = write_examples(read_records(str(path)), model, tokenizer, Prompting(style), plan, folder)
    seconds = time.perf_counter() - started
    train, _ = open_rows(folder)
    trainer = new_trainer(model, tokenizer, train, plan, folder)
    set_seed(0)
    seen = sum(len(batch["lengths"]) for batch in trainer.get_train_dataloader())
    assert seen == found["trained"]
    trainer.train()
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"rows a second": round(found["rows"] / seconds), "peak GiB": round(gigabytes, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--run", type=Path)
    asked = parser.parse_args()
    if asked.run:
        with TemporaryDirectory() as folder:
            print(json.dumps(run(asked.run, Path(folder))))  # noqa: T201
        return
    for count in (asked.rows // 100, asked.rows):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "examples.jsonl"
            write_examples(path, count)
            command = [sys.executable, __file__, "--run", str(path)]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            print(f"{count:,} rows: {said.splitlines()[-1]}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
