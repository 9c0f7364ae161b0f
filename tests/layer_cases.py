"""Products, convolutions, pools, norms, attention and losses, by example: the second part of operator_cases.py."""

from __future__ import annotations

from typing import Any

import torch
from tests.tensor_cases import IMAGE, SQUARE, Case, X, Y, floats, positive
from torch import Tensor

WINDOW: dict[str, Any] = {"kernel_size": [3, 3], "stride": [2, 2], "padding": [1, 1], "dilation": [1, 1]}
PLAIN: dict[str, Any] = {"stride": [1], "padding": [1], "dilation": [1], "groups": 1}
STRIDED: dict[str, Any] = {"stride": [2, 1], "padding": [1, 0], "dilation": [1, 2], "groups": 2}
DEPTHWISE: dict[str, Any] = {"stride": [2, 3], "padding": [2, 1], "dilation": [2, 1], "groups": 4}
QUERY, KEY, VALUE, SHARED = floats(2, 4, 5, 8), floats(2, 4, 6, 8), floats(2, 4, 6, 8), floats(2, 2, 5, 8)
FREE: dict[str, Any] = {"is_causal": False, "scale": 0.3, "enable_gqa": False}
MASK = torch.tensor([[True, True, False, True, False, True]]).expand(5, 6).contiguous()
LOGITS, LABELS = floats(4, 7), torch.tensor([3, -100, 0, 6])
CHANNEL: dict[str, Any] = {"weight": floats(4), "bias": floats(4)}


def _products() -> dict[str, Case]:
    kernel, bias = floats(6, 2, 3, 2), floats(6)
    turned = {"stride": [2, 2], "padding": [1, 1], "dilation": [1, 1], "transposed": True}
    wide = {"stride": [2], "padding": [2], "dilation": [2], "groups": 2}
    return {
        "linear": ("linear", {"input": X, "weight": SQUARE, "bias": SQUARE[0]}),
        "linear-flat": ("linear", {"input": X[0], "weight": SQUARE, "bias": None}),
        "linear-narrow": ("linear", {"input": X, "weight": floats(5, 4), "bias": None}),
        "matmul": ("matmul", {"self": X, "other": SQUARE}),
        "matmul-flat": ("matmul", {"self": X[0], "other": SQUARE}),
        "matmul-batch": ("matmul", {"self": X, "other": Y.mT}),
        "conv1d": ("conv1d", {"input": X, "weight": floats(5, 3, 3), "bias": floats(5), **PLAIN}),
        "conv1d-groups": ("conv1d", {"input": floats(1, 4, 9), "weight": floats(6, 2, 3), "bias": None, **wide}),
        "conv2d": ("conv2d", {"input": IMAGE, "weight": kernel, "bias": bias, **STRIDED}),
        "conv2d-depthwise": ("conv2d", {"input": IMAGE, "weight": floats(4, 1, 3, 3), "bias": None, **DEPTHWISE}),
        "convolution": ("convolution", {
            "input": IMAGE, "weight": floats(5, 4, 3, 3), "bias": floats(5), "stride": [2, 2], "padding": [1, 1],
            "dilation": [1, 1], "transposed": False, "output_padding": [0, 0], "groups": 1,
        }),
        "convolution-rows": ("convolution", {
            "input": X, "weight": floats(5, 3, 3), "bias": None, "stride": [2], "padding": [1], "dilation": [1],
            "transposed": False, "output_padding": [0], "groups": 1,
        }),
        "convolution-transposed": ("convolution", {
            "input": IMAGE, "weight": floats(4, 3, 3, 3), "bias": None, **turned, "output_padding": [1, 0],
            "groups": 2,
        }),
    }  # fmt: skip


def _norms() -> dict[str, Case]:
    bare: dict[str, Any] = {"weight": None, "bias": None, "eps": 1e-3}
    stored = {"running_mean": floats(4), "running_var": positive(4), "eps": 1e-3}
    return {
        "batch_norm": ("batch_norm", {"input": IMAGE, **CHANNEL, **stored}),
        "batch_norm-rows": ("batch_norm", {"input": SQUARE, **CHANNEL, **stored}),
        "group_norm": ("group_norm", {"input": IMAGE, "num_groups": 2, **CHANNEL, "eps": 1e-3}),
        "group_norm-bare": ("group_norm", {"input": X, "num_groups": 3, **bare}),
        "layer_norm": ("layer_norm", {"input": X, "normalized_shape": [4], **CHANNEL, "eps": 1e-3}),
        "layer_norm-weight": ("layer_norm", {"input": X, "normalized_shape": [4], **CHANNEL, "bias": None, "eps": 0.1}),
        "layer_norm-bare": ("layer_norm", {"input": X, "normalized_shape": [3, 4], **bare}),
        "layer_norm-plane": ("layer_norm", {
            "input": X, "normalized_shape": [3, 4], "weight": floats(3, 4), "bias": floats(3, 4), "eps": 1e-3,
        }),
        "native_layer_norm": ("native_layer_norm", {"input": X, "normalized_shape": [4], **CHANNEL, "eps": 1e-3}),
        "rms_norm": ("rms_norm", {"input": X, "normalized_shape": [4], "weight": floats(4), "eps": 1e-3}),
        "rms_norm-plane": ("rms_norm", {"input": X, "normalized_shape": [3, 4], "weight": floats(3, 4), "eps": 1e-3}),
    }  # fmt: skip


def _pools() -> dict[str, Case]:
    mean: dict[str, Any] = {"ceil_mode": False, "count_include_pad": True, "divisor_override": None}
    plain = {"kernel_size": [2, 2], "stride": [2, 2], "padding": [0, 0]}
    odd = {"kernel_size": [3, 2], "stride": [1, 2], "padding": [1, 0]}
    spread = {"kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 1], "dilation": [1, 2]}
    large = WINDOW | {"padding": [0, 0]}
    return {
        "adaptive_avg_pool1d": ("adaptive_avg_pool1d", {"self": X, "output_size": [3]}),
        "adaptive_avg_pool2d": ("adaptive_avg_pool2d", {"self": IMAGE, "output_size": [4, 5]}),
        "avg_pool2d": ("avg_pool2d", {"self": IMAGE, **plain, **mean}),
        "avg_pool2d-padded": ("avg_pool2d", {"self": IMAGE, **odd, **mean}),
        "avg_pool2d-uncounted": ("avg_pool2d", {"self": IMAGE, **odd, **mean, "count_include_pad": False}),
        "avg_pool2d-ceil": ("avg_pool2d", {
            "self": IMAGE, **plain, "kernel_size": [3, 3], "padding": [0, 1], **mean, "ceil_mode": True,
        }),
        "avg_pool2d-divisor": ("avg_pool2d", {"self": IMAGE, **plain, **mean, "divisor_override": 3}),
        "max_pool2d": ("max_pool2d", {"self": IMAGE, **WINDOW, "ceil_mode": False}),
        "max_pool2d-spread": ("max_pool2d", {"self": IMAGE, **spread, "ceil_mode": False}),
        "max_pool2d-ceil": ("max_pool2d", {"self": IMAGE, **large, "ceil_mode": True}),
        "max_pool2d_with_indices": ("max_pool2d_with_indices", {"self": IMAGE, **WINDOW, "ceil_mode": False}),
        "upsample_nearest2d": ("upsample_nearest2d", {"self": IMAGE, "output_size": [12, 18]}),
        "upsample_nearest2d-uneven": ("upsample_nearest2d", {"self": IMAGE, "output_size": [10, 8]}),
        "upsample_nearest2d-smaller": ("upsample_nearest2d", {"self": IMAGE, "output_size": [3, 6]}),
    }  # fmt: skip


def _attention() -> dict[str, Case]:
    def case(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **settings: Any) -> Case:
        operands = {"query": query, "key": key, "value": value, "attn_mask": mask}
        return "scaled_dot_product_attention", operands | FREE | settings

    numbers = torch.where(MASK, 0.5, -3.0)
    cases = {
        "": case(QUERY, KEY, VALUE, None),
        "-mask": case(QUERY, KEY, VALUE, MASK),
        "-nothing": case(QUERY, KEY, VALUE, MASK & (torch.arange(MASK.shape[-2]) != 1)[:, None]),
        "-bias": case(QUERY, KEY, VALUE, numbers[None, None]),
        "-causal": case(QUERY, QUERY + 1, QUERY - 1, None, is_causal=True),
        "-causal-short": case(QUERY[:, :, :3], QUERY + 1, QUERY - 1, None, is_causal=True),
        "-groups": case(QUERY, SHARED, SHARED + 1, None, enable_gqa=True),
        "-groups-causal": case(QUERY, SHARED, SHARED + 1, None, is_causal=True, enable_gqa=True),
        "-groups-mask": case(QUERY, SHARED, SHARED + 1, MASK[:, :5], enable_gqa=True),
        "-groups-bias": case(QUERY, SHARED, SHARED + 1, numbers[None, None, :, :5], enable_gqa=True),
    }
    rotated = ("rotary_embedding", {"self": QUERY, "cos": floats(5, 4), "sin": floats(5, 4)})
    return {f"scaled_dot_product_attention{way}": made for way, made in cases.items()} | {"rotary_embedding": rotated}


def _losses() -> dict[str, Case]:
    pair = {"self": LOGITS, "target": LABELS, "weight": None}
    plain = {"reduction": 1, "ignore_index": -100, "label_smoothing": 0.0}
    entropies: dict[str, dict[str, Any]] = {
        "": {}, "-each": {"reduction": 0}, "-sum": {"reduction": 2},
        "-ignored": {"target": LABELS.abs() % 7, "ignore_index": 3},
        "-smooth": {"label_smoothing": 0.1}, "-weights": {"weight": positive(7)},
    }  # fmt: skip
    return {
        **{
            f"cross_entropy_loss{way}": ("cross_entropy_loss", pair | plain | given) for way, given in entropies.items()
        },
        **{f"mse_loss-{kind}": ("mse_loss", {"self": X, "target": Y, "reduction": kind}) for kind in range(3)},
    }


LAYERS: dict[str, Case] = _products() | _norms() | _pools() | _attention() | _losses()
"""What has a meaning only in a network."""
