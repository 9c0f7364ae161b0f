"""Is rten's own command line tool quicker with a model than our adapter with the same ONNX file?"""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from benchmarks.fidelity.common import arguments
from benchmarks.fidelity.rust import AGREE, ENTRY, adapter
from safetensors.numpy import load_file, save_file

from pytest_inferena import cache
from pytest_inferena.platform import thread_budget
from pytest_inferena.worker.client import affinity

if TYPE_CHECKING:
    from pytest_inferena.prepare import Prepared

MODELS = ("smollm2", "resnet50")
VERSION = "=0.27.0"
TURNS = 5


def installed() -> str:
    """The tool, of the adapter's version."""
    root = cache.root() / "rten-cli"
    target = str(cache.root() / "cargo")
    command = ["cargo", "install", "--quiet", "rten-cli", "--version", VERSION, "--locked", "--root", str(root)]
    subprocess.run([*command, "--target-dir", target], check=True)
    return str(root / "bin" / "rten")


def tool(command: str, ready: Prepared, folder: Path, rounds: int) -> tuple[list[float], float]:
    """Milliseconds of each step but the first three, and how far the results are from the adapter's."""
    assert ready.exchange is not None
    inputs = load_file(ready.program / f"{ENTRY}.inputs.safetensors")
    narrow = {name: value.astype(np.int32) if value.dtype == np.int64 else value for name, value in inputs.items()}
    save_file(narrow, folder / "inputs.safetensors")  # rten has integers of 32 bits only
    options = {
        "--num-threads": thread_budget(), "--n-iters": rounds + 3, "--inputs": folder / "inputs.safetensors",
        "--check-outputs": folder / "outputs.safetensors",
    }  # fmt: skip
    written = [str(part) for pair in options.items() for part in pair]
    with affinity(thread_budget()):
        done = subprocess.run(
            [command, "--mmap", "--prepack", *written, ready.exchange / f"{ENTRY}.onnx"],
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    [off] = re.findall(r"max diff ([\d.]+)", done.stdout)
    return [float(taken) for taken in re.findall(r"in ([\d.]+)ms", done.stdout)][3:], float(off)


def main() -> None:
    """A language model and a convolutional network."""
    options = arguments(__doc__)
    command = installed()
    for model in MODELS:
        target, ready, ours = adapter(model, "rten", "cpu", options.size)
        mine, theirs = [], []
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            save_file(ours.outputs(), folder / "outputs.safetensors")
            for _ in range(TURNS):
                loop = {"min_rounds": options.rounds, "max_rounds": options.rounds}
                mine += [ns / 1e6 for ns in ours.ask("measure", entry=ENTRY, loop=loop)["ns"]]
                samples, off = tool(command, ready, folder, options.rounds)
                theirs += samples
        assert off <= AGREE, f"off by {off}: the two are not the same work"
        first, second = statistics.median(theirs), statistics.median(mine)
        print(f"\n{target.model.title}, {ENTRY}, medians of {TURNS} x {options.rounds}; off by {off:.6f}")
        print(
            f"  {'rten':<12} {first:9.2f} ms\n  {'adapter':<12} {second:9.2f} ms   {second / first - 1:+.1%}",
            flush=True,
        )
        ours.worker.close()


if __name__ == "__main__":
    main()
