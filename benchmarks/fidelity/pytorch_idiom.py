"""Is the untouched module under torch.compile, as anybody would write it, faster than our adapter?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from benchmarks.fidelity.common import arguments, compiled, prepared, side_by_side, stepping
from safetensors.torch import load_file

from pytest_inferena.prepare.sources import load_case

if TYPE_CHECKING:
    from collections.abc import Callable


def idiom(case: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Inference and a training step by hand."""
    module = torch.compile(case.module)

    def infer() -> Any:
        with torch.no_grad():
            return module(**case.inputs)

    def train() -> None:
        case.module.zero_grad(set_to_none=True)
        case.loss(module(**case.inputs), **case.targets).backward()

    return infer, train


def main() -> None:
    """Both models, inference and training."""
    options = arguments(__doc__)
    for model in ("smollm2", "resnet50"):
        target, ready = prepared(model, "pytorch", "inductor", options.size)
        case = load_case(target.model.source, options.size)
        case.module.load_state_dict(load_file(ready.program / "weights.safetensors"), strict=False)
        case.module.eval()
        by_hand = dict(zip(("inference", "training"), idiom(case), strict=True))
        for metric, hand in by_hand.items():
            ways = {"adapter": stepping(compiled(target, ready, metric)), "torch.compile(module)": hand}
            side_by_side(f"{target.model.title}, {metric}", ways, options.rounds)


if __name__ == "__main__":
    main()
