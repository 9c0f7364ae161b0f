"""Is the untouched module, exported and compiled by AOTInductor as its documentation shows, faster than our adapter?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from benchmarks.fidelity.common import arguments, compiled, prepared, side_by_side, stepping
from safetensors.torch import load_file

from pytest_inferena.prepare.sources import load_case

if TYPE_CHECKING:
    from collections.abc import Callable


def idiom(case: Any, folder: Path) -> Callable[[], Any]:
    """Inference by hand."""
    with torch.no_grad():
        exported = torch.export.export(case.module, (), case.inputs, strict=False)
    package = torch._inductor.aoti_compile_and_package(  # noqa: SLF001 - documented under this name
        exported, package_path=str(folder / "plain.pt2")
    )
    loaded = torch._inductor.aoti_load_package(package)  # noqa: SLF001
    return lambda: loaded(**case.inputs)


def main() -> None:
    """Two models, inference; each is taken down before the next."""
    options = arguments(__doc__)
    for model in ("resnet50", "smollm2"):
        target, ready = prepared(model, "pytorch", "aot", options.size)
        case = load_case(target.model.source, options.size)
        case.module.load_state_dict(load_file(ready.program / "weights.safetensors"), strict=False)
        case.module.eval()
        step = stepping(compiled(target, ready, "inference"))
        with tempfile.TemporaryDirectory() as folder:
            ways = {"adapter": step, "AOTInductor on the module": idiom(case, Path(folder))}
            side_by_side(f"{target.model.title}, inference", ways, options.rounds)


if __name__ == "__main__":
    main()
