"""The time of `r1kit --help` against that of importing typer alone, in fresh processes.

    python tests/bench/help.py

Pairs of runs, one after the other; prints both medians and the median ratio.
"""

import statistics
import subprocess
import sys
import time

PAIRS = 21


def seconds(*arguments: str) -> float:
    """Return how long one process takes."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Run the benchmark."""
    pairs = [(seconds("-m", "r1kit", "--help"), seconds("-c", "import typer")) for _ in range(PAIRS)]
    ours, typer = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    sys.stdout.write(f"r1kit --help {ours * 1000:.0f} ms   import typer {typer * 1000:.0f} ms   ratio {ratio:.2f}\n")


if __name__ == "__main__":
    main()
