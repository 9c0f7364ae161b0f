"""Is the untouched module, exported by pnnx and run as in the script that pnnx writes, faster than our adapter?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ncnn
import pnnx
from benchmarks.fidelity.common import arguments, compiled, prepared, side_by_side, stepping
from safetensors.torch import load_file

from pytest_inferena.machine import thread_budget
from pytest_inferena.prepare.sources import load_case

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = ("resnet50", "sd_unet")
"""Models whose modules pnnx takes as they are. Their batch is the first dimension of inputs and outputs."""


def idiom(case: Any, folder: Path) -> Callable[[], Any]:
    """Inference by hand, in float32."""
    inputs = tuple(case.inputs.values())
    pnnx.export(case.module, str(folder / "plain.pt"), inputs, fp16=False)
    net = ncnn.Net()
    net.opt.num_threads = thread_budget()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(folder / "plain.ncnn.param"))
    net.load_model(str(folder / "plain.ncnn.bin"))
    given = [ncnn.Mat(value.numpy(), batch_index=0).clone() for value in inputs]

    def run() -> Any:
        extractor = net.create_extractor()
        for index, value in enumerate(given):
            extractor.input(f"in{index}", value)
        return extractor.extract("out0")

    return run


def main() -> None:
    """Two models, inference; each is taken down before the next."""
    options = arguments(__doc__)
    for model in MODELS:
        target, ready = prepared(model, "ncnn", "cpu", options.size)
        case = load_case(target.model.source, options.size)
        case.module.load_state_dict(load_file(ready.program / "weights.safetensors"), strict=False)
        case.module.eval()
        with tempfile.TemporaryDirectory() as folder:
            ways = {
                "adapter": stepping(compiled(target, ready, "inference")),
                "pnnx.export of the module": idiom(case, Path(folder)),
            }
            side_by_side(f"{target.model.title}, inference", ways, options.rounds)


if __name__ == "__main__":
    main()
