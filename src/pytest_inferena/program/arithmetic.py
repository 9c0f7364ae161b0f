"""Rules for operators that compute: dtypes made equal by casts, defaults filled in, rare ones spelled out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_inferena.program.expand.tensor import Tensor
from pytest_inferena.worker.format import Ref, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.program.graph import Arguments, Graph, Rule

    Outputs = tuple[TensorSpec, ...]

WIDER = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
"""In which dtype two tensors meet: that of the one further right."""


def _binary(operator: str) -> Rule:
    """Both operands in the result's dtype; a constant without dimensions is a number."""

    def rule(g: Graph, a: Arguments, out: Outputs) -> Ref:
        first, second = list(a.values())[:2]
        if operator not in {"maximum", "minimum"}:  # ATen takes tensors alone there
            first, second = g.number(first), g.number(second)
        if not isinstance(first, Ref) and not isinstance(second, Ref):
            first = next(iter(a.values()))
        if not isinstance(first, Ref) and operator in {"add", "mul"}:
            first, second = second, first
        names = ("self", "exponent" if operator == "pow" else "other")
        operands = (g.cast(first, out[0]), g.cast(second, out[0]))
        return g.emit(operator, dict(zip(names, operands, strict=True)), out[0])

    return rule


def _div(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    """The true quotient, or one made whole, which has no gradient: rounded down, or towards zero."""
    pair, rounding = {"self": a["self"], "other": a["other"]}, a.get("rounding_mode")
    if not rounding:
        return _binary("div")(g, pair, out)
    pair = {name: _still(g, value, out[0]) for name, value in pair.items()}
    if rounding == "floor":
        return _binary("floor_divide")(g, pair, out)
    x, y = (_tensor(g, value, out[0]) for value in pair.values())
    quotient = x.make("floor_divide", {"self": x.unary("abs"), "other": y.unary("abs")}, out[0].shape)
    turned = x.compare("lt", 0).compare("ne", y.compare("lt", 0))
    return Ref(turned.where(-quotient, quotient).name)


def _tensor(g: Graph, value: Any, out: TensorSpec) -> Tensor:
    """Also of a number."""
    if not isinstance(value, Ref):
        value = g.made("full", {"size": [], "fill_value": value, "dtype": out.dtype}, out, ())
    return Tensor(g, out, value.name)


def _still(g: Graph, value: Any, out: TensorSpec) -> Any:
    """A tensor of the result's dtype that has no gradient."""
    value = g.cast(value, out)
    if not isinstance(value, Ref) or not g.trains or not out.dtype.startswith("float"):
        return value
    return g.made("detach", {"self": value}, out, g.shape(value))


def _sum(operator: str) -> Rule:
    """`add` and `sub` scale an operand; almost always by one."""

    def rule(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
        first, other = a["self"], _scaled(g, a["other"], a.get("alpha", 1), out[0])
        if operator == "rsub":
            first = _scaled(g, first, a.get("alpha", 1), out[0])
            first, other = a["other"], first
        return _binary("add" if operator == "add" else "sub")(g, {"self": first, "other": other}, out)

    return rule


def _scaled(g: Graph, value: Any, factor: Any, out: TensorSpec) -> Any:
    if factor == 1:
        return value
    if not isinstance(value, Ref):
        return value * factor
    return g.made("mul", {"self": g.cast(value, out), "other": factor}, out, g.shape(value))


def _compare(operator: str) -> Rule:
    def rule(g: Graph, a: Arguments, out: Outputs) -> Ref:
        first, second = a["self"], g.number(a["other"])
        dtype = max(filter(None, (g.dtype(first), g.dtype(second))), key=WIDER.index)
        return g.emit(operator, {"self": g.cast(first, out[0], dtype), "other": g.cast(second, out[0], dtype)}, out[0])

    return rule


def _logical(operator: str) -> Rule:
    """`bitwise_and` and its like are the logical operators on bool, and stay as they are on integers."""

    def rule(g: Graph, a: Arguments, out: Outputs) -> Ref:
        bitwise = out[0].dtype != "bool"
        name = operator.replace("logical", "bitwise") if bitwise else operator
        return g.emit(name, {key: g.cast(value, out[0]) for key, value in a.items()}, out[0])

    return rule


def _where(g: Graph, a: Arguments, out: Outputs) -> Ref:
    if "pred" in a:  # of prims, to which PyTorch takes some operators apart
        a = {"condition": a["pred"], "self": a["a"], "other": a["b"]}
    condition = a["mask"] if "mask" in a else a["condition"]
    first, second = (a["value"], a["self"]) if "mask" in a else (a["self"], a["other"])
    first, second = (g.cast(g.number(value), out[0]) for value in (first, second))
    if not isinstance(first, Ref) and not isinstance(second, Ref):
        first = g.made("full", {"size": [], "fill_value": first, "dtype": out[0].dtype}, out[0], ())
    return g.emit("where", {"condition": condition, "self": first, "other": second}, out[0])


def _clamp(low: str, high: str) -> Rule:
    """Bounds by the names they have in ATen, or as numbers."""

    def bound(g: Graph, a: Arguments, name: str) -> Any:
        return g.number(a[name]) if name in a else (float(name) if name else None)

    def rule(g: Graph, a: Arguments, out: Outputs) -> Ref:
        bounds = {"min": bound(g, a, low), "max": bound(g, a, high)}
        x, last = g.cast(a["self"], out[0]), ("max" if bounds["max"] is not None else "min")
        if not any(isinstance(value, Ref) for value in bounds.values()):
            return g.emit("clamp", {"self": x, **bounds}, out[0])
        for name, operator in (("min", "maximum"), ("max", "minimum")):
            if (value := bounds[name]) is not None:
                shape = [1] * len(out[0].shape)
                filled = {"size": shape, "fill_value": value, "dtype": out[0].dtype}
                value = g.cast(value, out[0]) if isinstance(value, Ref) else g.made("full", filled, out[0], shape)
                pair = {"self": x, "other": value}
                x = g.emit(operator, pair, out[0]) if name == last else g.made(operator, pair, out[0], out[0].shape)
        return Ref(x.name)

    return rule


def _dims(g: Graph, a: Arguments) -> list[int]:
    rank = len(g.shape(a["self"]))
    dims = a.get("dim")
    dims = [dims] if isinstance(dims, int) else (dims or list(range(rank)))
    return [dim % rank for dim in dims] if rank else []


def _reduce(operator: str) -> Rule:
    def rule(g: Graph, a: Arguments, out: Outputs) -> Ref:
        arguments = {"self": g.cast(a["self"], out[0]), "dim": _dims(g, a), "keepdim": a.get("keepdim", False)}
        return g.emit(operator, arguments, out[0])

    return rule


def _any(g: Graph, a: Arguments, out: Outputs) -> Ref:
    """Along one dimension; of all it stays as it is."""
    dims = {"dim": _dims(g, a)[0]} if isinstance(a.get("dim"), int) else {}
    return g.emit("any", a | dims, out[0])


def _along(operator: str) -> Rule:
    """Along one dimension, in the result's dtype."""

    def rule(g: Graph, a: Arguments, out: Outputs) -> Ref:
        x, rank = g.cast(a["self"], out[0]), len(out[0].shape)
        if operator == "cumsum" and not rank:
            return Ref(x.name)
        return g.emit(operator, {"self": x, "dim": a["dim"] % max(1, rank)}, out[0])

    return rule


def _square(g: Graph, a: Arguments, out: Outputs) -> Ref:
    return g.emit("pow", {"self": a["self"], "exponent": 2}, out[0])


def _reciprocal(g: Graph, a: Arguments, out: Outputs) -> Ref:
    return g.emit("div", {"self": 1.0, "other": g.cast(a["self"], out[0])}, out[0])


def _matmul(g: Graph, a: Arguments, out: Outputs) -> Ref:
    first, second = a.values()
    return g.emit("matmul", {"self": first, "other": second}, out[0])


def _plus_product(operator: str, first: str, second: str) -> Rule:
    """Beta · self + alpha · (first · second)."""

    def rule(g: Graph, a: Arguments, out: Outputs) -> Ref:
        shape = out[0].shape
        product = g.made(operator, {"self": a[first], "other": a[second]}, out[0], shape)
        product = _scaled(g, product, a.get("alpha", a.get("value", 1)), out[0])
        return g.emit("add", {"self": product, "other": _scaled(g, a["self"], a.get("beta", 1), out[0])}, out[0])

    return rule


RULES: Mapping[str, Rule] = {
    "add": _sum("add"),
    "sub": _sum("sub"),
    "rsub": _sum("rsub"),
    **dict.fromkeys(("div", "true_divide"), _div),
    **{name: _binary(name) for name in ("mul", "pow", "maximum", "minimum")},
    **{name: _compare(name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{name: _logical(name) for name in ("logical_and", "logical_or", "logical_not")},
    **{f"bitwise_{name}": _logical(f"logical_{name}") for name in ("and", "or", "not")},
    **{f"__{name}__": _logical(f"logical_{name}") for name in ("and", "or")},
    "cumsum": _along("cumsum"),
    **dict.fromkeys(("where", "masked_fill"), _where),
    "clamp": _clamp("min", "max"),
    "clamp_min": _clamp("min", ""),
    "clamp_max": _clamp("", "max"),
    "hardtanh": _clamp("min_val", "max_val"),
    "relu6": _clamp("0", "6"),
    "mean": _reduce("mean"),
    "sum": _reduce("sum"),
    "amax": _reduce("amax"),
    "any": _any,
    **dict.fromkeys(("softmax", "_softmax"), _along("softmax")),
    **dict.fromkeys(("log_softmax", "_log_softmax"), _along("log_softmax")),
    "square": _square,
    "_neg_view": lambda graph, arguments, outputs: graph.emit("neg", arguments, *outputs),
    "reciprocal": _reciprocal,
    **dict.fromkeys(("mm", "bmm", "matmul", "dot", "mv"), _matmul),
    "addmm": _plus_product("matmul", "mat1", "mat2"),
    "baddbmm": _plus_product("matmul", "batch1", "batch2"),
    "addcmul": _plus_product("mul", "tensor1", "tensor2"),
}
