"""tinygrad: an operator table under TinyJit; gradients by Tensor.gradient."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

from tinygrad import Device, Tensor, TinyJit, dtypes
from tinygrad.engine.jit import JitError

from pytest_inferena import Adapter as Base
from pytest_inferena import Unsupported, evaluate
from pytest_inferena.worker.windows import nearest, shares

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from pytest_inferena import Entry, Program


def to_device(array: Any) -> Tensor:
    """A NumPy array in the engine's memory; one without dimensions would be a literal, equal to all others like it."""
    return Tensor(array.reshape(-1)).to(Device.DEFAULT).contiguous().realize().reshape(array.shape)


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], padding: list[int], dilation: list[int],
    groups: int,
) -> Tensor:  # fmt: skip
    """(B, C, …) with weights (O, C / groups, …)."""
    return x.conv2d(weight, bias, groups, tuple(stride), tuple(dilation), tuple(padding))


def channels(values: Tensor, like: Tensor) -> Tensor:
    """A vector over channels, shaped to broadcast over (B, C, …)."""
    return values.reshape(1, -1, *(1,) * (like.ndim - 2))


def affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Weight and bias, where there are any."""
    result = x if weight is None else x * weight
    return result if bias is None else result + bias


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    """On stored statistics."""
    scale = weight * (var + eps).rsqrt()
    return x * channels(scale, x) + channels(bias - mean * scale, x)


def group_norm(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Over groups of channels of (B, C, …)."""
    normed = x.reshape(x.shape[0], groups, -1).layernorm(eps=eps).reshape(x.shape)
    return affine(normed, *(value if value is None else channels(value, x) for value in (weight, bias)))


def layer_norm(x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Over the last dimensions."""
    return affine(x.layernorm(tuple(range(-len(shape), 0)), eps), weight, bias)


def rms_norm(x: Tensor, shape: list[int], weight: Tensor, eps: float) -> Tensor:
    """Over the last dimensions."""
    return x * (x.square().mean(tuple(range(-len(shape), 0)), keepdim=True) + eps).rsqrt() * weight


def rotary_embedding(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs (i, i + half) of (B, H, S, D) by tables (S, D / 2)."""
    first, second = x.chunk(2, -1)
    return (first * cos - second * sin).cat(second * cos + first * sin, dim=-1)


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: float, enable_gqa: bool
) -> Tensor:
    """(B, H, S, D), as Tensor.scaled_dot_product_attention does it, which has one scale only."""
    if enable_gqa:
        times = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    scores = query.matmul(key.transpose(-2, -1)) * scale
    if is_causal:
        mask = Tensor.ones(*scores.shape[-2:], dtype=dtypes.bool).tril()
    if mask is not None:
        scores = scores + (mask.where(0.0, -math.inf) if mask.dtype == dtypes.bool else mask)
    return scores.softmax(-1) @ value


def max_pool2d(
    x: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> Tensor:
    """(B, C, H, W)."""
    return x.max_pool2d(tuple(kernel), tuple(stride), tuple(dilation), tuple(padding), ceil_mode)


def avg_pool2d(
    x: Tensor, kernel: list[int], stride: list[int], padding: list[int], ceil_mode: bool, count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:  # fmt: skip
    """(B, C, H, W)."""
    if divisor_override and ceil_mode:
        raise Unsupported("avg_pool2d with ceil_mode and a divisor of its own")
    include = count_include_pad or bool(divisor_override)
    result = x.avg_pool2d(tuple(kernel), tuple(stride), 1, tuple(padding), ceil_mode, include)
    return result * (math.prod(kernel) / divisor_override) if divisor_override else result


def adaptive_avg_pool(x: Tensor, size: list[int]) -> Tensor:
    """Over the last dimensions, to `size`, which need not divide them."""
    for axis, length in enumerate(size, x.ndim - len(size)):
        x = (x.transpose(axis, -1) @ Tensor(shares(x.shape[axis], length).T.copy())).transpose(axis, -1)
    return x


def upsample_nearest2d(x: Tensor, size: list[int]) -> Tensor:
    """To (B, C, *size)."""
    batch, depth, *before = x.shape
    rows, columns = (after // now for after, now in zip(size, before, strict=True))
    if [rows * before[0], columns * before[1]] == size:
        wide = x.reshape(batch, depth, before[0], 1, before[1], 1)
        return wide.expand(batch, depth, before[0], rows, before[1], columns).reshape(batch, depth, *size)
    at = [Tensor(nearest(now, after)) for now, after in zip(before, size, strict=True)]
    return x[:, :, at[0]][:, :, :, at[1]]


def cross_entropy_loss(
    x: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int, smoothing: float
) -> Tensor:
    """Of (N, classes) and class numbers (N,)."""
    if x.ndim != 2 or target.ndim != 1:
        raise Unsupported(f"cross_entropy_loss of {x.ndim} and {target.ndim} dimensions")
    kept = target.ne(ignore_index)
    classes = kept.where(target, 0)
    total = x.logsumexp(1)
    share = kept.cast(x.dtype) if weight is None else kept.where(weight[classes], 0.0)
    losses = (total - x.gather(1, classes.unsqueeze(1)).squeeze(1)) * share
    if smoothing:
        every = (total.unsqueeze(1) - x) * (1 if weight is None else weight)
        losses = losses * (1 - smoothing) + kept.where(every.mean(1), 0.0) * smoothing
    if reduction == 0:
        return losses
    return losses.sum() / (share.sum() if reduction == 1 else 1)


def mse_loss(x: Tensor, target: Tensor, reduction: int) -> Tensor:
    """The mean, the sum or each square."""
    squares = (x - target).square()
    return (lambda y: y, Tensor.mean, Tensor.sum)[reduction](squares)


def floor_divide(x: Tensor, other: Any) -> Tensor:
    """Of integers."""
    if not dtypes.is_int(x.dtype):
        raise Unsupported("floor_divide of floats: tinygrad multiplies by the reciprocal, and rounds 41 / 41 down to 0")
    return x.div(other, rounding_mode="floor")


def index(x: Tensor, indices: list[Tensor | None]) -> Tensor:
    """As NumPy."""
    return x[tuple(slice(None) if at is None else at for at in indices)]


def cut(x: Tensor, dim: int, start: int, end: int, step: int) -> Tensor:
    """A slice."""
    return x[(slice(None),) * dim + (slice(start, end, step),)]


def slice_scatter(x: Tensor, values: Tensor, dim: int, start: int, end: int, step: int) -> Tensor:
    """A copy of x with `values` in place of a slice."""
    rows = list(range(x.shape[dim]))
    rows[start:end:step] = range(x.shape[dim], x.shape[dim] + values.shape[dim])
    return x.cat(values, dim=dim)[(slice(None),) * dim + (Tensor(rows),)]


SAME = "abs cos erf exp log logical_not matmul maximum minimum relu rsqrt sigmoid silu sin sqrt tanh"
"""Operators that are methods of the same name."""
OPERATORS: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "lt", "le", "gt", "ge", "neg", "pow")},
    **{name: getattr(Tensor, name) for name in SAME.split()},
    "adaptive_avg_pool1d": adaptive_avg_pool,
    "adaptive_avg_pool2d": adaptive_avg_pool,
    "amax": lambda x, dims, keepdim: x.max(tuple(dims), keepdim),
    "avg_pool2d": avg_pool2d,
    "batch_norm": batch_norm,
    "bitwise_and": operator.and_,
    "bitwise_not": lambda x: x.logical_not() if x.dtype == dtypes.bool else ~x,
    "bitwise_or": operator.or_,
    "cat": lambda tensors, dim: tensors[0].cat(*tensors[1:], dim=dim),
    "clamp": lambda x, low, high: x.clamp(low, high),
    "conv1d": convolution,
    "conv2d": convolution,
    "cross_entropy_loss": cross_entropy_loss,
    "cumsum": lambda x, dim: x.cumsum(dim),
    "detach": Tensor.detach,
    "div": operator.truediv,
    "embedding": lambda weight, indices: weight[indices],
    "eq": lambda x, other: x.eq(other),
    "expand": lambda x, size: x.expand(*size),
    "floor_divide": floor_divide,
    "full": lambda size, value, dtype: Tensor.full(tuple(size), value, dtype=getattr(dtypes, dtype)),
    "gather": lambda x, dim, at: x.gather(dim, at),
    "gelu": lambda x, approximate: x.gelu(approximate),
    "group_norm": group_norm,
    "index": index,
    "index_select": lambda x, dim, at: x[(slice(None),) * dim + (at,)],
    "layer_norm": layer_norm,
    "linear": lambda x, weight, bias: x.linear(weight.transpose(), bias),
    "log1p": lambda x: (1 + x).log(),
    "log_softmax": lambda x, dim: x.log_softmax(dim),
    "logical_and": operator.and_,
    "logical_or": operator.or_,
    "max_pool2d": max_pool2d,
    "mean": lambda x, dims, keepdim: x.mean(tuple(dims), keepdim),
    "mse_loss": mse_loss,
    "ne": lambda x, other: x.ne(other),
    "pad": lambda x, sizes, mode, value: x.pad(tuple(sizes), mode, value or 0.0),
    "permute": lambda x, dims: x.permute(*dims),
    "reshape": lambda x, shape: x.reshape(*shape),
    "rms_norm": rms_norm,
    "roll": lambda x, shifts, dims: x.roll(tuple(shifts), tuple(dims)),
    "rotary_embedding": rotary_embedding,
    "scaled_dot_product_attention": attention,
    "slice": cut,
    "slice_scatter": slice_scatter,
    "softmax": lambda x, dim: x.softmax(dim),
    "sum": lambda x, dims, keepdim: x.sum(tuple(dims), keepdim),
    "to": lambda x, dtype: x.cast(getattr(dtypes, dtype)),
    "upsample_nearest2d": upsample_nearest2d,
    "where": lambda condition, x, other: condition.where(x, other),
}


class Adapter(Base):
    """Parameters, constants and inputs are buffers that the captured kernels read."""

    parameters: dict[str, Tensor]
    trainable: frozenset[str]

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Put the parameters on the device."""
        self.parameters = {name: to_device(weights[name]) for name in program.parameters}
        self.trainable = program.trainable

    def compile(self, entry: Entry) -> Step:
        """Schedule, compile and capture: TinyJit runs once for warm-up and once to capture."""
        arrays = {**entry.arrays("constants"), **entry.arrays("inputs")}
        values = {name: to_device(array) for name, array in arrays.items()}
        values |= {name: self.parameters[name] for name in entry.parameters}
        trained = [name for name in entry.parameters if name in self.trainable]

        def run() -> dict[str, Tensor]:
            results = evaluate(entry, OPERATORS, values)
            if entry.name == "training":
                gradients = results["loss"].gradient(*(values[name] for name in trained))
                results |= {f"grad:{name}": value for name, value in zip(trained, gradients, strict=True)}
            results = {name: value.contiguous() for name, value in results.items()}
            Tensor.realize(*results.values())
            return results

        function: Callable[[], dict[str, Tensor]] = TinyJit(run)
        try:
            for _ in range(2):
                function()
        except JitError:  # every output is a view of an input: there is nothing to capture
            function = run
        return Step(function)

    def describe(self) -> str:
        """The device, and what renders its kernels."""
        device = Device[Device.DEFAULT]
        return f"tinygrad on {Device.DEFAULT}: {type(device.renderer).__name__}"


class Step:
    """One captured function; its results lie in the same buffers every time."""

    def __init__(self, function: Callable[[], dict[str, Tensor]]) -> None:
        self.function = function
        self.results: dict[str, Tensor] = {}

    def __call__(self) -> None:
        """Replay the kernels."""
        self.results = self.function()

    def synchronize(self) -> None:
        """Wait for them."""
        Device[Device.DEFAULT].synchronize()

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name, or loss and gradients."""
        return {name: value.numpy() for name, value in self.results.items()}
