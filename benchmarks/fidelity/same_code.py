"""How often runs of unchanged code disagree, with one process a cell and with several.

    python -m benchmarks.fidelity.same_code [--runs 4] [--processes 1 3] [-- PYTEST...]

Runs take turns, so that what else the machine does falls on each kind alike. Two runs disagree on a cell where the 95 %
intervals of its median lie apart.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferena import results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_inferena.cell import Key

CELLS = ("-k", "smollm2", "-m", "(eager or onnxruntime or jax) and inference", "--inferena-size=tiny")


def main() -> None:
    """Run all and print a row for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 3])
    parser.add_argument("arguments", nargs="*", default=CELLS, metavar="PYTEST")
    given = parser.parse_args()
    runs: dict[int, list[dict[Key, results.Record]]] = {count: [] for count in given.processes}
    walls: dict[int, list[float]] = {count: [] for count in given.processes}
    for number in range(given.runs):
        for count in given.processes:
            began = time.monotonic()
            runs[count].append(measured(count, given.arguments))
            walls[count].append(time.monotonic() - began)
            print(f"run {number + 1} of {given.runs}, {count} processes: {walls[count][-1]:.0f} s", file=sys.stderr)
    print("| processes | pairs apart | apart by over 5 % | medians moved (max/min − 1) | half an interval | seconds |")
    print("|---|---|---|---|---|---|")
    for count in given.processes:
        print(f"| {count} | {row(runs[count])} | {statistics.median(walls[count]):.0f} |")


def measured(processes: int, arguments: Sequence[str]) -> dict[Key, results.Record]:
    """The cells of one run that have an interval."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "run.jsonl"
        options = [f"--inferena-processes={processes}", f"--inferena-results={journal}", "-q", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", "benchmarks", *arguments, *options]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout[-4000:]}")
        return {record.key: record for record in results.read(journal).records if record.interval}


def row(runs: Sequence[dict[Key, results.Record]]) -> str:
    """What runs of the same number of processes come to."""
    pairs = apart = far = 0
    for key in runs[0]:
        for one, other in itertools.combinations([run[key] for run in runs], 2):
            gap = between(one, other)
            pairs, apart, far = pairs + 1, apart + (gap > 0), far + (gap > 0.05)
    moved, halves = [], []
    for key in runs[0]:
        medians = [run[key].median or 0 for run in runs]
        moved.append(max(medians) / min(medians) - 1)
        halves += [half(run[key]) for run in runs]
    spread = f"{min(moved):.1%} to {max(moved):.1%}, half of them over {statistics.median(moved):.1%}"
    return f"{apart} of {pairs} | {far} | {spread} | {statistics.median(halves):.1%}"


def half(record: results.Record) -> float:
    """Half the width of an interval, as a share of the median."""
    low, high = record.interval or (0.0, 0.0)
    return (high - low) / 2 / (record.median or 1)


def between(one: results.Record, other: results.Record) -> float:
    """How far two intervals lie apart, as a share of the lower one's end; negative where they overlap."""
    low, high = sorted([one.interval or (0.0, 0.0), other.interval or (0.0, 0.0)])
    return high[0] / low[1] - 1


if __name__ == "__main__":
    main()
