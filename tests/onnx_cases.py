"""Every operator of the ONNX table on small tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SEED = torch.Generator().manual_seed(0)


def _floats(*shape: int) -> Tensor:
    return torch.randn(shape, generator=SEED)


def _positive(*shape: int) -> Tensor:
    return torch.rand(shape, generator=SEED) + 0.5


def _ints(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=SEED)


def _bools(*shape: int) -> Tensor:
    return torch.rand(shape, generator=SEED) > 0.5


X, Y, P = _floats(2, 3, 4), _floats(2, 3, 4), _positive(2, 3, 4)
SQUARE, IMAGE = _floats(4, 4), _floats(2, 4, 6, 6)
WINDOW: dict[str, Any] = {"kernel_size": [3, 3], "stride": [2, 2], "padding": [1, 1], "dilation": [1, 1]}
PLAIN: dict[str, Any] = {"stride": [1], "padding": [1], "dilation": [1], "groups": 1}
STRIDED: dict[str, Any] = {"stride": [2, 1], "padding": [1, 0], "dilation": [1, 2], "groups": 2}
QUERY, KEY, VALUE, SHARED = _floats(2, 4, 5, 8), _floats(2, 4, 6, 8), _floats(2, 4, 6, 8), _floats(2, 2, 5, 8)
FREE: dict[str, Any] = {"is_causal": False, "scale": 0.3, "enable_gqa": False}
MASK = torch.tensor([[True, True, False, True, False, True]]).expand(5, 6).contiguous()
LOGITS, LABELS = _floats(4, 7), torch.tensor([3, -100, 0, 6])


def _unary() -> dict[str, tuple[str, dict[str, Any]]]:
    anywhere = ("abs", "cos", "erf", "exp", "neg", "relu", "sigmoid", "silu", "sin", "tanh", "detach")
    above_zero = ("log", "reciprocal", "rsqrt", "sqrt")
    return {name: (name, {"self": X}) for name in anywhere} | {name: (name, {"self": P}) for name in above_zero}


def _binary() -> dict[str, tuple[str, dict[str, Any]]]:
    cases: dict[str, tuple[str, dict[str, Any]]] = {}
    for name in ("add", "sub", "mul", "div"):
        cases |= {name: (name, {"self": X, "other": P}), f"{name}-row": (name, {"self": X, "other": P[0, :1]})}
        cases[f"{name}-number"] = (name, {"self": X, "other": 1.5})
    for name in ("eq", "ge", "gt", "le", "lt", "ne"):
        cases[name] = (name, {"self": _ints(3, 2, 5), "other": _ints(3, 5)})
        cases[f"{name}-number"] = (name, {"self": X, "other": 0.25})
        cases[f"{name}-float"] = (name, {"self": _ints(3, 2, 5), "other": 1.5})
    for name in ("logical_and", "logical_or", "bitwise_and", "bitwise_or"):
        cases[name] = (name, {"self": _bools(2, 5), "other": _bools(5)})
    for name in ("bitwise_and", "bitwise_or"):
        cases[f"{name}-integers"] = (name, {"self": _ints(9, 2, 5), "other": 6})
    cases |= {name: (name, {"self": X, "other": Y}) for name in ("maximum", "minimum")}
    return cases | {
        "logical_not": ("logical_not", {"self": _bools(2, 5)}),
        "bitwise_not": ("bitwise_not", {"self": _bools(2, 5)}),
        "bitwise_not-integers": ("bitwise_not", {"self": _ints(9, 2, 5)}),
    }


def _elementwise() -> dict[str, tuple[str, dict[str, Any]]]:
    return {
        "pow": ("pow", {"self": X, "exponent": 2}),
        "pow-root": ("pow", {"self": P, "exponent": 0.7}),
        "pow-tensor": ("pow", {"self": P, "exponent": Y}),
        "pow-base": ("pow", {"self": 2.0, "exponent": Y}),
        "gelu": ("gelu", {"self": X, "approximate": "none"}),
        "gelu-tanh": ("gelu", {"self": X, "approximate": "tanh"}),
        "clamp": ("clamp", {"self": X, "min": -0.5, "max": 0.5}),
        "clamp-low": ("clamp", {"self": X, "min": 0.0, "max": None}),
        "clamp-high": ("clamp", {"self": X, "min": None, "max": 0.1}),
        "where": ("where", {"condition": _bools(3, 1), "self": X, "other": Y}),
        "where-number": ("where", {"condition": _bools(2, 3, 4), "self": X, "other": -1.0}),
        "to": ("to", {"self": X * 3, "dtype": "int64"}),
        "to-float": ("to", {"self": _bools(2, 5), "dtype": "float32"}),
        "full": ("full", {"size": [2, 3], "fill_value": 0.5, "dtype": "float32"}),
        "full-flags": ("full", {"size": [2, 3], "fill_value": True, "dtype": "bool"}),
        "expand": ("expand", {"self": X[:, :1], "size": [5, 2, 3, 4]}),
    }


def _shapes() -> dict[str, tuple[str, dict[str, Any]]]:
    at = torch.tensor([[2, 0, 1, 0], [1, 1, 0, 2]])[:, None]
    rows, columns = torch.tensor([1, 0, 1]), torch.tensor([2, 2, 0])
    return {
        "reshape": ("reshape", {"self": X, "shape": [4, 6]}),
        "permute": ("permute", {"self": X, "dims": [2, 0, 1]}),
        "cat": ("cat", {"tensors": [X, Y, P], "dim": -1}),
        "flip": ("flip", {"self": X, "dims": [0, 2]}),
        "slice": ("slice", {"self": X, "dim": 2, "start": 1, "end": 4, "step": 2}),
        "slice-end": ("slice", {"self": X, "dim": -1, "start": -2, "end": 9223372036854775807, "step": 1}),
        "slice_scatter": ("slice_scatter", {"self": X, "src": Y[:, 1:2], "dim": 1, "start": 1, "end": 2, "step": 1}),
        "slice_scatter-end": (
            "slice_scatter", {"self": X, "src": Y[..., :2], "dim": -1, "start": -2, "end": None, "step": 1},
        ),
        "embedding": ("embedding", {"weight": SQUARE, "indices": _ints(4, 2, 3)}),
        "gather": ("gather", {"self": X, "dim": 1, "index": at}),
        "index": ("index", {"self": X, "indices": [_ints(2, 3, 2)]}),
        "index-inner": ("index", {"self": X, "indices": [None, None, columns]}),
        "index-pairs": ("index", {"self": X, "indices": [rows, columns]}),
        "index-grid": ("index", {"self": IMAGE, "indices": [None, None, columns[:, None], rows]}),
        "index_put": ("index_put", {"self": SQUARE, "indices": [rows], "values": SQUARE[:3], "accumulate": True}),
        "index_put-row": ("index_put", {"self": SQUARE, "indices": [rows[:2]], "values": P[0, 0], "accumulate": False}),
        "index_select": ("index_select", {"self": X, "dim": 1, "index": columns}),
        "scatter": ("scatter", {"self": X, "dim": 1, "index": at, "src": Y}),
        "scatter-number": ("scatter", {"self": X, "dim": 1, "index": at, "value": 2.5}),
        "scatter_add": ("scatter_add", {"self": X, "dim": 1, "index": at.expand(2, 2, 4), "src": Y}),
    }  # fmt: skip


def _reductions() -> dict[str, tuple[str, dict[str, Any]]]:
    named: dict[str, tuple[str, dict[str, Any]]] = {
        name: (name, {"self": X, "dim": [0, -1], "keepdim": keep})
        for name, keep in (("amax", True), ("mean", False), ("sum", True))
    }
    return named | {
        "any": ("any", {"self": _bools(3, 5), "dim": 1, "keepdim": True}),
        "any-all": ("any", {"self": _bools(3, 5)}),
        "softmax": ("softmax", {"self": X, "dim": 1}),
        "log_softmax": ("log_softmax", {"self": X, "dim": -1}),
        "var_mean": ("var_mean", {"self": X, "dim": [2], "correction": 0, "keepdim": True}),
        "var_mean-sample": ("var_mean", {"self": X, "dim": [1, 2], "correction": 1, "keepdim": False}),
    }


def _products() -> dict[str, tuple[str, dict[str, Any]]]:
    kernel, bias = _floats(6, 2, 3, 2), _floats(6)
    turned = {"stride": [2, 2], "padding": [1, 1], "dilation": [1, 1], "transposed": True}
    return {
        "linear": ("linear", {"input": X, "weight": SQUARE, "bias": SQUARE[0]}),
        "linear-flat": ("linear", {"input": X[0], "weight": SQUARE, "bias": None}),
        "matmul": ("matmul", {"self": X, "other": SQUARE}),
        "matmul-flat": ("matmul", {"self": X[0], "other": SQUARE}),
        "conv1d": ("conv1d", {"input": X, "weight": _floats(5, 3, 3), "bias": _floats(5), **PLAIN}),
        "conv2d": ("conv2d", {"input": IMAGE, "weight": kernel, "bias": bias, **STRIDED}),
        "conv3d": ("conv3d", {"input": IMAGE[None], "weight": _floats(3, 2, 3, 3, 3), "bias": None, **PLAIN}),
        "convolution": ("convolution", {
            "input": IMAGE, "weight": _floats(5, 4, 3, 3), "bias": _floats(5), "stride": [2, 2], "padding": [1, 1],
            "dilation": [1, 1], "transposed": False, "output_padding": [0, 0], "groups": 1,
        }),
        "convolution-transposed": ("convolution", {
            "input": IMAGE, "weight": _floats(4, 3, 3, 3), "bias": None, **turned, "output_padding": [1, 0],
            "groups": 2,
        }),
    }  # fmt: skip


def _layers() -> dict[str, tuple[str, dict[str, Any]]]:
    channel = {"weight": _floats(4), "bias": _floats(4)}
    return {
        "batch_norm": ("batch_norm", {
            "input": IMAGE, **channel, "running_mean": _floats(4), "running_var": _positive(4), "eps": 1e-3,
        }),
        "group_norm": ("group_norm", {"input": IMAGE, "num_groups": 2, **channel, "eps": 1e-3}),
        "group_norm-bare": ("group_norm", {"input": X, "num_groups": 3, "weight": None, "bias": None, "eps": 1e-3}),
        "layer_norm": ("layer_norm", {"input": X, "normalized_shape": [4], **channel, "eps": 1e-3}),
        "layer_norm-bare": ("layer_norm", {
            "input": X, "normalized_shape": [3, 4], "weight": None, "bias": None, "eps": 1e-3,
        }),
        "native_layer_norm": ("native_layer_norm", {"input": X, "normalized_shape": [4], **channel, "eps": 1e-3}),
        "rms_norm": ("rms_norm", {"input": X, "normalized_shape": [4], "weight": _floats(4), "eps": 1e-3}),
        "rms_norm-bare": ("rms_norm", {"input": X, "normalized_shape": [3, 4], "weight": None, "eps": 1e-3}),
        "rotary_embedding": ("rotary_embedding", {"self": QUERY, "cos": _floats(5, 4), "sin": _floats(5, 4)}),
        "max_pool2d": ("max_pool2d", {"self": IMAGE, **WINDOW, "ceil_mode": False}),
        "max_pool2d-ceil": ("max_pool2d", {"self": IMAGE, **WINDOW | {"padding": [0, 0]}, "ceil_mode": True}),
        "max_pool2d_with_indices": ("max_pool2d_with_indices", {"self": IMAGE, **WINDOW, "ceil_mode": False}),
        "upsample_nearest2d": ("upsample_nearest2d", {"self": IMAGE, "output_size": [12, 18]}),
        "upsample_nearest2d-uneven": ("upsample_nearest2d", {"self": IMAGE, "output_size": [10, 8]}),
    }  # fmt: skip


def _attention() -> dict[str, tuple[str, dict[str, Any]]]:
    def case(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **settings: Any) -> Any:
        operands = {"query": query, "key": key, "value": value, "attn_mask": mask}
        return "scaled_dot_product_attention", operands | FREE | settings

    numbers = torch.where(MASK, 0.5, -3.0)
    return {
        "attention": case(QUERY, KEY, VALUE, None),
        "attention-mask": case(QUERY, KEY, VALUE, MASK),
        "attention-bias": case(QUERY, KEY, VALUE, numbers[None, None]),
        "attention-causal": case(QUERY, QUERY + 1, QUERY - 1, None, is_causal=True),
        "attention-groups": case(QUERY, SHARED, SHARED + 1, None, enable_gqa=True),
        "attention-groups-causal": case(QUERY, SHARED, SHARED + 1, None, is_causal=True, enable_gqa=True),
        "attention-groups-mask": case(QUERY, SHARED, SHARED + 1, MASK[:, :5], enable_gqa=True),
    }


def _losses() -> dict[str, tuple[str, dict[str, Any]]]:
    pair = {"self": LOGITS, "target": LABELS, "weight": None}
    squares = {f"mse_loss-{kind}": ("mse_loss", {"self": X, "target": Y, "reduction": kind}) for kind in range(3)}
    return squares | {
        "cross_entropy_loss": (
            "cross_entropy_loss", pair | {"reduction": 1, "ignore_index": -100, "label_smoothing": 0.0},
        ),
    }  # fmt: skip


CASES: dict[str, tuple[str, dict[str, Any]]] = (
    _unary() | _binary() | _elementwise() | _shapes() | _reductions() | _products() | _layers() | _attention()
    | _losses()
)  # fmt: skip
"""Name of the case → operator and its arguments, tensors in place of references."""
CASES["sub-from"] = ("sub", {"self": 1.5, "other": X})
CASES["div-into"] = ("div", {"self": 1.5, "other": P})
