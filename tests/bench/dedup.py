"""Dedup and decontamination on problems that are made with their copies: time, memory, precision and recall.

    python tests/bench/dedup.py [NEAR_ROWS [ROWS]]

`r1kit data --dedup near` on 200,000 rows, of which 10 % are near copies (one or two words changed, left out or added,
or two sentences exchanged; case and punctuation too) and 10 % are problems with other numbers, which are to be kept.
The same steps with datasketch's MinHash and MinHashLSH (`pip install datasketch`) in rensa's place, on a tenth of the
rows. Then `--dedup exact` and `--decontaminate` on 1,000,000 rows, of which 1 % are copies.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from made_problems import change_numbers, make_problem, near_copy, restyle

Row = dict[str, Any]


def make_rows(count: int, seed: int = 0) -> Iterator[Row]:
    """Yield rows: 80 % new, 10 % near copies of one before (`copy_of`), 10 % such with another number."""
    chance, originals, changed = Random(seed), [], set()
    for i in range(count):
        draw = chance.random() if i > 100 else 1.0
        source, text = chance.choice(originals) if originals else ("", "")
        other = change_numbers(text, chance) if 0.1 <= draw < 0.2 else ""
        if draw < 0.1:
            yield {"id": f"{i}", "prompt": near_copy(text, chance), "copy_of": source}
        elif other and other not in changed:
            changed.add(other)
            yield {"id": f"{i}", "prompt": restyle(other, chance), "copy_of": None}
        else:
            text = make_problem(chance)
            originals.append((f"{i}", text))
            yield {"id": f"{i}", "prompt": text, "copy_of": None}


def make_many(count: int, benchmark: Path) -> Iterator[Row]:
    """Yield rows: 1 % are the row before, restyled, 1 % of a benchmark of 1,000 problems, 1 % such with another number.

    Writes the benchmark. `repeats` says whether the text has come, `held` whether it is the benchmark's.
    """
    chance, seen = Random(1), set()
    held = [make_problem(chance) for _ in range(1000)]
    benchmark.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in held))
    text = make_problem(chance)
    for i in range(count):
        kind = i % 100
        if kind == 1:
            text = chance.choice(held)
        elif kind == 2:
            text = change_numbers(chance.choice(held), chance)
        elif kind != 0:
            text = make_problem(chance)
        row = {"id": f"{i}", "repeats": hash(text) in seen, "held": kind == 1}
        seen.add(hash(text))
        yield {**row, "prompt": restyle(text, chance) if kind < 3 else text}


class Cost(NamedTuple):
    """What a process took."""

    seconds: float
    cpu: float  # seconds of all cores
    peak: float  # MB of memory

    def __str__(self) -> str:
        return f"{self.seconds:6.1f} s ({self.cpu:.1f} s of a core), peak {self.peak:4.0f} MB"


def run(*arguments: str | Path) -> Cost:
    """Run a Python program; return its cost."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    peak = 0
    with subprocess.Popen([sys.executable, *map(str, arguments)]) as process:
        while process.poll() is None:
            peak = max(peak, peak_memory(process.pid))
            time.sleep(0.02)
    assert process.returncode == 0, arguments
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak / 1024)


def peak_memory(pid: int) -> int:
    """Return the most memory that a process had, in KB; its ru_maxrss would count what its parent had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def write(rows: Iterator[Row], path: Path) -> Path:
    """Write rows to a file."""
    with path.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def read(path: Path) -> Iterator[Row]:
    """Read the rows of a file."""
    with path.open() as file:
        yield from map(json.loads, file)


def report_near(path: Path, out: Path) -> None:
    """Print what near dedup costs, and how right it is."""
    cost = run("-m", "r1kit", "data", path, "--dedup", "near", "-o", out)
    say(f"--dedup near:    {cost}, {rightness(out, 'copy_of')}")
    found = [row for row in read(removed_of(out)) if row["copy_of"]]
    say(f"  of the copies found {sum(r['removed']['of'] == r['copy_of'] for r in found):,} name their source")


def report_exact_and_decontaminated(path: Path, benchmark: Path, out: Path) -> None:
    """Print what the two cost, against `data` alone, and whether they find what they should."""
    say(f"data alone:      {run('-m', 'r1kit', 'data', path, '-o', out)}")
    for name, *value, wanted in (("--dedup", "exact", "repeats"), ("--decontaminate", benchmark, "held")):
        cost = run("-m", "r1kit", "data", path, name, *value, "-o", out, "--overwrite")
        say(f"{name:<16} {cost}, {rightness(out, wanted)}")


def rightness(out: Path, wanted: str) -> str:
    """Return how many of the wanted rows were removed."""
    removed = list(read(removed_of(out)))
    right, missed = sum(bool(row[wanted]) for row in removed), sum(bool(row[wanted]) for row in read(out))
    precision, recall = right / len(removed), right / (right + missed)
    return f"{len(removed):,} removed, precision {precision:.5f}, recall {recall:.5f}"


def removed_of(out: Path) -> Path:
    """Return the file of the rows that were taken out."""
    return out.with_suffix(".removed.jsonl")


def say(text: str) -> None:
    """Print a line."""
    print(text, flush=True)  # noqa: T201


def drop_near(library: str, path: Path) -> None:
    """Drop near duplicates with one library or the other; runs in a process of its own."""
    from r1kit.dedup import BANDS, ROWS, NearSeen
    from r1kit.jsonl import read_records

    seen = NearSeen()
    if library == "datasketch":
        from datasketch import MinHash, MinHashLSH

        class DatasketchSeen(NearSeen):
            def signature(self, shingles):
                signature = MinHash(num_perm=BANDS * ROWS)
                signature.update_batch([shingle.encode() for shingle in shingles])
                return signature

        seen = DatasketchSeen()
        seen._index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    start = time.perf_counter()
    found = sum(seen.like(problem) is not None for problem in read_records(str(path)))
    say(f"  {library}: {found:,} found in {time.perf_counter() - start:.1f} s of work")


def main(near_rows: int = 200_000, rows: int = 1_000_000) -> None:
    """Print everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report_near(write(make_rows(near_rows), folder / "near.jsonl"), folder / "out.jsonl")
        some = write(make_rows(near_rows // 10, seed=2), folder / "some.jsonl")
        for library in ("rensa", "datasketch"):
            say(f"  {library}, {near_rows // 10:,} rows: {run(__file__, '--drop-near', library, some)}")
        benchmark = folder / "benchmark.jsonl"
        many = write(make_many(rows, benchmark), folder / "many.jsonl")
        report_exact_and_decontaminated(many, benchmark, folder / "all.jsonl")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--drop-near"]:
        drop_near(sys.argv[2], Path(sys.argv[3]))
    else:
        main(*map(int, sys.argv[1:]))
