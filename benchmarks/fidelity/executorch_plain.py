"""Is the module itself, exported and lowered as ExecuTorch's documentation does it, faster than our adapter's?"""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import torch
from benchmarks.fidelity.common import arguments, compiled, prepared, side_by_side, stepping
from safetensors.torch import load_file

from pytest_inferena.prepare.sources import load_case

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # everything in it is experimental, it says
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = ("sd_unet", "resnet50")


def plain(case: Any) -> Callable[[], Any]:
    """Inference by the runtime's own Python interface, on the inputs of every call."""
    inputs = tuple(case.inputs.values())
    with torch.no_grad():
        exported = torch.export.export(case.module, inputs, strict=False)
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    program = Runtime.get().load_program(lowered.buffer)
    method = program.load_method("forward")

    def run(_held: object = (lowered, program)) -> object:  # a method keeps neither its program nor its bytes alive
        return method.execute(inputs)

    return run


def main() -> None:
    """Inference, and what lowering takes."""
    options = arguments(__doc__)
    for model in MODELS:
        target, ready = prepared(model, "executorch", "xnnpack", options.size)
        case = load_case(target.model.source, options.size)
        case.module.load_state_dict(load_file(ready.program / "weights.safetensors"), strict=False)
        case.module.eval()
        start = time.perf_counter()
        step = stepping(compiled(target, ready, "inference"))
        middle = time.perf_counter()
        by_hand = plain(case)
        print(f"lowering: adapter {middle - start:.1f} s, as documented {time.perf_counter() - middle:.1f} s")
        ways = {"runtime as documented": by_hand, "adapter": step}
        side_by_side(f"{target.model.title}, inference", ways, options.rounds)


if __name__ == "__main__":
    main()
