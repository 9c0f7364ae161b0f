"""Functions of single numbers beyond the closed set."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_inferena.program.expand.layers import reduced
from pytest_inferena.program.expand.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_inferena.worker.format import TensorSpec

    Rule: TypeAlias = Callable[[Mapping[str, Any], tuple[TensorSpec, ...]], Tensor | tuple[Tensor | None, ...]]


def of_one(function: Callable[[Tensor], Tensor]) -> Rule:
    """A function of one tensor, in the result's dtype."""
    return lambda a, out: function(a["self"].to(out[0].dtype))


def arctangent(x: Tensor) -> Tensor:
    """By a polynomial on [-tan π/8, tan π/8], to which larger numbers are brought; coefficients of Cephes' atanf."""
    size, side = x.unary("abs"), sign(x)
    large, middle = size.compare("gt", 2.414213562373095), size.compare("gt", 0.4142135623730950)
    inverse = -1.0 / large.where(x, 1.0)
    rest = large.where(1.0, size)
    between = side * (rest - 1.0) / (rest + 1.0)
    near = large.where(inverse, middle.where(between, x))
    steps = large.to(x.dtype) + middle.to(x.dtype)  # of π / 4
    square = near * near
    series = ((square * 8.05374449538e-2 - 1.38776856032e-1) * square + 1.99777106478e-1) * square - 3.33329491539e-1
    return steps * side * (math.pi / 4) + (series * square * near + near)


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1; no gradient."""
    return x.compare("gt", 0).to(x.dtype) - x.compare("lt", 0).to(x.dtype)


def expm1(x: Tensor) -> Tensor:
    """Near zero tanh(x / 2) · (eˣ + 1), which loses nothing there; else eˣ - 1."""
    small = x.unary("abs").compare("lt", 1.0)
    y = small.where(x, 0.0)
    return small.where((y * 0.5).unary("tanh") * (y.unary("exp") + 1.0), x.unary("exp") - 1.0)


def elu(x: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    """The power is only of numbers below zero, so that none that is not chosen overflows."""
    above = x.compare("gt", 0)
    return above.where(x * scale, expm1(above.where(0.0, x) * input_scale) * (alpha * scale))


def softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + eˣ), and x itself above a threshold; the power is not of those, for which it overflows."""
    scaled = x if beta == 1 else x * beta
    large = scaled.compare("gt", threshold)
    soft = large.where(0.0, scaled).unary("exp").unary("log1p")
    return large.where(x, soft if beta == 1 else soft * (1 / beta))


def asinh(x: Tensor) -> Tensor:
    """log1p(x + x² / (1 + √(x² + 1))); beyond 1, by size, log x + log1p √(1 + 1 / x²), of which no square overflows."""
    size = x.unary("abs")
    small = size.compare("lt", 1.0)
    y, large = small.where(x, 0.0), small.where(1.0, size)
    inverse = 1.0 / large
    square = y * y
    near = (y + square / ((square + 1.0).unary("sqrt") + 1.0)).unary("log1p")
    far = large.unary("log") + (inverse * inverse + 1.0).unary("sqrt").unary("log1p")
    return small.where(near, sign(x) * far)


def hypot(x: Tensor, y: Tensor) -> Tensor:
    """√(x² + y²) by shares of the larger, whose squares neither overflow nor vanish; no gradient at zero."""
    larger = x.unary("abs").maximum(y.unary("abs")).detach()
    scale = larger.compare("eq", 0.0).where(1.0, larger.minimum(3e38))
    x, y = x / scale, y / scale
    return power(x * x + y * y) * scale


def sinh(x: Tensor) -> Tensor:
    """(t + t / (t + 1)) / 2 of t = eˣ - 1, which loses nothing near zero; beyond 1 by powers."""
    small = x.unary("abs").compare("lt", 1.0)
    t = expm1(small.where(x, 0.0))
    return small.where(t + t / (t + 1.0), x.unary("exp") - (-x).unary("exp")) * 0.5


def sinc(x: Tensor) -> Tensor:
    """sin(πx) / πx, and 1 at zero."""
    zero = x.compare("eq", 0.0)
    angle = zero.where(1.0, x * math.pi)
    return zero.where(1.0, angle.unary("sin") / angle)


def signbit(x: Tensor) -> Tensor:
    """Whether it is negative; of -0 the reciprocal tells it. The sign of NaN is lost."""
    return x.compare("eq", 0.0).where(1.0 / x, x).compare("lt", 0.0)


def xlogy(x: Tensor, y: Tensor) -> Tensor:
    """X · log y, and zero where x is, also of a y that has no logarithm."""
    none = x.compare("eq", 0.0) & y.compare("le", 0.0)
    return x * none.where(1.0, y).unary("log")


def floor(x: Tensor) -> Tensor:
    """The next integer below; no gradient."""
    return x.make("floor_divide", {"self": x.detach(), "other": 1.0}, x.shape)


def trunc(x: Tensor) -> Tensor:
    """The next integer towards zero."""
    return sign(x) * floor(x.unary("abs"))


def power(x: Tensor, exponent: float = 0.5) -> Tensor:
    """A power with a gradient of zero at zero, as norms have it."""
    nothing = x.compare("eq", 0)
    safe = nothing.where(1.0, x)
    return nothing.where(0.0, safe.unary("sqrt") if exponent == 0.5 else safe**exponent)


def rounded(x: Tensor) -> Tensor:
    """The nearest integer, the even one of two."""
    low = floor(x)
    rest = x - low
    odd = low - floor(low * 0.5) * 2.0
    up = (rest.compare("gt", 0.5).to(x.dtype) + rest.compare("eq", 0.5).to(x.dtype) * odd).minimum(1.0)
    return low + up


def _quotient(whole: Callable[[Tensor], Tensor]) -> Rule:
    """What a division leaves, by how its quotient is made whole."""

    def rule(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
        x, y = (one.to(out[0].dtype) if isinstance(one, Tensor) else one for one in (a["self"], a["other"]))
        if not isinstance(x, Tensor):
            x = y.full(y.shape, x)
        if not out[0].dtype.startswith("float"):
            quotient = x.make("floor_divide", {"self": x, "other": y}, out[0].shape)
            return x - quotient * y
        return x - whole(x / y) * y

    return rule


def _logarithm(base: float) -> Rule:
    return of_one(lambda x: x.unary("log") * (1 / math.log(base)))


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    """A function of two tensors."""
    return lambda a, out: function(a["self"].to(out[0].dtype), a["other"].to(out[0].dtype))


def atan2(y: Tensor, x: Tensor) -> Tensor:
    """The angle of (x, y): that of y / x, half a turn further where x is below zero."""
    level = x.compare("eq", 0.0)
    angle = arctangent(y / level.where(1.0, x))
    side = 1.0 - y.compare("lt", 0.0).to(y.dtype) * 2.0  # a y of zero counts as above
    turned = x.compare("lt", 0.0).where(angle + side * math.pi, angle)
    return level.where(sign(y) * (math.pi / 2), turned)


def huber_loss(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """Half the square of a difference up to delta, delta · difference beyond; no square of what lies beyond."""
    x: Tensor = a["self"].to(out[0].dtype)
    size, delta = (x - a["target"].to(out[0].dtype)).unary("abs"), a["delta"]
    near = size.minimum(delta)
    return reduced(near * near * 0.5 + (size - near) * delta, a["reduction"])


def smooth_l1_loss(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """Huber's loss over beta."""
    beta: float = a["beta"]
    return huber_loss({**a, "delta": beta}, out) * (1 / beta)


FUNCTIONS: Mapping[str, Rule] = {
    "acos": of_one(lambda x: math.pi / 2 - arctangent(x / (1.0 - x * x).unary("sqrt"))),
    "acosh": of_one(lambda x: (x + ((x - 1.0) * (x + 1.0)).unary("sqrt")).unary("log")),
    "asin": of_one(lambda x: arctangent(x / (1.0 - x * x).unary("sqrt"))),
    "asinh": of_one(asinh),
    "atan": of_one(arctangent),
    "atan2": _binary(atan2),
    "atanh": of_one(lambda x: (x * 2.0 / (1.0 - x)).unary("log1p") * 0.5),
    "ceil": of_one(lambda x: -floor(-x)),
    "celu": lambda a, out: elu(a["self"].to(out[0].dtype), a["alpha"], 1, 1 / a["alpha"]),
    "elu": lambda a, out: elu(a["self"].to(out[0].dtype), a["alpha"], a["scale"], a["input_scale"]),
    "cosh": of_one(lambda x: (x.unary("exp") + (-x).unary("exp")) * 0.5),
    "erfc": of_one(lambda x: 1.0 - x.unary("erf")),
    "exp2": of_one(lambda x: (x * math.log(2)).unary("exp")),
    "expm1": of_one(expm1),
    "floor": of_one(floor),
    "fmod": _quotient(trunc),
    "frac": of_one(lambda x: x - trunc(x)),
    "hypot": _binary(hypot),
    "isnan": lambda a, _: a["self"].compare("ne", a["self"]),
    "huber_loss": huber_loss,
    "log10": _logarithm(10),
    "log2": _logarithm(2),
    "mish": of_one(lambda x: x * softplus(x).unary("tanh")),
    "remainder": _quotient(floor),
    "round": of_one(rounded),
    "sign": of_one(sign),
    "sgn": of_one(sign),
    "signbit": of_one(signbit),
    "sinc": of_one(sinc),
    "sinh": of_one(sinh),
    "smooth_l1_loss": smooth_l1_loss,
    "softplus": lambda a, out: softplus(a["self"].to(out[0].dtype), a["beta"], a["threshold"]),
    "tan": of_one(lambda x: x.unary("sin") / x.unary("cos")),
    "trunc": of_one(trunc),
    "xlogy": _binary(xlogy),
}
"""ATen's name → a function of the arguments by ATen's names, and of what the node makes."""
