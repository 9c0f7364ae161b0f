"""Special functions beyond the closed set: those that losses and distributions have."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_inferena.program.beyond.functions import floor, of_one
from pytest_inferena.program.expand.pointwise import horner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_inferena.program.beyond.functions import Rule
    from pytest_inferena.program.expand.tensor import Tensor

NEAR = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164,
        0.246640727, 1.50140941)  # fmt: skip
FAR = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
       1.00167406, 2.83297682)  # fmt: skip
"""The inverse of erf as a polynomial of -log(1 - x²) or of its root; coefficients of M. Giles, 2010."""
SHIFT = 8
"""From there on Stirling's series has float32's precision; smaller numbers are brought there step by step."""


def erfinv(x: Tensor) -> Tensor:
    """With the gradient that it has, not that of the polynomial."""
    size = -(1.0 - x * x).unary("log")
    close = size.compare("lt", 5.0)
    far = close.where(5.0, size)
    near = horner(close.where(size, 0.0) - 2.5, NEAR)
    value = close.where(near, horner(far.unary("sqrt") - 3.0, FAR)) * x
    one = x.unary("abs").compare("eq", 1.0)
    value = one.where(x * math.inf, one.where(0.0, value))
    return _with_slope(x, value, (value * value).unary("exp") * (math.sqrt(math.pi) / 2))


def lgamma(x: Tensor) -> Tensor:
    """The logarithm of the gamma function's size, by Stirling's series."""
    value = _mirrored(x, _log_gamma, _below)
    return _with_slope(x, value, digamma(x)) if x.graph.trains else value


def _below(mirrored: Tensor, turn: Tensor) -> Tensor:
    return math.log(math.pi) - turn.unary("sin").unary("abs").unary("log") - mirrored


def digamma(x: Tensor) -> Tensor:
    """The slope of the logarithm of the gamma function."""
    return _mirrored(x, _digamma, lambda y, turn: y - turn.unary("cos") / turn.unary("sin") * math.pi)


def _mirrored(x: Tensor, above: Callable[[Tensor], Tensor], below: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Of numbers below a half by what it is of 1 - x, and by how far x is from the next integer."""
    low = x.compare("lt", 0.5)
    found = above(low.where(1.0 - x, x))
    turn = (x - floor(x + 0.5)) * math.pi
    return low.where(below(found, low.where(turn, 1.0)), found)


def _log_gamma(x: Tensor) -> Tensor:
    small, z = _shifted(x)
    steps: Tensor = z * 0.0 + 1.0
    for at in range(SHIFT):
        steps = steps * (small.where(x, 1.0) + float(at))
    inverse = 1.0 / z
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260)))
    value = (z - 0.5) * z.unary("log") - z + 0.5 * math.log(2 * math.pi) + series
    return value - small.where(steps.unary("log"), 0.0)


def _digamma(x: Tensor) -> Tensor:
    small, z = _shifted(x)
    inverse = 1.0 / z
    square = inverse * inverse
    value = z.unary("log") - inverse * 0.5 - square * (1 / 12 - square * (1 / 120 - square * (1 / 252)))
    for at in range(SHIFT):
        value = value - small.where(1.0 / (small.where(x, 1.0) + float(at)), 0.0)
    return value


def _shifted(x: Tensor) -> tuple[Tensor, Tensor]:
    """Where a number is too small for the series, and one that is not."""
    small = x.compare("lt", float(SHIFT))
    return small, small.where(x + float(SHIFT), x)


def _with_slope(x: Tensor, value: Tensor, slope: Tensor) -> Tensor:
    """A value whose gradient is known."""
    if not x.graph.trains:
        return value
    return value.detach() + (x - x.detach()) * slope.detach().minimum(3e38)


SPECIAL: Mapping[str, Rule] = {"digamma": of_one(digamma), "erfinv": of_one(erfinv), "lgamma": of_one(lgamma)}
"""ATen's name → a function of the arguments by ATen's names, and of what the node makes."""
