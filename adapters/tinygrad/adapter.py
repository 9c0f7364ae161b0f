"""tinygrad: an operator table under TinyJit; gradients by Tensor.gradient."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, ClassVar

from tinygrad import Device, Tensor, TinyJit, dtypes
from tinygrad.engine.jit import JitError

from pytest_inferena import Adapter as Base
from pytest_inferena import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from pytest_inferena import Entry, Operators, Program


def to_device(array: Any) -> Tensor:
    """A NumPy array in the engine's memory; one without dimensions would be a literal, equal to all others like it."""
    return Tensor(array.reshape(-1)).to(Device.DEFAULT).contiguous().realize().reshape(array.shape)


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], padding: list[int], dilation: list[int],
    groups: int,
) -> Tensor:  # fmt: skip
    """(B, C, …) with weights (O, C / groups, …)."""
    return x.conv2d(weight, bias, groups, tuple(stride), tuple(dilation), tuple(padding))


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
    del divisor_override
    return x.avg_pool2d(tuple(kernel), tuple(stride), 1, tuple(padding), ceil_mode, count_include_pad)


def cut(x: Tensor, dim: int, start: int, end: int, step: int) -> Tensor:
    """A slice."""
    return x[(slice(None),) * dim + (slice(start, end, step),)]


SAME = "abs cos erf exp log logical_not matmul maximum minimum relu rsqrt sigmoid silu sin sqrt tanh"
"""Operators that are methods of the same name."""
OPERATORS: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "lt", "le", "gt", "ge", "neg", "pow")},
    **{name: getattr(Tensor, name) for name in SAME.split()},
    "amax": lambda x, dims, keepdim: x.max(tuple(dims), keepdim),
    "avg_pool2d": avg_pool2d,
    "bitwise_and": operator.and_,
    "bitwise_not": lambda x: x.logical_not() if x.dtype == dtypes.bool else ~x,
    "bitwise_or": operator.or_,
    "cat": lambda tensors, dim: tensors[0].cat(*tensors[1:], dim=dim),
    "clamp": lambda x, low, high: x.clamp(low, high),
    "conv1d": convolution,
    "conv2d": convolution,
    "cumsum": lambda x, dim: x.cumsum(dim),
    "detach": Tensor.detach,
    "div": operator.truediv,
    "embedding": lambda weight, indices: weight[indices],
    "eq": lambda x, other: x.eq(other),
    "expand": lambda x, size: x.expand(*size),
    "floor_divide": lambda x, other: x.div(other, rounding_mode="floor"),
    "full": lambda size, value, dtype: Tensor.full(tuple(size), value, dtype=getattr(dtypes, dtype)),
    "gather": lambda x, dim, at: x.gather(dim, at),
    "gelu": lambda x, approximate: x.gelu(approximate),
    "index_select": lambda x, dim, at: x[(slice(None),) * dim + (at,)],
    "log_softmax": lambda x, dim: x.log_softmax(dim),
    "logical_and": operator.and_,
    "logical_or": operator.or_,
    "max_pool2d": max_pool2d,
    "mean": lambda x, dims, keepdim: x.mean(tuple(dims), keepdim),
    "ne": lambda x, other: x.ne(other),
    "pad": lambda x, sizes, mode, value: x.pad(tuple(sizes), mode, value or 0.0),
    "permute": lambda x, dims: x.permute(*dims),
    "reshape": lambda x, shape: x.reshape(*shape),
    "roll": lambda x, shifts, dims: x.roll(tuple(shifts), tuple(dims)),
    "slice": cut,
    "softmax": lambda x, dim: x.softmax(dim),
    "sum": lambda x, dims, keepdim: x.sum(tuple(dims), keepdim),
    "to": lambda x, dtype: x.cast(getattr(dtypes, dtype)),
    "where": lambda condition, x, other: condition.where(x, other),
}


CONDITIONS: Operators = {
    "avg_pool2d": {"divisor_override": [None]},
    # It multiplies floats by the reciprocal, and rounds 41 / 41 down to 0.
    "floor_divide": {"dtype": ["int8", "int16", "int32", "int64", "uint8"]},
}


class Adapter(Base):
    """Parameters, constants and inputs are buffers that the captured kernels read."""

    operators: ClassVar[Operators] = {name: CONDITIONS.get(name, {}) for name in OPERATORS}
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
