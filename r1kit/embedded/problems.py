"""The embedded sets, each with train and test: problems (`arith`, `facts`, `functions`) and pairs (`preferences`).

    python -m r1kit.embedded.problems

writes the files beside this one anew; they are the same, byte for byte.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from r1kit.embedded.arith import Arith, make_problem
from r1kit.embedded.facts import all_facts
from r1kit.embedded.functions import all_functions
from r1kit.embedded.preferences import preference_pairs

FOLDER = Path(__file__).parent / "problems"
ARITH_SIZES = {"train": 4000, "test": 200}
TEST_SHARE = 5  # one in five facts and functions is held out


def _arith() -> dict[str, list[dict]]:
    random = Random("r1kit arith")
    problems: dict[str, Arith] = {}
    while len(problems) < sum(ARITH_SIZES.values()):
        problem = make_problem(random)
        problems.setdefault(problem.prompt, problem)
    rows = [
        {"prompt": p.prompt, "answer": str(p.answer), "kind": "math", "language": p.language, "steps": len(p.steps)}
        for p in problems.values()
    ]
    return {"test": rows[: ARITH_SIZES["test"]], "train": rows[ARITH_SIZES["test"] :]}


def _facts() -> dict[str, list[dict]]:
    rows = [{"prompt": f.question, "answer": f.answer, "kind": "general", "language": f.language} for f in all_facts()]
    return _split(rows, "facts")


def _functions() -> dict[str, list[dict]]:
    rows = [{"prompt": f.prompt, "kind": "code", "language": f.language, "tests": f.tests} for f in all_functions()]
    return _split(rows, "functions")


def _preferences() -> dict[str, list[dict]]:
    return preference_pairs({row["prompt"] for row in _facts()["test"]})


def _split(rows: list[dict], name: str) -> dict[str, list[dict]]:
    Random(f"r1kit {name}").shuffle(rows)
    size = len(rows) // TEST_SHARE
    return {"test": rows[:size], "train": rows[size:]}


MAKERS: dict[str, Callable[[], dict[str, list[dict]]]] = {
    "arith": _arith,
    "facts": _facts,
    "functions": _functions,
    "preferences": _preferences,
}


def make_files(folder: Path) -> None:
    """Write NAME.SPLIT.jsonl for every set and split; an id is the set, the split and the row's number."""
    folder.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        for split, rows in make().items():
            with (folder / f"{name}.{split}.jsonl").open("w", encoding="utf-8", newline="\n") as file:
                for i, row in enumerate(rows):
                    record = {"id": f"{name}-{split}-{i}", **row}
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")


def held_out_prompts() -> frozenset[str]:
    """Return the prompts of the held-out arithmetic problems, which the corpus must not hold."""
    return frozenset(row["prompt"] for row in _read(FOLDER / "arith.test.jsonl"))


def _read(path: Path) -> Iterator[dict]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


if __name__ == "__main__":
    make_files(FOLDER)
