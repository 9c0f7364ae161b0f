"""JAX: an operator table under jit; gradients by value_and_grad."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pytest_inferena import Adapter as Base
from pytest_inferena import Unsupported, evaluate

from . import windows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jax import Array

    from pytest_inferena import Entry, Operators, Program, Setup

jax.config.update("jax_enable_x64", val=False)


def attention(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    is_causal: bool,
    scale: float,
    enable_gqa: bool,
) -> Array:
    """(B, H, S, D); key and value may have fewer heads.

    A query that may attend to nothing gets zeros, where JAX would give it the mean of all values. It is shown all keys
    first, so that no gradient of it is 0 / 0.
    """
    del enable_gqa  # JAX looks at the heads
    query, key, value = (tensor.swapaxes(1, 2) for tensor in (query, key, value))  # (B, S, H, D)
    shape = (query.shape[0], query.shape[2], query.shape[1], key.shape[1])
    bias = some = None
    if mask is not None:
        numbers = mask.dtype != jnp.bool_
        some = ((mask > -jnp.inf) if numbers else mask).any(-1, keepdims=True)
        mask = jnp.broadcast_to(jnp.where(some, mask, jnp.ones((), mask.dtype)), shape)
        mask, bias = (None, mask) if numbers else (mask, None)
    result = jax.nn.dot_product_attention(query, key, value, bias, mask, is_causal=is_causal, scale=scale)
    result = result.swapaxes(1, 2)
    return result if some is None else jnp.where(some, result, 0)


def rfft(x: Array, dim: int) -> tuple[Array, Array]:
    """Half the frequencies of real numbers, in two parts."""
    found = jnp.fft.rfft(x, axis=dim)
    return found.real, found.imag


def fft(real: Array, imag: Array, dim: int, inverse: bool) -> tuple[Array, Array]:
    """Of complex numbers; not scaled either way."""
    x = lax.complex(real, imag)
    found = jnp.fft.ifft(x, axis=dim, norm="forward") if inverse else jnp.fft.fft(x, axis=dim)
    return found.real, found.imag


def irfft(real: Array, imag: Array, dim: int, length: int) -> Array:
    """Back from half the frequencies."""
    return jnp.fft.irfft(lax.complex(real, imag), length, dim, norm="forward")


NUMPY = (
    "abs bitwise_and bitwise_not bitwise_or cos cumsum exp floor_divide full log log1p logical_and logical_not "
    "logical_or matmul maximum minimum sin sqrt tanh where"
)
"""Operators that jax.numpy has under the same name."""

OPERATORS: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "eq", "ne", "lt", "le", "gt", "ge")},
    **{name: getattr(jnp, name) for name in NUMPY.split()},
    "amax": lambda x, dims, keepdim: x.max(tuple(dims), keepdims=keepdim),
    "avg_pool2d": windows.avg_pool2d,
    "cat": jnp.concatenate,
    "clamp": jnp.clip,
    "conv1d": windows.convolution(1),
    "conv2d": windows.convolution(2),
    "detach": lax.stop_gradient,
    "div": lambda a, b: a / b,
    "embedding": lambda weight, indices: jnp.asarray(weight)[indices],
    "erf": lax.erf,
    "expand": jnp.broadcast_to,
    "fft": fft,
    "gather": lambda x, dim, index: jnp.take_along_axis(x, index, dim),
    "gelu": lambda x, approximate: jax.nn.gelu(x, approximate=approximate == "tanh"),
    "index_select": lambda x, dim, index: jnp.take(x, index, dim),
    "irfft": irfft,
    "log_softmax": jax.nn.log_softmax,
    "max_pool2d": windows.max_pool2d,
    "mean": lambda x, dims, keepdim: x.mean(tuple(dims), keepdims=keepdim),
    "neg": jnp.negative,
    "permute": jnp.transpose,
    "pow": lambda a, b: a**b,
    "relu": jax.nn.relu,
    "reshape": jnp.reshape,
    "rfft": rfft,
    "rsqrt": lax.rsqrt,
    "scaled_dot_product_attention": attention,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "slice": lambda x, dim, start, end, step: lax.slice_in_dim(x, start, end, step, dim),
    "softmax": jax.nn.softmax,
    "sum": lambda x, dims, keepdim: x.sum(tuple(dims), keepdims=keepdim),
    "to": lambda x, dtype: x.astype(dtype),
}
CONDITIONS: Operators = {"avg_pool2d": {"divisor_override": [None]}, "max_pool2d": {"dilation": [1]}}


class Adapter(Base):
    """Parameters and inputs are arguments of the jitted function; constants are part of it."""

    operators: ClassVar[Operators] = {name: CONDITIONS.get(name, {}) for name in OPERATORS}
    parameters: dict[str, Array]
    trainable: frozenset[str]

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if setup.device == "cpu":
            return
        jax.config.update("jax_default_matmul_precision", "highest")  # a GPU's default may be TF32, a TPU's bfloat16
        try:
            jax.devices()
        except (RuntimeError, AssertionError) as error:  # the second where a plugin is missing
            said = str(error).splitlines() or ["no plugin of it knows such a device"]
            raise Unsupported(f"JAX {jax.__version__} finds no device for {setup.device}: {said[0]}") from error

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Put the parameters on the device."""
        self.parameters = {name: jax.device_put(weights[name]) for name in program.parameters}
        jax.block_until_ready(self.parameters)
        self.trainable = program.trainable

    def compile(self, entry: Entry) -> Step:
        """Trace and compile the entry ahead of time."""
        constants = dict(entry.arrays("constants"))
        arrays = entry.arrays("inputs")
        inputs = {spec.name: jax.device_put(arrays[spec.name]) for spec in entry.inputs}

        def forward(parameters: dict[str, Array], inputs: dict[str, Array]) -> dict[str, Array]:
            return evaluate(entry, OPERATORS, {**constants, **parameters, **inputs})

        def loss(trained: dict[str, Array], fixed: dict[str, Array], inputs: dict[str, Array]) -> Array:
            return forward({**fixed, **trained}, inputs)["loss"]

        used = {name: self.parameters[name] for name in entry.parameters}
        arguments: tuple[dict[str, Array], ...] = (used, inputs)
        function: Any = forward
        if entry.name == "training":
            trained = {name: value for name, value in used.items() if name in self.trainable}
            fixed = {name: value for name, value in used.items() if name not in self.trainable}
            function, arguments = jax.value_and_grad(loss), (trained, fixed, inputs)
        integers = {name: entry.specs[of].dtype for name, of in entry.outputs.items() if "int" in entry.specs[of].dtype}
        return Step(jax.jit(function).lower(*arguments).compile(), arguments, integers)

    def describe(self) -> str:
        """XLA's platform and device."""
        device = jax.devices()[0]
        return f"XLA on {device.platform}: {device.device_kind}"


class Step:
    """One compiled function and its arguments."""

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[dict[str, Array], ...], integers: Mapping[str, str]
    ) -> None:
        self.function, self.arguments, self.integers = function, arguments, integers
        self.results: Any = None

    def __call__(self) -> None:
        """Dispatch it; the last step's results go first, so that there is room for these where they were."""
        self.results = None
        self.results = self.function(*self.arguments)

    def synchronize(self) -> None:
        """Wait for its results."""
        jax.block_until_ready(self.results)

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name, or loss and gradients."""
        if isinstance(self.results, tuple):
            loss, gradients = self.results
            named = {"loss": loss, **{f"grad:{name}": value for name, value in gradients.items()}}
        else:
            named = self.results
        arrays = {name: np.asarray(value) for name, value in named.items()}
        # Without `jax_enable_x64` an integer has 32 bits at most, and the Program says 64.
        return arrays | {name: arrays[name].astype(dtype) for name, dtype in self.integers.items()}
