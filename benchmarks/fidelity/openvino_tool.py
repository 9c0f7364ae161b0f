"""Is OpenVINO's benchmark_app, or its conversion of torch's ExportedProgram, faster than our adapter?"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openvino as ov
import torch
from benchmarks.fidelity.common import arguments, compiled, prepared, side_by_side, stepping
from openvino.frontend import OpConversionFailure
from safetensors.torch import load_file

from pytest_inferena.machine import thread_budget
from pytest_inferena.prepare.sources import load_case

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = ("smollm2", "resnet50", "smolvla", "sd_unet", "whisper_tiny")
PRECISE = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


def tool(file: Path) -> float:
    """Median milliseconds that benchmark_app reports of two seconds of synchronous inference with a model."""
    command = [
        str(Path(sys.executable).with_name("benchmark_app")), "-m", str(file), "-d", "CPU", "-api", "sync",
        "-hint", "none", "-nstreams", "1", "-nthreads", str(thread_budget()), "-infer_precision", "f32", "-t", "2",
    ]  # fmt: skip
    report = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    ((median, unit),) = re.findall(r"Median: +([\d.]+) (ms|us)", report.stdout)
    return float(median) / (1000 if unit == "us" else 1)


def steady(step: Callable[[], Any]) -> float:
    """Median milliseconds of two seconds of steps without a pause, as benchmark_app takes them."""
    taken, end = [], time.perf_counter() + 2
    while (start := time.perf_counter()) < end:
        step()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e3


def converted(case: Any) -> Callable[[], Any]:
    """Inference by the vendor's own route from PyTorch: torch.export, ov.convert_model, compile."""
    with torch.no_grad():
        exported = torch.export.export(case.module, (), case.inputs, strict=False)
    model = ov.Core().compile_model(
        ov.convert_model(exported), "CPU", PRECISE | {"INFERENCE_NUM_THREADS": thread_budget()}
    )
    request = model.create_infer_request()
    for port, given in zip(model.inputs, case.inputs.values(), strict=True):
        request.set_tensor(port, ov.Tensor(given.numpy(), shared_memory=False))
    run: Callable[[], Any] = request.infer
    return run


def main() -> None:
    """Five models, inference; each is taken down before the next."""
    options = arguments(__doc__)
    for model in MODELS:
        target, ready = prepared(model, "openvino", "cpu", options.size)
        assert ready.exchange is not None
        case = load_case(target.model.source, options.size)
        case.module.load_state_dict(load_file(ready.program / "weights.safetensors"), strict=False)
        case.module.eval()
        step = stepping(compiled(target, ready, "inference"))
        ways = {"adapter": step}
        try:
            ways["convert_model(ExportedProgram)"] = converted(case)
        except OpConversionFailure as error:
            print(f"{target.model.title}: {str(error).strip().splitlines()[-1].removeprefix('-- ')}")
        side_by_side(f"{target.model.title}, inference", ways, options.rounds)
        del ways
        pairs = [(steady(step), tool(ready.exchange / "inference.onnx")) for _ in range(3)]
        print(f"  adapter, two seconds without pause   {'  '.join(f'{ours:.2f}' for ours, _ in pairs)} ms")
        print(f"  benchmark_app, two seconds           {'  '.join(f'{theirs:.2f}' for _, theirs in pairs)} ms")


if __name__ == "__main__":
    main()
