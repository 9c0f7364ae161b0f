"""What is computed element by element, and along one dimension, written with simpler operators."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.program.expand.tensor import Tensor, cat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_inferena.program.expand.tensor import Number

ERF = (
    (-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04,
     -2.95459980854025e-03, -1.60960333262415e-02),
    (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02),
)  # fmt: skip
TANH = (
    (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05,
     6.37261928875436e-04, 4.89352455891786e-03),
    (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03),
)  # fmt: skip
"""Odd functions as x · P(x²) / Q(x²), in float32 to a few units in the last place; coefficients as in Eigen and XLA."""


def _rational(x: Tensor, coefficients: tuple[Sequence[float], Sequence[float]], bound: float) -> Tensor:
    x = clamp(x, -bound, bound)
    square = x * x
    above, below = (horner(square, one) for one in coefficients)
    return x * above / below


def horner(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """A polynomial, the coefficient of the highest power first."""
    total = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        total = total * x + coefficient
    return total


def clamp(x: Tensor, low: Number | None, high: Number | None) -> Tensor:
    """Between two numbers; where a gradient is derived by a choice, for at a bound it is zero, not a half."""
    if x.graph.trains:
        x = x if low is None else x.compare("le", low).where(low, x)
        return x if high is None else x.compare("ge", high).where(high, x)
    x = x if low is None else x.maximum(low)
    return x if high is None else x.minimum(high)


def gelu(x: Tensor, approximate: str) -> Tensor:
    """By the error function, or by tanh."""
    if approximate == "tanh":
        inner = (x * x * x * 0.044715 + x) * math.sqrt(2 / math.pi)
        return x * 0.5 * (inner.unary("tanh") + 1.0)
    return x * 0.5 * ((x * math.sqrt(0.5)).unary("erf") + 1.0)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e⁻ˣ); where a gradient is derived the power stays finite, so that none is 0 · ∞."""
    less = (-x).minimum(88.0) if x.graph.trains else -x
    return 1.0 / (less.unary("exp") + 1.0)


def relu(x: Tensor) -> Tensor:
    """The larger of x and zero; where a gradient is derived by a choice, as in `clamp`."""
    return clamp(x, 0.0, None)


def log1p(x: Tensor) -> Tensor:
    """Log u for u = 1 + x, and what rounding lost unless u is 0 or ∞; that is no function of x to a gradient."""
    u = x + 1.0
    known = u.detach()
    for bound, side in ((1e-38, "lt"), (3e38, "gt")):  # by choices: an engine with `where` may have no `maximum`
        known = known.compare(side, bound).where(1.0, known)
    return u.unary("log") + (x.detach() - (known - 1.0)) / known


def power(x: Tensor | Number, exponent: Tensor | Number) -> Tensor | None:
    """By products and roots; in general by e^(y · log x), where the base is above zero.

    Returns None where both are tensors: the sign of a negative base depends on the values.
    """
    if isinstance(exponent, Tensor):
        return (exponent * math.log(x)).unary("exp") if not isinstance(x, Tensor) and x > 0 else None
    assert isinstance(x, Tensor)  # noqa: S101 - one of them is
    if exponent == 0:
        return x.full(x.shape, 1.0)
    if exponent in {0.5, -0.5}:
        return x.unary("sqrt" if exponent > 0 else "rsqrt")
    if exponent == int(exponent) and abs(exponent) <= 64:
        return _product(x if exponent > 0 else 1.0 / x, abs(int(exponent)))
    if not x.graph.trains:
        return (x.unary("log") * exponent).unary("exp")
    zero = x.compare("eq", 0.0)  # its logarithm times a power of zero would be a gradient of 0 · ∞
    general = (zero.where(1.0, x).unary("log") * exponent).unary("exp")
    return zero.where(_at_zero(x, zero, exponent), general)


def _at_zero(x: Tensor, zero: Tensor, exponent: float) -> Tensor:
    """What a power is at zero, and its gradient there: 0, ∞ or -∞. All of it is finite elsewhere."""
    if exponent > 1:
        return x * 0.0
    if exponent < 0:
        return 1.0 / zero.where(x, 1.0)
    return x * (zero.to(x.dtype) * 3e38) * 3e38  # no constant, which an engine may fold to ∞


def _product(x: Tensor, times: int) -> Tensor:
    if times == 1:
        return x
    half = _product(x, times // 2)
    return half * half * x if times % 2 else half * half


def sub(x: Tensor | Number, y: Tensor | Number) -> Tensor:
    """A sum with the opposite."""
    if isinstance(x, Tensor):
        return x + (-y)
    assert isinstance(y, Tensor)  # noqa: S101 - one of them is
    return -y + x


def compare(operator: str) -> Callable[..., Tensor]:
    """By `lt`, which is read from either side, and negation."""

    def rule(x: Tensor, y: Any) -> Tensor:
        if operator == "gt":
            return y.compare("lt", x) if isinstance(y, Tensor) else (-x).compare("lt", -y)
        if operator in {"ge", "le"}:
            return x.compare("lt" if operator == "ge" else "gt", y).unary("logical_not")
        apart = x.make("logical_or", {"self": x.compare("lt", y), "other": x.compare("gt", y)}, _shape(x, y), "bool")
        return apart if operator == "ne" else apart.unary("logical_not")

    return rule


def _shape(x: Tensor, y: Any) -> tuple[int, ...]:
    return x.compare("lt", y).shape


def logical(operator: str) -> Callable[..., Tensor]:
    """By arithmetic on 0 and 1."""

    def rule(*values: Tensor) -> Tensor:
        numbers = [value.to("float32") for value in values]
        if operator == "not":
            return numbers[0].compare("lt", 0.5)
        result = numbers[0] * numbers[1] if operator == "and" else numbers[0].maximum(numbers[1])
        return result.compare("gt", 0.5)

    return rule


def where(condition: Tensor, first: Any, second: Any) -> Tensor:
    """The smaller of a value and ∞ is the value, the larger of it and -∞ too: no product, so that ∞ may be chosen.

    Of integers and truth values, which have no infinity, it is a sum of products with 0 and 1.
    """
    tensor = first if isinstance(first, Tensor) else second
    if not tensor.dtype.startswith("float"):
        chosen = condition.to("int64")
        sides = [side.to("int64") if isinstance(side, Tensor) else int(side) for side in (first, second)]
        return (chosen * sides[0] + (1 - chosen) * sides[1]).to(tensor.dtype)
    side = (condition.to(tensor.dtype) - 0.5) * math.inf  # ∞ where true, -∞ where false
    return side.minimum(first).maximum((-side).minimum(second))


def bitwise(operator: str) -> Callable[..., Tensor | None]:
    """Of truth values it is the logical one; None of integers."""

    def rule(*values: Tensor) -> Tensor | None:
        first = values[0]
        names = dict(zip(("self", "other"), values, strict=False))
        shape = first.shape if len(values) == 1 else _shape(*values)
        return first.make(f"logical_{operator}", names, shape) if first.dtype == "bool" else None

    return rule


def softmax(x: Tensor, dim: int) -> Tensor:
    """Shares of powers; the largest one is 1."""
    powers = (x - x.reduce("amax", [dim]).detach()).unary("exp")
    return powers / powers.reduce("sum", [dim])


def log_softmax(x: Tensor, dim: int) -> Tensor:
    """The logarithm of the shares, without a quotient."""
    less = x - x.reduce("amax", [dim]).detach()
    return less - less.unary("exp").reduce("sum", [dim]).unary("log")


def cumsum(x: Tensor, dim: int) -> Tensor:
    """A product with a triangle of ones; integers, which have to be exact, row by row."""
    length = x.shape[dim]
    if x.dtype.startswith("float"):
        x = x.swap(dim, x.rank - 1)
        triangle = x.constant(np.triu(np.ones((length, length), np.float32))).to(x.dtype)
        flat = x.reshape(-1, length) @ triangle
        return flat.reshape(*x.shape).swap(dim, x.rank - 1)
    rows = [x.slice(dim, 0, 1)]
    for at in range(1, length):
        rows.append(rows[-1] + x.slice(dim, at, at + 1))
    return cat(rows, dim)


def any_of(x: Tensor, dim: int, keepdim: bool) -> Tensor:
    """Whether one of them is true."""
    return x.to("float32").reduce("amax", [dim], keepdim=keepdim).compare("gt", 0.5)


def mean(x: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    """A sum, by how many they are."""
    return x.reduce("sum", dims, keepdim=keepdim) * (1 / math.prod(x.shape[dim] for dim in dims))


EXPANSIONS: Mapping[str, Callable[..., Tensor | None]] = {
    "abs": lambda x: x.maximum(-x),
    "any": any_of,
    "bitwise_and": bitwise("and"),
    "bitwise_not": bitwise("not"),
    "bitwise_or": bitwise("or"),
    "clamp": clamp,
    "cos": lambda x: (x + math.pi / 2).unary("sin"),
    "cumsum": cumsum,
    "detach": lambda x: None if x.graph.trains else x,
    "erf": lambda x: _rational(x, ERF, 4.0),
    "gelu": gelu,
    "log1p": log1p,
    "log_softmax": log_softmax,
    "logical_and": logical("and"),
    "logical_not": logical("not"),
    "logical_or": logical("or"),
    "mean": mean,
    "minimum": lambda x, y: -((-x).maximum(-y)),
    "neg": lambda x: x * -1,
    "pow": power,
    "relu": relu,
    "rsqrt": lambda x: 1.0 / x.unary("sqrt"),
    "sigmoid": sigmoid,
    "silu": lambda x: x * x.unary("sigmoid"),
    "softmax": softmax,
    "sub": sub,
    "tanh": lambda x: _rational(x, TANH, 7.90531110763549805),
    "to": lambda x, dtype: x.compare("ne", 0) if dtype == "bool" else None,
    "where": where,
    **{name: compare(name) for name in ("eq", "ge", "gt", "le", "ne")},
}
"""Operator → a function of the node's arguments in their order; None where these can't be expanded."""
