"""Arithmetic and functions of pairs, of which a part may be None."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_inferena.program.beyond.functions import atan2, power
from pytest_inferena.program.expand.tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_inferena.program.pairs.node import Complex, Pair, Part


def plus(x: Part, y: Part) -> Part:
    """The sum of two parts."""
    if x is None or y is None:
        return y if x is None else x
    return x + y if isinstance(x, Tensor) else y + x


def minus(x: Part, y: Part) -> Part:
    """Their difference."""
    return x if y is None else -y if x is None else x - y


def mul(x: Part, y: Part) -> Part:
    """Their product."""
    if x is None or y is None:
        return None
    if not isinstance(y, Tensor) and y == 1:
        return x
    return x * y if isinstance(x, Tensor) else y * x


def times(x: Pair, y: Pair, product: Callable[[Part, Part], Part] = mul) -> Pair:
    """A product of any kind that is one of sums."""
    (a, b), (c, d) = x, y
    return minus(product(a, c), product(b, d)), plus(product(a, d), product(b, c))


def scaled(x: Pair, factor: Part) -> Pair:
    """Both parts times a real number."""
    return mul(x[0], factor), mul(x[1], factor)


def absolute(x: Pair) -> Tensor:
    """With a gradient of zero at zero."""
    real, imag = x
    if real is None or imag is None:
        found: Tensor = (imag if real is None else real).unary("abs")
        return found
    return power(real * real + imag * imag)


def angle(c: Complex, x: Pair) -> Tensor:
    """From the real axis."""
    real, imag = c.whole(x)
    return atan2(imag, real)


def inverse(x: Pair) -> Pair:
    """By shares of the larger part, whose squares neither overflow nor vanish."""
    real, imag = x
    if real is None or imag is None:
        return (None, -1.0 / imag) if real is None else (1.0 / real, None)
    larger = real.unary("abs").maximum(imag.unary("abs")).detach()
    size = larger.compare("eq", 0.0).where(1.0, larger)
    a, b = real / size, imag / size
    square = (a * a + b * b) * size
    return a / square, -b / square


def exp(x: Pair) -> Pair:
    """A turn by the imaginary part."""
    real, imag = x
    if imag is None:
        return real.unary("exp"), None
    turned = imag.unary("cos"), imag.unary("sin")
    return turned if real is None else scaled(turned, real.unary("exp"))


def power_of(c: Complex, x: Pair, exponent: Any) -> Pair:
    """By products; in general by a logarithm."""
    if isinstance(exponent, int | float) and exponent == int(exponent) and 0 < abs(exponent) <= 64:
        found = base = x if exponent > 0 else inverse(x)
        for bit in f"{int(abs(exponent)):b}"[1:]:
            found = times(found, found)
            found = times(found, base) if bit == "1" else found
        return found
    return exp(times(log(c, x), c.pair(exponent)))


def log(c: Complex, x: Pair) -> Pair:
    """Of the size, and the angle."""
    return absolute(x).unary("log"), angle(c, x)


def sqrt(c: Complex, x: Pair) -> Pair:
    """Half the angle."""
    half = angle(c, x) * 0.5
    return scaled((half.unary("cos"), half.unary("sin")), power(absolute(x)))


def sgn(x: Pair) -> Pair:
    """Of size 1, and 0 of 0."""
    size = absolute(x)
    return scaled(x, 1.0 / size.compare("eq", 0.0).where(1.0, size))
