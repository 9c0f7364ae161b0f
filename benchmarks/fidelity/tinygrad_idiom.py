"""Is a ResNet written by hand for tinygrad, under TinyJit, faster than our adapter?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.fidelity.common import arguments, compiled, prepared, side_by_side, stepping
from safetensors.torch import load_file

from pytest_inferena import Program
from pytest_inferena.prepare.sources import load_case

if TYPE_CHECKING:
    from collections.abc import Callable

    from tinygrad import Tensor

EPS = 1e-5


def resnet(p: dict[str, Tensor], images: Tensor) -> Tensor:
    """Images (B, 3, H, W) to logits, by Tensor's own convolution, batch norm and pool."""

    def unit(x: Tensor, at: str, stride: int = 1) -> Tensor:
        weight = p[f"{at}.convolution.weight"]
        x = x.conv2d(weight, stride=stride, padding=weight.shape[2] // 2)
        scale, shift, mean, var = (
            p[f"{at}.normalization.{key}"] for key in ("weight", "bias", "running_mean", "running_var")
        )
        return x.batchnorm(scale, shift, mean, (var + EPS).rsqrt())

    x = unit(images, "resnet.embedder.embedder", 2).relu().max_pool2d((3, 3), 2, padding=1)
    for stage in range(4):
        prefix = f"resnet.encoder.stages.{stage}.layers"
        for layer in range(sum(f"{prefix}.{at}.layer.0.convolution.weight" in p for at in range(9))):
            at, stride = f"{prefix}.{layer}", 2 if stage > 0 and layer == 0 else 1
            short = unit(x, f"{at}.shortcut", stride) if f"{at}.shortcut.convolution.weight" in p else x
            h = unit(unit(x, f"{at}.layer.0").relu(), f"{at}.layer.1", stride).relu()
            x = (unit(h, f"{at}.layer.2") + short).relu()
    return x.mean((2, 3)).linear(p["classifier.1.weight"].transpose(), p["classifier.1.bias"])


def by_hand(target: Any, ready: Any, size: str) -> Callable[[], Any]:
    """The latency entry: one image."""
    from tinygrad import Device, TinyJit
    from tinygrad import Tensor as Made

    case = load_case(target.model.source, size)
    state = case.module.state_dict() | load_file(ready.program / "weights.safetensors")
    p = {name: Made(value.numpy()).realize() for name, value in state.items() if value.is_floating_point()}
    (array,) = Program.read(ready.program).entry("latency").arrays("inputs").values()
    images = Made(array).realize()
    step = TinyJit(lambda: resnet(p, images).realize())

    def run() -> None:
        step()
        Device[Device.DEFAULT].synchronize()

    return run


def main() -> None:
    """ResNet-50, one image."""
    options = arguments(__doc__)
    target, ready = prepared("resnet50", "tinygrad", "cpu", options.size)
    step = stepping(compiled(target, ready, "latency"))  # first: it sets the engine's environment
    ways = {"tinygrad by hand": by_hand(target, ready, options.size), "adapter": step}
    side_by_side(f"{target.model.title}, latency", ways, options.rounds)


if __name__ == "__main__":
    main()
