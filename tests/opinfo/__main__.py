"""The command: holds operators to PyTorch by its own samples, and prints what is not right, and how many are.

It goes on where it was stopped; `rm -r .opinfo` forgets everything.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import torch
from tests.opinfo import outcome
from tests.opinfo.samples import DTYPES, title
from torch.testing._internal.common_methods_invocations import op_db

FILE = Path(__file__).parents[2] / ".opinfo" / "pytorch.jsonl"


def main() -> None:
    """Try everything, or what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.opinfo", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="OPERATOR", help="as PyTorch's tests name it; without: all")
    parser.add_argument("--dtype", choices=[*DTYPES], action="append", help="one of these; may be given several times")
    parser.add_argument(
        "--results", type=Path, default=FILE, metavar="FILE", help="lines of JSON (default: %(default)s)"
    )
    options = parser.parse_args()
    chosen, file = options.names, options.results
    infos = {title(info): info for info in op_db}
    if unknown := {*chosen} - infos.keys():
        parser.error(f"PyTorch has no samples of {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    file.parent.mkdir(exist_ok=True)
    file.touch()
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    done = {(row["operator"], row["dtype"]) for row in rows}
    for dtype in options.dtype or DTYPES:
        for name in chosen or infos:
            if DTYPES[dtype] in infos[name].dtypes and (name, dtype) not in done:
                rows.append(outcome.of(infos[name], DTYPES[dtype]))
                with file.open("a", encoding="utf-8") as lines:
                    print(json.dumps(rows[-1]), file=lines)
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row["counts"])
        for kind, what in row["said"].items():
            print(f"{row['operator']} {row['dtype']}: {kind}: {what}")
    print(f"{len(rows)} operators and dtypes, samples:", ", ".join(f"{n} {kind}" for kind, n in counts.items()))


main()
