"""Is rten's own command line tool quicker with a model than our adapter with the same ONNX file?"""

from __future__ import annotations

import re
import resource
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from benchmarks.fidelity.common import arguments
from benchmarks.fidelity.rust import AGREE, ENTRY, adapter
from safetensors.numpy import load_file, save_file

from pytest_inferena.machine import thread_budget
from pytest_inferena.processes.client import affinity
from pytest_inferena.store import cache

if TYPE_CHECKING:
    from pytest_inferena.processes.preparer import Prepared

MODELS = ("smollm2", "resnet50")
VERSION = "=0.27.0"
TURNS = 5
WARMUPS = 3


def installed() -> str:
    """The tool, of the adapter's version."""
    root = cache.root() / "rten-cli"
    target = str(cache.root() / "cargo")
    command = ["cargo", "install", "--quiet", "rten-cli", "--version", VERSION, "--locked", "--root", str(root)]
    subprocess.run([*command, "--target-dir", target], check=True)
    return str(root / "bin" / "rten")


def tool(command: str, ready: Prepared, folder: Path, steps: int) -> str:
    """What the tool prints of so many steps, and how far its results are from the adapter's."""
    assert ready.exchange is not None
    inputs = load_file(ready.program / f"{ENTRY}.inputs.safetensors")
    narrow = {name: value.astype(np.int32) if value.dtype == np.int64 else value for name, value in inputs.items()}
    save_file(narrow, folder / "inputs.safetensors")  # rten has integers of 32 bits only
    options = {
        "--num-threads": thread_budget(), "--n-iters": steps, "--inputs": folder / "inputs.safetensors",
        "--check-outputs": folder / "outputs.safetensors",
    }  # fmt: skip
    written = [str(part) for pair in options.items() for part in pair]
    with affinity(thread_budget()):
        return subprocess.run(
            [command, "--mmap", "--prepack", *written, ready.exchange / f"{ENTRY}.onnx"],
            check=True, stdout=subprocess.PIPE, text=True,
        ).stdout  # fmt: skip


def spent() -> float:
    """CPU milliseconds of the tool's runs so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (usage.ru_utime + usage.ru_stime)


def compare(command: str, model: str, size: str, rounds: int, folder: Path) -> None:
    """Wall time and CPU time of a step, the tool's without its start. A busy machine moves the wall time."""
    target, ready, ours = adapter(model, "rten", "cpu", size)
    save_file(ours.outputs(), folder / "outputs.safetensors")
    wall: dict[str, list[float]] = {"rten": [], "adapter": []}
    cpu: dict[str, list[float]] = {"rten": [], "adapter": []}
    for _ in range(TURNS):
        reply = ours.ask("measure", entry=ENTRY, loop={"min_rounds": rounds, "max_rounds": rounds})
        wall["adapter"] += [ns / 1e6 for ns in reply["ns"]]
        cpu["adapter"].append(reply["cpu_per_wall"] * statistics.mean(reply["ns"]) / 1e6)
        before = spent()
        tool(command, ready, folder, WARMUPS)
        between = spent()
        printed = tool(command, ready, folder, WARMUPS + rounds)
        cpu["rten"].append((spent() - between - (between - before)) / rounds)
        wall["rten"] += [float(taken) for taken in re.findall(r"in ([\d.]+)ms", printed)][WARMUPS:]
        [off] = re.findall(r"max diff ([\d.]+)", printed)
        assert float(off) <= AGREE, f"off by {off}: the two are not the same work"
    ours.worker.close()
    print(f"\n{target.model.title}, {ENTRY}, medians of {TURNS} x {rounds}; off by {off}")
    for name in wall:
        shown = [statistics.median(kind[name]) for kind in (wall, cpu)]
        more = [statistics.median(kind[name]) / statistics.median(kind["rten"]) - 1 for kind in (wall, cpu)]
        print(f"  {name:<10} {shown[0]:9.2f} ms {more[0]:+.1%}   CPU {shown[1]:9.2f} ms {more[1]:+.1%}", flush=True)


def main() -> None:
    """A language model and a convolutional network."""
    options = arguments(__doc__)
    command = installed()
    for model in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            compare(command, model, options.size, options.rounds, Path(folder))


if __name__ == "__main__":
    main()
