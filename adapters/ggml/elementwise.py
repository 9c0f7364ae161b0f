"""GGML's table, first part: operators on each element."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from ggml import ggml

from pytest_inferena import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from .graph import Graph, Value

Number = float | int


def unary(function: Any) -> Callable[[Graph, Value], Value]:
    """One of ggml's functions of each element."""

    def operator(g: Graph, x: Value) -> Value:
        return g.made(g.call(function, rows(g, x)), x.shape)

    return operator


def rows(g: Graph, x: Value) -> Any:
    """A tensor of floats for functions of each element, which ggml's threads share by rows."""
    return g.natural(x) if len(x.shape) <= 4 else g.packed(x)


def scaled(g: Graph, x: Value, scale: float, bias: float = 0.0) -> Value:
    """Times one number, plus another."""
    rows(g, x)
    tensor = g.packed(x, *x.shape) if 0 < len(x.shape) <= 4 else g.packed(x)
    return g.made(g.call(ggml.ggml_scale_bias, tensor, scale, bias), x.shape)


def paired(function: Any, g: Graph, a: Value, b: Value, *, commutes: bool = False) -> Value:
    """A function of two tensors that broadcast: ggml repeats the second, the first has to be whole."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    if commutes and a.shape != shape and math.prod(b.shape) == math.prod(shape):
        a, b = b, a
    first, second = rows(g, g.grow(a, shape)), rows(g, b)
    if len(shape) > 4 or len(b.shape) > 4:
        _, wide, narrow = g.spread(shape, shape, b.shape)
        first, second = g.resized(g.packed(g.grow(a, shape)), *wide), g.resized(g.packed(b), *narrow)
    return g.made(g.call(function, first, second), shape)


def plus(g: Graph, a: Value, b: Value) -> Value:
    """Of tensors: a + b."""
    return paired(ggml.ggml_add, g, a, b, commutes=True)


def minus(g: Graph, a: Value, b: Value) -> Value:
    """Of tensors: a - b."""
    return paired(ggml.ggml_sub, g, a, b)


def times(g: Graph, a: Value, b: Value) -> Value:
    """Of tensors: a · b."""
    return paired(ggml.ggml_mul, g, a, b, commutes=True)


def over(g: Graph, a: Value, b: Value) -> Value:
    """Of tensors: a / b."""
    return paired(ggml.ggml_div, g, a, b)


def filled(g: Graph, shape: tuple[int, ...], value: float) -> Value:
    """One number over and over."""
    return g.constant(np.full(shape, value, np.float32))


def add(g: Graph, a: Value, b: Value | Number) -> Value:
    """ATen's add."""
    return scaled(g, a, 1.0, b) if isinstance(b, Number) else plus(g, a, b)


def sub(g: Graph, a: Value | Number, b: Value | Number) -> Value:
    """ATen's sub; either may be a number."""
    if isinstance(a, Number):
        return scaled(g, tensor(b), -1.0, a)
    return scaled(g, a, 1.0, -b) if isinstance(b, Number) else minus(g, a, b)


def mul(g: Graph, a: Value, b: Value | Number) -> Value:
    """ATen's mul."""
    return scaled(g, a, b) if isinstance(b, Number) else times(g, a, b)


def div(g: Graph, a: Value | Number, b: Value | Number) -> Value:
    """ATen's div; either may be a number."""
    if isinstance(a, Number):
        b = tensor(b)
        return over(g, filled(g, b.shape, a), b)
    return over(g, a, filled(g, (1,) * len(a.shape), b) if isinstance(b, Number) else b)


def tensor(x: Any) -> Value:
    """An operand that is no number: of two numbers none is left."""
    if isinstance(x, Number):
        raise Unsupported("arithmetic on two numbers")
    value: Value = x
    return value


def positive(g: Graph, x: Value) -> Value:
    """1 where x > 0, else 0."""
    return flag(g, g.call(ggml.ggml_step, rows(g, x)), x.shape)


def flag(g: Graph, tensor: Any, shape: tuple[int, ...]) -> Value:
    """Numbers 0 and 1 as truth."""
    return g.made(tensor, shape, "bool")


def inverted(g: Graph, x: Value) -> Value:
    """1 - x."""
    return flag(g, scaled(g, x, -1.0, 1.0).tensor, x.shape)


def difference(g: Graph, a: Value, b: Value | Number) -> Value:
    """Of numbers of any kind: a - b."""
    a = g.floats(a)
    return sub(g, a, b if isinstance(b, Number) else g.floats(b))


def compare(*, swapped: bool = False, distance: bool = False, inverse: bool = False) -> Callable[..., Value]:
    """One of six: whether a - b, or b - a, or |a - b|, is positive, or is not."""

    def operator(g: Graph, a: Value, b: Value | Number) -> Value:
        apart = difference(g, a, b)
        if swapped:
            apart = scaled(g, apart, -1.0)
        if distance:
            apart = unary(ggml.ggml_abs)(g, apart)
        found = positive(g, apart)
        return inverted(g, found) if inverse else found

    return operator


def where(g: Graph, condition: Value, a: Value | Number, b: Value | Number) -> Value:
    """Each side times its flag; infinities, of which that makes no number, by a logarithm of the other flag."""
    sides = ((condition, a), (inverted(g, condition), b))
    shape = np.broadcast_shapes(condition.shape, *(side.shape for side in (a, b) if not isinstance(side, Number)))
    dtype = next((side.dtype for side in (a, b) if not isinstance(side, Number)), "float32")
    total: Value | None = None
    for index, (kept, side) in enumerate(sides):
        if not isinstance(side, Number):
            if side.data is not None and not np.isfinite(side.data).all():
                raise Unsupported("a constant that is not finite: ggml selects by multiplying with 0 and 1")
            part = times(g, kept, g.floats(side))
        elif math.isinf(side):
            part = scaled(g, unary(ggml.ggml_log)(g, sides[1 - index][0]), math.copysign(1.0, -side))
        elif side:
            part = scaled(g, kept, side)
        else:
            continue
        total = part if total is None else plus(g, total, part)
    if total is None:
        total = filled(g, shape, 0.0)
    total = g.grow(total, shape)
    return g.made(g.tensor(total), shape, dtype)


def clamp(g: Graph, x: Value, low: Number | None, high: Number | None) -> Value:
    """On a copy: ggml clamps in place."""
    bounds = [-math.inf if low is None else low, math.inf if high is None else high]
    copy = g.call(ggml.ggml_cont, rows(g, x))
    return g.made(g.call(ggml.ggml_clamp, copy, *bounds), x.shape)


def extreme(*, largest: bool) -> Callable[[Graph, Value, Value], Value]:
    """`maximum` or `minimum`: whichever is larger is taken as it is."""

    def operator(g: Graph, a: Value, b: Value) -> Value:
        a, b = g.floats(a), g.floats(b)
        first = positive(g, minus(g, a, b))
        return where(g, first, a, b) if largest else where(g, first, b, a)

    return operator


def erf(g: Graph, x: Value) -> Value:
    """Out of the exact GELU, which is y / 2 · (1 + that of y / √2); where y is 0, of a y that nearly is."""
    y = scaled(g, x, math.sqrt(2))
    zero = inverted(g, positive(g, unary(ggml.ggml_abs)(g, y)))
    y = plus(g, y, scaled(g, zero, 1e-30))
    return scaled(g, over(g, unary(ggml.ggml_gelu_erf)(g, y), y), 2.0, -1.0)


def to(g: Graph, x: Value, dtype: str) -> Value:
    """A cast; whole numbers stay floats until they are an index."""
    if dtype == "bool":
        return compare(distance=True)(g, x, 0)
    numbers = g.floats(x)
    if dtype != "float32" and x.dtype == "float32":
        numbers = unary(ggml.ggml_trunc)(g, numbers)
    return g.made(g.tensor(numbers), x.shape, dtype)


def full(g: Graph, size: list[int], value: Number, dtype: str) -> Value:
    """A constant."""
    return g.constant(np.full(size, value, dtype))


def either(g: Graph, a: Value, b: Value) -> Value:
    """Whether the sum of two flags is positive."""
    return positive(g, plus(g, a, b))


def both(g: Graph, a: Value, b: Value) -> Value:
    """The product of two flags."""
    return flag(g, times(g, a, b).tensor, np.broadcast_shapes(a.shape, b.shape))


OPERATORS: dict[str, Callable[..., Value]] = {
    **{
        name: unary(getattr(ggml, f"ggml_{name}"))
        for name in ("abs", "cos", "exp", "log", "neg", "relu", "sigmoid", "silu", "sin", "sqrt", "tanh")
    },
    "add": add,
    "bitwise_and": both,
    "bitwise_not": inverted,
    "bitwise_or": either,
    "clamp": clamp,
    "detach": lambda _, x: x,
    "div": div,
    "eq": compare(distance=True, inverse=True),
    "erf": erf,
    "full": full,
    "ge": compare(swapped=True, inverse=True),
    "gelu": lambda g, x, _: unary(ggml.ggml_gelu_erf)(g, x),
    "gt": compare(),
    "le": compare(inverse=True),
    "logical_and": both,
    "logical_not": inverted,
    "logical_or": either,
    "lt": compare(swapped=True),
    "maximum": extreme(largest=True),
    "minimum": extreme(largest=False),
    "mul": mul,
    "ne": compare(distance=True),
    "sub": sub,
    "to": to,
    "where": where,
}
