"""The rules for operators of complex numbers that mix the two parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_inferena.program.expand.tensor import cat
from pytest_inferena.program.pairs import numbers
from pytest_inferena.program.pairs.fourier import FOURIER
from pytest_inferena.program.pairs.numbers import minus, plus, times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_inferena.program.expand.tensor import Tensor
    from pytest_inferena.program.graph import Arguments
    from pytest_inferena.program.pairs.node import Complex, Pair, Part, Rule


def _sum(c: Complex) -> Pair:
    """`add`, `sub` and `rsub`."""
    first, second = ("other", "self") if c.node.operator == "rsub" else ("self", "other")
    x, y = c.pair(c.a[first]), times(c.pair(c.a[second]), c.pair(c.a.get("alpha", 1)))
    by = plus if c.node.operator == "add" else minus
    return by(x[0], y[0]), by(x[1], y[1])


def _multiplied(c: Complex, operator: str, first: str, second: str, rest: Arguments) -> Pair:
    """By an operator that is a product of some kind."""

    def product(x: Part, y: Part) -> Part:
        return None if x is None or y is None else c.call(operator, {first: x, second: y, **rest})

    return times(c.pair(c.a[first]), c.pair(c.a[second]), product)


def _product(c: Complex) -> Pair:
    """The first two arguments are multiplied; a bias comes after it."""
    first, second, *others = c.a
    bias = c.a.get("bias")
    rest = {name: None if name == "bias" else c.a[name] for name in others}
    found = _multiplied(c, c.node.operator, first, second, rest)
    if bias is None:
        return found
    axes = [1] * (0 if c.node.operator == "linear" else len(c.out.shape) - 2)
    real, imag = (None if part is None else part.reshape(-1, *axes) for part in c.pair(bias))
    return plus(found[0], real), plus(found[1], imag)


def _plus_product(operator: str, first: str, second: str) -> Rule:
    """Beta · self + alpha · (first · second)."""

    def rule(c: Complex) -> Pair:
        alpha = c.pair(c.a.get("alpha", c.a.get("value", 1)))
        product = times(_multiplied(c, operator, first, second, {}), alpha)
        rest = times(c.pair(c.a["self"]), c.pair(c.a.get("beta", 1)))
        return plus(product[0], rest[0]), plus(product[1], rest[1])

    return rule


def _equal(c: Complex) -> Tensor:
    x, y = (c.whole(c.pair(c.a[name])) for name in ("self", "other"))
    both = x[0].compare("eq", y[0]) & x[1].compare("eq", y[1])
    return both.unary("logical_not") if c.node.operator == "ne" else both


def _of(function: Callable[[Pair], Any]) -> Rule:
    """A function of one complex number."""
    return lambda c: function(c.pair(c.a["self"]))


def _as_complex(c: Complex) -> Pair:
    x = c.tensor(c.a["self"].name)
    real, imag = (x.slice(-1, at, at + 1).reshape(*c.out.shape) for at in (0, 1))
    return real, imag


def _as_real(c: Complex) -> Tensor:
    parts = c.whole(c.pair(c.a["self"]), c.out.shape[:-1])
    return cat([part.reshape(*part.shape, 1) for part in parts], len(c.out.shape) - 1)


def _quotient(c: Complex) -> Pair:
    return times(c.pair(c.a["self"]), numbers.inverse(c.pair(c.a["other"])))


def _norm(c: Complex) -> Tensor:
    sizes = numbers.absolute(c.pair(c.a["self"]))
    return c.call("linalg_vector_norm", c.a | {"self": sizes})


def _conjugate(x: Pair) -> Pair:
    return x[0], None if x[1] is None else -x[1]


RULES: Mapping[str, Rule] = {
    **FOURIER,
    **dict.fromkeys(("_conj", "_conj_physical", "conj_physical"), _of(_conjugate)),
    "abs": _of(numbers.absolute),
    **dict.fromkeys(("add", "rsub", "sub"), _sum),
    "addcmul": _plus_product("mul", "tensor1", "tensor2"),
    "addmm": _plus_product("mm", "mat1", "mat2"),
    "angle": lambda c: numbers.angle(c, c.pair(c.a["self"])),
    "baddbmm": _plus_product("bmm", "batch1", "batch2"),
    **dict.fromkeys(("bmm", "conv1d", "conv2d", "convolution", "dot", "linear", "matmul", "mm", "mul", "mv"), _product),
    "complex": lambda c: (c.pair(c.a["real"])[0], c.pair(c.a["imag"])[0]),
    **dict.fromkeys(("div", "true_divide"), _quotient),
    **dict.fromkeys(("eq", "ne"), _equal),
    "exp": _of(numbers.exp),
    "linalg_vector_norm": _norm,
    "log": lambda c: numbers.log(c, c.pair(c.a["self"])),
    "pow": lambda c: numbers.power_of(c, c.pair(c.a["self"]), c.a["exponent"]),
    "reciprocal": _of(numbers.inverse),
    "sgn": _of(numbers.sgn),
    "sqrt": lambda c: numbers.sqrt(c, c.pair(c.a["self"])),
    "square": _of(lambda x: times(x, x)),
    "view_as_complex": _as_complex,
    "view_as_real": _as_real,
}
"""ATen's name → the parts of what a node makes, or the real tensor that it makes."""
