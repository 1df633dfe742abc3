"""Rows a second and peak memory of `r1kit data`, from JSON Lines, JSON, CSV and Parquet, and shuffled.

    python tests/bench/data.py [--rows 1000000] [--folder DIR]

Each run is a process of its own that writes a file; its peak is the most memory that it was resident with. A tenth of
the rows shows what of it is the same for any number of them.
"""

import argparse
import json
import subprocess
import sys
import time
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow
from pyarrow import csv, parquet

FORMS = {"rows.jsonl": (), "rows.json": (), "rows.csv": (), "rows.parquet": (), "rows.jsonl, shuffled": ("--shuffle",)}

PROGRAM = """
import atexit, sys
peak = lambda: [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
atexit.register(lambda: sys.stderr.write(peak()))
from r1kit.cli import main
main()
"""


def say(line: str) -> None:
    """Write one line."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def write_files(folder: Path, count: int) -> None:
    """Write the same rows in every form: about 400 bytes each, with gsm8k's columns."""
    chain = "We add the one to the other, and take away what was too much. " * 4
    schema = pyarrow.schema([(name, pyarrow.string()) for name in ("question", "answer", "level")])
    with (
        (folder / "rows.jsonl").open("w") as jsonl,
        (folder / "rows.json").open("w") as array,
        parquet.ParquetWriter(folder / "rows.parquet", schema) as table,
        csv.CSVWriter(folder / "rows.csv", schema) as cells,
    ):
        array.write("[")
        for start in range(0, count, 10_000):
            rows = [
                {
                    "question": f"What is {i} + {i + 1}, and why is it so?",
                    "answer": f"{chain}\n#### {2 * i + 1}",
                    "level": str(i % 5),
                }
                for i in range(start, min(count, start + 10_000))
            ]
            texts = [json.dumps(row) for row in rows]
            jsonl.write("\n".join(texts) + "\n")
            array.write(("," if start else "") + ",\n".join(texts))
            batch = pyarrow.Table.from_pylist(rows, schema)
            table.write_table(batch)
            cells.write_table(batch)
        array.write("]")


def measure(path: Path, flags: tuple[str, ...], output: Path) -> tuple[float, int]:
    """Return the seconds that a run takes, and its peak of memory in MiB, as it says itself at its end."""
    command = [sys.executable, "-c", PROGRAM, "data", str(path), *flags, "-o", str(output), "--overwrite"]
    started = time.perf_counter()
    run = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
    return time.perf_counter() - started, int(run.stderr.split()[-2]) // 1024


def digest(path: Path) -> str:
    """Return a hash of a file's content."""
    with path.open("rb") as file:
        return file_digest(file, "blake2b").hexdigest()


def main() -> None:
    """Measure every form at a tenth of the rows and at all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    for count in (arguments.rows // 10, arguments.rows):
        with TemporaryDirectory(dir=arguments.folder) as name:
            folder = Path(name)
            write_files(folder, count)
            first = ""
            for form, flags in FORMS.items():
                output = folder / "out.jsonl"
                seconds, peak = measure(folder / form.partition(",")[0], flags, output)
                say(f"{form:<22} {count:>9,} rows  {count / seconds:>8,.0f} rows/s  peak {peak} MiB")
                if not flags:
                    first = first or digest(output)
                    same = "the same records" if digest(output) == first else "OTHER RECORDS"
                    say(f"{'':<22} {same}")


if __name__ == "__main__":
    main()
