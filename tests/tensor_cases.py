"""Operators on tensors of any kind, by example: the first part of operator_cases.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Case = tuple[str, dict[str, Any]]
"""Operator and its arguments, tensors in place of references."""
SEED = torch.Generator().manual_seed(0)


def floats(*shape: int) -> Tensor:
    """Normal."""
    return torch.randn(shape, generator=SEED)


def positive(*shape: int) -> Tensor:
    """Between 0.5 and 1.5."""
    return torch.rand(shape, generator=SEED) + 0.5


def ints(high: int, *shape: int) -> Tensor:
    """From 0, below `high`."""
    return torch.randint(high, shape, generator=SEED)


def bools(*shape: int) -> Tensor:
    """One half of them true."""
    return torch.rand(shape, generator=SEED) > 0.5


X, Y, P = floats(2, 3, 4), floats(2, 3, 4), positive(2, 3, 4)
N, B = ints(5, 2, 3, 4), bools(2, 3, 4)
SQUARE, IMAGE = floats(4, 4), floats(2, 4, 6, 6)


def _unary() -> dict[str, Case]:
    anywhere = ("abs", "cos", "erf", "exp", "neg", "relu", "sigmoid", "silu", "sin", "tanh", "detach")
    above_zero = ("log", "log1p", "rsqrt", "sqrt")
    return {name: (name, {"self": X}) for name in anywhere} | {name: (name, {"self": P}) for name in above_zero}


def _arithmetic() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for name in ("add", "sub", "mul", "div"):
        cases |= {name: (name, {"self": X, "other": P}), f"{name}-row": (name, {"self": X, "other": P[0, :1]})}
        cases[f"{name}-number"] = (name, {"self": X, "other": 1.5})
    for name in ("add", "sub", "mul"):
        cases[f"{name}-integers"] = (name, {"self": N, "other": N[:1] + 1})
        cases[f"{name}-integer"] = (name, {"self": N, "other": 2})
    for name in ("eq", "ge", "gt", "le", "lt", "ne"):
        cases[name] = (name, {"self": ints(3, 2, 5), "other": ints(3, 5)})
        cases[f"{name}-floats"] = (name, {"self": X, "other": Y})
        cases[f"{name}-number"] = (name, {"self": X, "other": 0.25})
        cases[f"{name}-integer"] = (name, {"self": N, "other": 2})
        cases[f"{name}-float"] = (name, {"self": ints(3, 2, 5), "other": 1.5})
    return cases | {
        "sub-from": ("sub", {"self": 1.5, "other": X}),
        "div-into": ("div", {"self": 1.5, "other": P}),
        "floor_divide-floats": ("floor_divide", {"self": X * 5, "other": P}),
        "floor_divide-integers": ("floor_divide", {"self": N - 2, "other": N[:1] % 3 + 1}),
        "floor_divide-integer": ("floor_divide", {"self": N - 2, "other": 2}),
        "maximum": ("maximum", {"self": X, "other": Y}),
        "maximum-row": ("maximum", {"self": X, "other": Y[:1]}),
        "minimum": ("minimum", {"self": X, "other": Y}),
        "minimum-row": ("minimum", {"self": X, "other": Y[:1]}),
        "pow": ("pow", {"self": X, "exponent": 2}),
        "pow-cube": ("pow", {"self": X, "exponent": 3}),
        "pow-root": ("pow", {"self": P, "exponent": 0.7}),
        "pow-tensor": ("pow", {"self": P, "exponent": Y}),
        "pow-base": ("pow", {"self": 2.0, "exponent": Y}),
    }


def _logic() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for name in ("logical_and", "logical_or", "bitwise_and", "bitwise_or"):
        cases[name] = (name, {"self": bools(2, 5), "other": bools(5)})
    for name in ("bitwise_and", "bitwise_or"):
        cases[f"{name}-integers"] = (name, {"self": ints(9, 2, 5), "other": 6})
    return cases | {
        "logical_not": ("logical_not", {"self": bools(2, 5)}),
        "bitwise_not": ("bitwise_not", {"self": bools(2, 5)}),
        "bitwise_not-integers": ("bitwise_not", {"self": ints(9, 2, 5)}),
        "where": ("where", {"condition": bools(3, 1), "self": X, "other": Y}),
        "where-number": ("where", {"condition": B, "self": X, "other": -1.0}),
        "where-number-first": ("where", {"condition": B, "self": 0.5, "other": X}),
        "where-scalar": ("where", {"condition": B, "self": torch.tensor(1.0), "other": 0.0}),
    }


def _elementwise() -> dict[str, Case]:
    return {
        "gelu": ("gelu", {"self": X, "approximate": "none"}),
        "gelu-tanh": ("gelu", {"self": X, "approximate": "tanh"}),
        "clamp": ("clamp", {"self": X, "min": -0.5, "max": 0.5}),
        "clamp-low": ("clamp", {"self": X, "min": 0.0, "max": None}),
        "clamp-high": ("clamp", {"self": X, "min": None, "max": 0.1}),
        "clamp-integers": ("clamp", {"self": N, "min": None, "max": 2}),
        "to": ("to", {"self": X * 3, "dtype": "int64"}),
        "to-small": ("to", {"self": X * 3, "dtype": "int32"}),
        "to-float": ("to", {"self": bools(2, 5), "dtype": "float32"}),
        "to-float-integers": ("to", {"self": N, "dtype": "float32"}),
        "to-flags": ("to", {"self": N, "dtype": "bool"}),
        "full": ("full", {"size": [2, 3], "fill_value": 0.5, "dtype": "float32"}),
        "full-scalar": ("full", {"size": [], "fill_value": 3, "dtype": "int64"}),
        "full-flags": ("full", {"size": [2, 3], "fill_value": True, "dtype": "bool"}),
        "expand": ("expand", {"self": X[:, :1], "size": [5, 2, 3, 4]}),
        "expand-image": ("expand", {"self": IMAGE[:, :1, :, :1], "size": [2, 4, 6, 6]}),
        "expand-row": ("expand", {"self": SQUARE[0], "size": [2, 3, 4]}),
    }


def _shapes() -> dict[str, Case]:
    joined = torch.cat([X, Y, P], 1)
    return {
        "reshape": ("reshape", {"self": X, "shape": [4, 6]}),
        "reshape-flat": ("reshape", {"self": X, "shape": [24]}),
        "permute": ("permute", {"self": X, "dims": [2, 0, 1]}),
        "cat": ("cat", {"tensors": [X, Y, P], "dim": 2}),
        "cat-uneven": ("cat", {"tensors": [joined, Y[:, :2]], "dim": 1}),
        "flip": ("flip", {"self": X, "dims": [0, 2]}),
        "slice": ("slice", {"self": X, "dim": 2, "start": 1, "end": 4, "step": 2}),
        "slice-front": ("slice", {"self": X, "dim": 0, "start": 0, "end": 1, "step": 1}),
        "slice_scatter-step": ("slice_scatter", {
            "self": X, "src": Y[..., ::2], "dim": 2, "start": 0, "end": 4, "step": 2,
        }),
        "roll": ("roll", {"self": X, "shifts": [1, -1], "dims": [0, 2]}),
        "pad-reflect": ("pad", {"self": IMAGE, "pad": [1, 2, 3, 0], "mode": "reflect", "value": None}),
        "pad-replicate": ("pad", {"self": IMAGE, "pad": [1, 0, 2, 3], "mode": "replicate", "value": None}),
        "pad-circular": ("pad", {"self": IMAGE, "pad": [1, 2, 3, 0], "mode": "circular", "value": None}),
        "pad-reflect-rows": ("pad", {"self": X, "pad": [2, 1], "mode": "reflect", "value": None}),
    }  # fmt: skip


def _transforms() -> dict[str, Case]:
    """Of odd and even lengths, of one that is taken apart, and of a single row."""
    long, signal = floats(1, 576), floats(2, 7, 3)
    found: dict[str, Case] = {}
    for name, x, dim in (("", X, 2), ("-odd", signal, 1), ("-long", long, 1), ("-row", X[0, 0], 0)):
        half, length = x.narrow(dim, 0, x.shape[dim] // 2 + 1), x.shape[dim]
        found |= {
            f"fft{name}": ("fft", {"real": x, "imag": x.flip(0) + 1, "dim": dim, "inverse": False}),
            f"fft-back{name}": ("fft", {"real": x, "imag": x.flip(0) + 1, "dim": dim, "inverse": True}),
            f"rfft{name}": ("rfft", {"self": x, "dim": dim}),
            f"irfft{name}": ("irfft", {"real": half, "imag": half.flip(0) + 1, "dim": dim, "length": length}),
        }
    return found


def _indexed() -> dict[str, Case]:
    at = torch.tensor([[2, 0, 1, 0], [1, 1, 0, 2]])[:, None]
    rows, columns = torch.tensor([1, 0, 1]), torch.tensor([2, 2, 0])
    return {
        "embedding": ("embedding", {"weight": SQUARE, "indices": ints(4, 2, 3)}),
        "gather": ("gather", {"self": X, "dim": 1, "index": at}),
        "gather-wide": ("gather", {"self": X, "dim": 2, "index": N % 4}),
        "index": ("index", {"self": X, "indices": [ints(2, 3, 2)]}),
        "index-inner": ("index", {"self": X, "indices": [None, None, columns]}),
        "index-pairs": ("index", {"self": X, "indices": [rows, columns]}),
        "index-apart": ("index", {"self": X, "indices": [rows, None, columns]}),
        "index-negative": ("index", {"self": X, "indices": [None, rows - 1, columns - 3]}),
        "index-grid": ("index", {"self": IMAGE, "indices": [None, None, columns[:, None], rows]}),
        "index_put": ("index_put", {"self": SQUARE, "indices": [rows], "values": SQUARE[:3], "accumulate": True}),
        "index_select": ("index_select", {"self": X, "dim": 1, "index": columns}),
        "scatter_add": ("scatter_add", {"self": X, "dim": 1, "index": at.expand(2, 2, 4), "src": Y}),
    }


def _reductions() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for name in ("amax", "mean", "sum"):
        cases[name] = (name, {"self": X, "dim": [2], "keepdim": False})
        cases[f"{name}-kept"] = (name, {"self": X, "dim": [0, 2], "keepdim": True})
        cases[f"{name}-all"] = (name, {"self": X, "dim": [0, 1, 2], "keepdim": False})
    for name in ("softmax", "log_softmax", "cumsum"):
        cases |= {name: (name, {"self": X, "dim": 2}), f"{name}-outer": (name, {"self": X, "dim": 0})}
    return cases | {
        "any": ("any", {"self": bools(3, 5), "dim": 1, "keepdim": True}),
        "cumsum-integers": ("cumsum", {"self": N, "dim": 1}),
        "sum-integers": ("sum", {"self": N, "dim": [1], "keepdim": False}),
    }


TENSORS: dict[str, Case] = (
    _unary() | _arithmetic() | _logic() | _elementwise() | _shapes() | _transforms() | _indexed() | _reductions()
)  # fmt: skip
"""What has to do with any tensors."""
