"""MLX: an operator table, images with channels last, mx.compile where it gains; gradients by mx.value_and_grad."""

from __future__ import annotations

import ctypes
import importlib.metadata
import math
import operator
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pytest_inferena import Adapter as Base
from pytest_inferena import Unsupported, evaluate
from pytest_inferena.worker.channels_last import CONVOLUTIONS, channels_last

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_inferena import Entry, Operators, Program, Setup
    from pytest_inferena.worker.channels_last import ChannelsLast


def _candidates() -> Iterator[str]:
    """Libraries with a fast BLAS: OpenBLAS by the name that Debian, Fedora and others give it, Intel's from pip."""
    yield "libopenblas.so.0"
    try:
        files = importlib.metadata.files("mkl") or []
    except importlib.metadata.PackageNotFoundError:
        return
    yield from (str(file.locate()) for file in files if file.name.startswith("libmkl_rt.so"))


def _preload() -> str:
    """Load a fast BLAS before MLX, whose own is the reference's on Linux: the first definition of a symbol wins."""
    if sys.platform != "linux":
        return ""  # Accelerate
    for name in _candidates():
        try:
            library = ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        if hasattr(library, "openblas_get_config"):
            library.openblas_get_config.restype = ctypes.c_char_p
            return str(library.openblas_get_config().decode())
        return Path(name).name
    return "the reference BLAS"


BLAS = _preload()
import mlx.core as mx  # noqa: E402 - after its BLAS

from . import windows  # noqa: E402 - it imports MLX too

if TYPE_CHECKING:
    from mlx.core import array


def linear(x: array, weight: array, bias: array | None) -> array:
    """Weights (out, in)."""
    return x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)


def layer_norm(x: array, shape: list[int], weight: array | None, bias: array | None, eps: float) -> array:
    """Over the last dimensions."""
    weight, bias = (None if value is None else value.reshape(-1) for value in (weight, bias))
    return mx.fast.layer_norm(x.reshape(*x.shape[: -len(shape)], -1), weight, bias, eps).reshape(x.shape)


def rms_norm(x: array, shape: list[int], weight: array, eps: float) -> array:
    """Over the last dimensions."""
    return mx.fast.rms_norm(x.reshape(*x.shape[: -len(shape)], -1), weight.reshape(-1), eps).reshape(x.shape)


def attention(
    query: array, key: array, value: array, mask: array | None, is_causal: bool, scale: float, enable_gqa: bool
) -> array:
    """(B, H, S, D); key and value may have fewer heads. MLX's own causal mask begins at the last key, not the first.

    A query that may attend to nothing gets zeros, where MLX would give it the mean of all values, or NaN.
    """
    del enable_gqa  # MLX looks at the heads
    rows, columns = query.shape[2], key.shape[2]
    given: Any = None
    if is_causal:
        given = "causal" if rows == columns else mx.tri(rows, columns, dtype=mx.bool_)
    if mask is None:
        return mx.fast.scaled_dot_product_attention(query, key, value, scale=scale, mask=given)
    some = (mask if mask.dtype == mx.bool_ else mask > -math.inf).any(-1, keepdims=True)
    given = mx.where(some, mask, mx.ones_like(mask))
    result = mx.fast.scaled_dot_product_attention(query, key, value, scale=scale, mask=given)
    return mx.where(some, result, 0)


def cut(x: array, dim: int, start: int, end: int, step: int) -> array:
    """A slice."""
    return x[(slice(None),) * dim + (slice(start, end, step),)]


def cast(x: array, dtype: str) -> array:
    """To a type by NumPy's name."""
    return x.astype(DTYPES[dtype])


DTYPES = {
    name: getattr(mx, name) for name in ("float32", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64")
}
DTYPES["bool"] = mx.bool_
SAME = (
    "abs cos erf exp floor_divide log log1p logical_and logical_not logical_or matmul maximum minimum rsqrt sigmoid "
    "sin sqrt tanh where"
)
"""Operators that MLX has under the same name."""
OPERATORS: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "eq", "ne", "lt", "le", "gt", "ge", "neg")},
    **{name: getattr(mx, name) for name in SAME.split()},
    "amax": lambda x, dims, keepdim: mx.max(x, dims, keepdims=keepdim),
    "bitwise_and": operator.and_,
    "bitwise_not": lambda x: mx.logical_not(x) if x.dtype == mx.bool_ else ~x,
    "bitwise_or": operator.or_,
    "cat": mx.concatenate,
    "clamp": mx.clip,
    "conv1d_channels_last": windows.convolution,
    "conv2d_channels_last": windows.convolution,
    "cumsum": lambda x, dim: mx.cumsum(x, axis=dim),
    "detach": mx.stop_gradient,
    "div": operator.truediv,
    "embedding": lambda weight, indices: weight[indices],
    "expand": mx.broadcast_to,
    "full": lambda size, value, dtype: mx.full(size, value, dtype=DTYPES[dtype]),
    "gather": lambda x, dim, index: mx.take_along_axis(x, index, dim),
    "index_select": lambda x, dim, index: mx.take(x, index, dim),
    "layer_norm": layer_norm,
    "linear": linear,
    "log_softmax": lambda x, dim: x - mx.logsumexp(x, dim, keepdims=True),
    "mean": lambda x, dims, keepdim: mx.mean(x, dims, keepdims=keepdim),
    "permute": mx.transpose,
    "pow": lambda a, b: a * a if b is not a and isinstance(b, int | float) and b == 2 else a**b,
    "relu": lambda x: mx.maximum(x, 0),
    "reshape": mx.reshape,
    "rms_norm": rms_norm,
    "scaled_dot_product_attention": attention,
    "slice": cut,
    "softmax": mx.softmax,
    "sum": lambda x, dims, keepdim: mx.sum(x, dims, keepdims=keepdim),
    "to": cast,
}


def gains(entry: Entry) -> bool:
    """Whether mx.compile makes an entry faster on the CPU.

    Its fused kernels count indices where operands broadcast, as norms of images do: ResNet-50 takes 0.66 s with it and
    0.39 s without, inference of SmolLM2 0.47 s either way, training 1.62 s and 1.75 s (benchmarks/fidelity/mlx_layers).
    """
    return entry.name == "training" and not entry.operators() & CONVOLUTIONS


class Adapter(Base):
    """Parameters and inputs are arguments of the function; constants are part of it."""

    operators: ClassVar[Operators] = {name.removesuffix("_channels_last"): {} for name in OPERATORS}
    parameters: dict[str, array]
    trainable: frozenset[str]

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if setup.device == "metal" and not mx.metal.is_available():
            raise Unsupported("MLX finds no Metal on this machine: it needs a Mac with an Apple GPU")
        mx.set_default_device(mx.gpu if setup.device == "metal" else mx.cpu)

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Put the parameters on the device."""
        self.parameters = {name: mx.array(weights[name]) for name in program.parameters}
        mx.eval(self.parameters)
        self.trainable = program.trainable

    def compile(self, entry: Entry) -> Step:
        """Wrap the entry; MLX traces it when it is first run."""
        made = channels_last(entry, anchors=CONVOLUTIONS)
        constants = {name: mx.array(value) for name, value in made.entry.arrays("constants").items()}
        inputs = {spec.name: mx.array(entry.arrays("inputs")[spec.name]) for spec in entry.inputs}

        def forward(parameters: dict[str, array], inputs: dict[str, array]) -> dict[str, array]:
            return evaluate(made.entry, OPERATORS, {**constants, **parameters, **inputs})

        def loss(trained: dict[str, array], fixed: dict[str, array], inputs: dict[str, array]) -> array:
            return forward({**fixed, **trained}, inputs)["loss"]

        used = {name: mx.contiguous(made.permute(name, self.parameters[name])) for name in entry.parameters}
        mx.eval(used)
        arguments: tuple[dict[str, array], ...] = (used, inputs)
        function: Any = forward
        if entry.name == "training":
            trained = {name: value for name, value in used.items() if name in self.trainable}
            fixed = {name: value for name, value in used.items() if name not in self.trainable}
            function, arguments = mx.value_and_grad(loss), (trained, fixed, inputs)
        compiles = self.setup.device == "metal" or gains(entry)
        return Step(mx.compile(function) if compiles else function, arguments, made)

    def describe(self) -> str:
        """MLX's default device, and the BLAS on the CPU."""
        device = mx.default_device()
        name = mx.device_info(device).get("device_name", "")
        return f"MLX on {device.type.name}: {name}" + (f", {BLAS}" if device.type == mx.cpu and BLAS else "")


class Step:
    """One function and its arguments."""

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[dict[str, array], ...], made: ChannelsLast
    ) -> None:
        self.function, self.arguments, self.made = function, arguments, made
        self.results: Any = None

    def __call__(self) -> None:
        """Start it; the last step's results go first, so that there is room for these where they were."""
        self.results = None
        self.results = self.function(*self.arguments)
        mx.async_eval(self.results)

    def synchronize(self) -> None:
        """Wait for its results."""
        mx.eval(self.results)

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name, or loss and gradients."""
        if not isinstance(self.results, tuple):
            return {name: np.array(value) for name, value in self.results.items()}
        loss, gradients = self.results
        found = {f"grad:{name}": self.made.restore(name, np.array(value)) for name, value in gradients.items()}
        return {"loss": np.array(loss), **found}
