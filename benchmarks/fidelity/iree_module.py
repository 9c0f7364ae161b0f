"""Is iree-benchmark-module, IREE's own tool, quicker with a module than our adapter with the same one?"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from benchmarks.fidelity.common import arguments, prepared
from iree import runtime

from pytest_inferena import Program, Setup
from pytest_inferena.machine import thread_budget
from pytest_inferena.worker.loading import load_adapter
from pytest_inferena.worker.server import Weights
from pytest_inferena.worker.timing import Loop, measure

MODELS = ("smollm2", "resnet50")
TURNS = 3


def command(folder: Path, inputs: list[np.ndarray[Any, Any]], function: str, rounds: int) -> list[str]:
    """The tool's, with module, parameters and inputs from files in a folder."""
    for number, array in enumerate(inputs):
        np.save(folder / f"{number}.npy", array)
    return [
        runtime.benchmark_exe(), "--device=local-task", f"--task_topology_group_count={thread_budget()}",
        f"--module={folder / 'module.vmfb'}", f"--parameters=model={folder / 'parameters.irpa'}",
        f"--function={function}", *(f"--input=@{folder / f'{number}.npy'}" for number, _ in enumerate(inputs)),
        f"--benchmark_min_time={rounds}x", "--benchmark_min_warmup_time=0.5",
        f"--benchmark_out={folder / 'out.json'}", "--benchmark_out_format=json",
    ]  # fmt: skip


def compare(model: str, size: str, rounds: int, folder: Path) -> None:
    """One model's inference, adapter and tool in turns."""
    target, ready = prepared(model, "iree", "llvm_cpu", size)
    made = load_adapter("iree", target.framework.adapter)
    adapter = made.Adapter(Setup("llvm_cpu", "cpu", thread_budget(), folder, ready.exchange))
    program = Program.read(ready.program)
    adapter.load(program, Weights(ready.program / "weights.safetensors"))
    entry = program.entry("inference")
    source = onnx.load(adapter.exchange / "inference.onnx", load_external_data=False)
    arrays = made.Arrays(entry, adapter.weights)
    parameters = made.outside(source, arrays)
    inputs = [arrays[value.name] for value in source.graph.input]
    binary = made.built(made.imported(source))
    (folder / "module.vmfb").write_bytes(binary)
    parameters.create_archive_file(str(folder / "parameters.irpa"))
    step = made.Step(adapter.config, binary, parameters, inputs, [*entry.outputs])
    loop = Loop(min_rounds=rounds, max_rounds=rounds, max_time=60)
    ours, theirs = [], []
    for _ in range(TURNS):
        ours.append(statistics.median(measure(step, loop).samples) / 1e6)
        subprocess.run(
            command(folder, inputs, step.function.name, rounds), check=True, capture_output=True, env=dict(os.environ)
        )
        (row,) = json.loads((folder / "out.json").read_text())["benchmarks"]
        theirs.append(row["real_time"] / {"ms": 1, "us": 1e3, "ns": 1e6}[row["time_unit"]])
    first, second = statistics.median(theirs), statistics.median(ours)
    print(f"\n{target.model.title}, inference, {TURNS} turns of {rounds}")
    print(f"  {'iree-benchmark-module':<34} {first:9.2f} ms   (means {', '.join(f'{value:.2f}' for value in theirs)})")
    print(f"  {'adapter':<34} {second:9.2f} ms   {second / first - 1:+.1%}")


def main() -> None:
    """A language model and a convolutional network."""
    options = arguments(__doc__)
    for model in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            compare(model, options.size, options.rounds, Path(folder))


if __name__ == "__main__":
    main()
