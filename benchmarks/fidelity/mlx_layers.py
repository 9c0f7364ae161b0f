"""Are networks written by hand for MLX, of its own layers and functions, under mx.compile, faster than our adapter?"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks.fidelity.common import arguments, compiled, prepared, side_by_side, stepping
from safetensors.torch import load_file

from pytest_inferena import Program
from pytest_inferena.prepare.sources import load_case

if TYPE_CHECKING:
    from collections.abc import Callable

HEADS, GROUPS, EPS, THETA = 9, 3, 1e-5, 100_000.0


def llama(mx: Any, p: dict[str, Any], tokens: Any) -> Any:
    """Tokens (1, S) to logits (1, S, vocabulary), by mx.fast's norm, rotary embedding and attention."""
    x = p["model.embed_tokens.weight"][tokens]
    for index in range(sum(name.endswith("input_layernorm.weight") for name in p)):
        at = f"model.layers.{index}"
        h = mx.fast.rms_norm(x, p[f"{at}.input_layernorm.weight"], EPS)
        q, k, v = (
            (h @ p[f"{at}.self_attn.{name}_proj.weight"].T).reshape(*h.shape[:2], heads, -1).transpose(0, 2, 1, 3)
            for name, heads in (("q", HEADS), ("k", GROUPS), ("v", GROUPS))
        )
        q, k = (mx.fast.rope(t, t.shape[-1], traditional=False, base=THETA, scale=1.0, offset=0) for t in (q, k))
        attended = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask="causal")
        x = x + attended.transpose(0, 2, 1, 3).reshape(x.shape) @ p[f"{at}.self_attn.o_proj.weight"].T
        h = mx.fast.rms_norm(x, p[f"{at}.post_attention_layernorm.weight"], EPS)
        gate, up = (h @ p[f"{at}.mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        x = x + (gate * mx.sigmoid(gate) * up) @ p[f"{at}.mlp.down_proj.weight"].T
    return mx.fast.rms_norm(x, p["model.norm.weight"], EPS) @ p["model.embed_tokens.weight"].T


def resnet(mx: Any, p: dict[str, Any], images: Any) -> Any:
    """Images (B, H, W, 3) to logits, by mx.conv2d and mlx.nn's layers; weights (O, H, W, I), statistics in `p`."""
    from mlx import nn

    def unit(x: Any, at: str, stride: int = 1) -> Any:
        weight = p[f"{at}.convolution.weight"]
        x = mx.conv2d(x, weight, stride, weight.shape[1] // 2)
        norm = {key: p[f"{at}.normalization.{key}"] for key in ("weight", "bias", "running_mean", "running_var")}
        scale = norm["weight"] * mx.rsqrt(norm["running_var"] + EPS)
        return x * scale + (norm["bias"] - norm["running_mean"] * scale)

    x = nn.relu(unit(images, "resnet.embedder.embedder", 2))
    x = nn.MaxPool2d(3, 2, 1)(x)
    for stage in range(4):
        for layer in range(
            sum(f"stages.{stage}.layers.{at}.layer.0.convolution.weight" in name for at in range(9) for name in p)
        ):
            at = f"resnet.encoder.stages.{stage}.layers.{layer}"
            step = 2 if stage > 0 and layer == 0 else 1
            short = unit(x, f"{at}.shortcut", step) if f"{at}.shortcut.convolution.weight" in p else x
            h = nn.relu(unit(x, f"{at}.layer.0"))
            h = nn.relu(unit(h, f"{at}.layer.1", step))
            x = nn.relu(unit(h, f"{at}.layer.2") + short)
    return x.mean((1, 2)) @ p["classifier.1.weight"].T + p["classifier.1.bias"]


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Mean over rows."""
    from mlx import nn

    return nn.losses.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), reduction="mean")


def by_hand(mx: Any, target: Any, ready: Any, size: str) -> dict[str, Callable[[], Any]]:
    """Inference and a training step of either model."""
    case = load_case(target.model.source, size)
    state = {name: value.numpy() for name, value in case.module.state_dict().items()}
    state |= {name: value.numpy() for name, value in load_file(ready.program / "weights.safetensors").items()}
    arrays = Program.read(ready.program).entry("training").arrays("inputs")
    network = llama if "input_ids" in arrays else resnet
    trained = {name for name, _ in case.module.named_parameters()}
    p = {name: mx.array(np.moveaxis(value, 1, -1) if value.ndim == 4 else value) for name, value in state.items()}
    free, fixed = ({k: v for k, v in p.items() if (k in trained) is wanted} for wanted in (True, False))
    given = next(value for name, value in arrays.items() if name != "labels")
    x, labels = mx.array(np.moveaxis(given, 1, -1) if given.ndim == 4 else given), mx.array(arrays["labels"])

    def forward(free: dict[str, Any], x: Any) -> Any:
        return network(mx, {**fixed, **free}, x)

    backward = mx.value_and_grad(lambda free, x: cross_entropy(forward(free, x), labels))
    plain = {"inference": forward, "training": backward}
    made = {f"{metric}, compiled": mx.compile(function) for metric, function in plain.items()} | plain
    return {name: functools.partial(lambda function: mx.eval(function(free, x)), made[name]) for name in made}


def main() -> None:
    """SmolLM2 and ResNet-50, full size only: the constants above are theirs."""
    options = arguments(__doc__)
    for model in ("smollm2", "resnet50"):
        target, ready = prepared(model, "mlx", "cpu", "full")
        steps = {metric: stepping(compiled(target, ready, metric)) for metric in ("inference", "training")}
        import mlx.core as mx  # after the adapter, which loads its BLAS

        hands = by_hand(mx, target, ready, "full")
        for metric, step in steps.items():
            ways = {
                "MLX by hand, compiled": hands[f"{metric}, compiled"],
                "MLX by hand, lazy": hands[metric],
                "adapter": step,
            }
            side_by_side(f"{target.model.title}, {metric}", ways, options.rounds)


if __name__ == "__main__":
    main()
