"""Operators that work element by element, with ONNX's broadcasting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.program.onnx.builder import DTYPES, FLOATING
from pytest_inferena.worker.format import Ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_inferena.program.onnx.builder import Builder

    Rule = Callable[..., Any]


def unary(kind: str) -> Rule:
    """One operand, of the result's dtype."""
    return lambda b, x: b.op(kind, b.cast(x, b.out.dtype))


def binary(kind: str) -> Rule:
    """Two operands in the result's dtype."""
    return lambda b, x, y: b.op(kind, *b.broadcast((x, y), (b.out.dtype, b.out.dtype)))


def comparison(kind: str, *, negated: bool = False) -> Rule:
    """Two operands in the dtype that holds both."""

    def rule(b: Builder, x: Any, y: Any) -> Any:
        dtype = common(b, x, y)
        result = b.op(kind, *b.broadcast((x, y), (dtype, dtype)))
        return b.op("Not", result) if negated else result

    return rule


def logical(kind: str, bitwise: str = "") -> Rule:
    """And, Or, Xor or Not, of booleans or bit by bit."""

    def rule(b: Builder, *values: Any) -> Any:
        on_bits = bitwise and b.out.dtype != "bool"
        dtype = b.out.dtype if on_bits else "bool"
        return b.op(bitwise if on_bits else kind, *b.broadcast(values, [dtype] * len(values)))

    return rule


def common(b: Builder, *values: Any) -> str:
    """The dtype of a comparison: that of the tensors, or float32 if integers are compared with a float."""
    dtypes = {b.dtype(value) for value in values if isinstance(value, Ref)}
    dtype = np.result_type(*dtypes).name
    numbers = [value for value in values if not isinstance(value, Ref)]
    return "float32" if dtype not in FLOATING and any(isinstance(n, float) for n in numbers) else dtype


def power(b: Builder, x: Any, exponent: Any) -> Any:
    """A power; a square is a product."""
    if exponent == 2:
        name = b.cast(x, b.out.dtype)
        return b.op("Mul", name, name)
    return b.op("Pow", *b.broadcast((x, exponent), (b.out.dtype, b.out.dtype)))


def floor_divide(b: Builder, x: Any, y: Any) -> Any:
    """A quotient rounded down. ONNX rounds quotients of integers towards zero."""
    x, y = b.broadcast((x, y), (b.out.dtype, b.out.dtype))
    if b.out.dtype in FLOATING:
        return b.op("Floor", b.op("Div", x, y))
    return b.op("Div", b.op("Sub", x, b.op("Mod", x, y)), y)


def clamp(b: Builder, x: Any, low: Any, high: Any) -> Any:
    """Limited to the range between two numbers, either of which may be None."""
    low, high = (None if limit is None else b.cast(limit, b.out.dtype) for limit in (low, high))
    return b.op("Clip", b.cast(x, b.out.dtype), *((low or "", high) if high else (low,)))


def where(b: Builder, condition: Any, x: Any, y: Any) -> Any:
    """X where the condition holds, else y."""
    return b.op("Where", *b.broadcast((condition, x, y), ("bool", b.out.dtype, b.out.dtype)))


def cast(b: Builder, x: Any, dtype: str) -> Any:
    """To another dtype."""
    return b.op("Cast", b.tensor(x), to=DTYPES[dtype])


OPERATORS: dict[str, Rule] = {
    "abs": unary("Abs"),
    "add": binary("Add"),
    "bitwise_and": logical("And", "BitwiseAnd"),
    "bitwise_not": logical("Not", "BitwiseNot"),
    "bitwise_or": logical("Or", "BitwiseOr"),
    "clamp": clamp,
    "cos": unary("Cos"),
    "div": binary("Div"),
    "eq": comparison("Equal"),
    "erf": unary("Erf"),
    "exp": unary("Exp"),
    "floor_divide": floor_divide,
    "ge": comparison("GreaterOrEqual"),
    "gelu": lambda b, x, approximate: b.op("Gelu", b.tensor(x), approximate=approximate),
    "gt": comparison("Greater"),
    "le": comparison("LessOrEqual"),
    "log": unary("Log"),
    "logical_and": logical("And"),
    "logical_not": logical("Not"),
    "logical_or": logical("Or"),
    "lt": comparison("Less"),
    "maximum": binary("Max"),
    "minimum": binary("Min"),
    "mul": binary("Mul"),
    "ne": comparison("Equal", negated=True),
    "neg": unary("Neg"),
    "pow": power,
    "relu": unary("Relu"),
    "sigmoid": unary("Sigmoid"),
    "sin": unary("Sin"),
    "sqrt": unary("Sqrt"),
    "sub": binary("Sub"),
    "tanh": unary("Tanh"),
    "to": cast,
    "where": where,
}
