"""Is a session on a plain torch.onnx export of the module faster than our adapter's?

torch.onnx's exporter is in the dependency group `fidelity`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import torch
from benchmarks.fidelity.common import arguments, compiled, prepared, side_by_side, stepping
from safetensors.torch import load_file

from pytest_inferena.machine import thread_budget
from pytest_inferena.prepare.sources import load_case

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = ("smollm2", "resnet50", "smolvla", "sd_unet", "whisper_tiny")


def plain(case: Any, folder: Path) -> Callable[[], None]:
    """Inference as anybody would do it: export, open at the highest level, bind inputs and results."""
    file = folder / "plain.onnx"
    with torch.no_grad():
        outputs = case.module(**case.inputs)
        torch.onnx.export(case.module, (), file, kwargs=case.inputs, dynamo=True, external_data=True, verbose=False)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = thread_budget(), 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    held = []  # kept by `run`: the binding keeps no array alive
    for value, given in zip(session.get_inputs(), case.inputs.values(), strict=True):
        held.append(ort.OrtValue.ortvalue_from_numpy(given.numpy()))
        binding.bind_ortvalue_input(value.name, held[-1])
    results = outputs if isinstance(outputs, tuple) else (outputs,)
    for value, result in zip(session.get_outputs(), results, strict=True):
        held.append(ort.OrtValue.ortvalue_from_shape_and_type(list(result.shape), np.float32))
        binding.bind_ortvalue_output(value.name, held[-1])

    def run(_held: object = held) -> None:
        session.run_with_iobinding(binding)

    return run


def main() -> None:
    """Five models, inference; each is taken down before the next."""
    options = arguments(__doc__)
    for model in MODELS:
        target, ready = prepared(model, "onnxruntime", "cpu", options.size)
        case = load_case(target.model.source, options.size)
        case.module.load_state_dict(load_file(ready.program / "weights.safetensors"), strict=False)
        case.module.eval()
        with tempfile.TemporaryDirectory() as folder:
            by_hand = plain(case, Path(folder))
            ways = {"plain torch.onnx export": by_hand, "adapter": stepping(compiled(target, ready, "inference"))}
            side_by_side(f"{target.model.title}, inference", ways, options.rounds)


if __name__ == "__main__":
    main()
