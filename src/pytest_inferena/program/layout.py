"""Rules for operators that move numbers and compute nothing: reshape, permute, slice, cat, expand, embedding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_inferena.worker.format import Ref, TensorSpec, references

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_inferena.program.graph import Arguments, Graph, Rule

    Outputs = tuple[TensorSpec, ...]


def _same(_: Graph, a: Arguments, __: Outputs) -> Ref:
    """The operator has no effect here."""
    return next(Ref(name) for name in references(list(a.values())))


def _detach(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    """Stops the gradient, where there is one."""
    return g.emit("detach", {"self": a["self"]}, out[0]) if g.trains else Ref(a["self"].name)


def _reshape(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    """Of a reshape, only the last counts."""
    x = next(iter(a.values()))
    x = (g.behind(x, "reshape") or {"self": x})["self"]
    if g.shape(x) == out[0].shape:
        return Ref(x.name)
    if (filled := g.behind(x, "full")) is not None:
        return g.emit("full", filled | {"size": list(out[0].shape)}, out[0])
    return g.emit("reshape", {"self": x, "shape": list(out[0].shape)}, out[0])


def _permute(dims: Callable[[int, Arguments], list[int]]) -> Rule:
    def rule(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
        rank = len(out[0].shape)
        x, order = a["self"], [dim % rank for dim in dims(rank, a)] if rank else []
        if (before := g.behind(x, "permute")) is not None:
            x, order = before["self"], [before["dims"][dim] for dim in order]
        long = [dim for dim in order if g.shape(x)[dim] != 1]
        if long == sorted(long):  # nothing moves in memory
            return _reshape(g, {"self": x}, out)
        return g.emit("permute", {"self": x, "dims": order}, out[0])

    return rule


def _swap(rank: int, first: int, second: int) -> list[int]:
    order = list(range(rank))
    if rank:
        order[first], order[second] = order[second], order[first]
    return order


def _expand(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    if g.shape(a["self"]) == out[0].shape:
        return Ref(a["self"].name)
    if (filled := g.behind(a["self"], "full")) is not None:
        return g.emit("full", filled | {"size": list(out[0].shape)}, out[0])
    return g.emit("expand", {"self": a["self"], "size": list(out[0].shape)}, out[0])


def _broadcast(g: Graph, a: Arguments, out: Outputs) -> None:
    """Each of the tensors expanded, or as it is."""
    for x, spec in zip(a["tensors"], out, strict=True):
        same = _expand(g, {"self": x}, (spec,))
        if same is not None:
            g.aliases[spec.name] = same.name


def _copy(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    return _expand(g, {"self": g.cast(a["src"], out[0])}, out)


def _fill(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    value = g.number(a["value"])
    if isinstance(value, Ref):
        return _copy(g, {"src": value}, out)
    return g.emit("full", {"size": list(out[0].shape), "fill_value": value, "dtype": out[0].dtype}, out[0])


def _cut(g: Graph, x: Any, dim: int, start: int, end: int, out: TensorSpec) -> Ref | None:
    """One piece of a tensor, as a new intermediate; None if it is empty."""
    shape = list(g.shape(x))
    if end <= start:
        return None
    shape[dim] = end - start
    if (filled := g.behind(x, "full")) is not None:
        return g.made("full", filled | {"size": shape}, out, shape)
    return g.made("slice", {"self": x, "dim": dim, "start": start, "end": end, "step": 1}, out, shape, g.dtype(x))


def _slice(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    shape = g.shape(a["self"])
    dim, step = a["dim"] % len(shape), a["step"]
    start, end, _ = slice(a["start"], a["end"], step).indices(shape[dim])
    if shape == out[0].shape and step == 1:
        return Ref(a["self"].name)
    return g.emit("slice", {"self": a["self"], "dim": dim, "start": start, "end": end, "step": step}, out[0])


def _select(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    shape = g.shape(a["self"])
    dim = a["dim"] % len(shape)
    index = a["index"] % shape[dim]
    part = _cut(g, a["self"], dim, index, index + 1, out[0])
    return g.emit("reshape", {"self": part, "shape": list(out[0].shape)}, out[0])


def _pieces(g: Graph, a: Arguments, out: Outputs) -> None:
    """`split`, `chunk` and their like: one slice for each piece."""
    dim, start = a.get("dim", 0) % len(out[0].shape), 0
    for spec in out:
        end = start + spec.shape[dim]
        g.emit("slice", {"self": a["self"], "dim": dim, "start": start, "end": end, "step": 1}, spec)
        start = end


def _unbind(g: Graph, a: Arguments, out: Outputs) -> None:
    for index, spec in enumerate(out):
        _select(g, {"self": a["self"], "dim": a["dim"], "index": index}, (spec,))


def _cat(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    """Tensors without elements, which ATen lets one join, are left out."""
    joined = [g.cast(x, out[0]) for x in a["tensors"] if math.prod(g.shape(x))]
    if len(joined) == 1:
        return Ref(joined[0].name)
    return g.emit("cat", {"tensors": joined, "dim": a["dim"] % len(out[0].shape)}, out[0])


def _stack(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    shape, dim = list(out[0].shape), a["dim"] % len(out[0].shape)
    shape[dim] = 1
    parts = [g.made("reshape", {"self": x, "shape": shape}, out[0], shape, g.dtype(x)) for x in a["tensors"]]
    return _cat(g, {"tensors": parts, "dim": dim}, out)


def _repeat(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    """(r₀ · s₀, r₁ · s₁, …) from (1, s₀, 1, s₁, …) expanded to (r₀, s₀, r₁, s₁, …)."""
    shape = out[0].shape
    inner = [1] * (len(shape) - len(g.shape(a["self"]))) + list(g.shape(a["self"]))
    apart = [size for s in inner for size in (1, s)]
    grown = [size for r, s in zip(a["repeats"], inner, strict=True) for size in (r, s)]
    if apart == grown:
        return _reshape(g, a, out)
    x = g.made("reshape", {"self": a["self"], "shape": apart}, out[0], apart)
    x = g.made("expand", {"self": x, "size": grown}, out[0], grown)
    return g.emit("reshape", {"self": x, "shape": list(shape)}, out[0])


def _roll(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    """Without a dimension, of all numbers in a row."""
    if not a["dims"]:
        flat = [math.prod(out[0].shape)]
        x = g.made("reshape", {"self": a["self"], "shape": flat}, out[0], flat)
        row = TensorSpec(f"{out[0].name}~row", tuple(flat), out[0].dtype)
        rolled = _roll(g, {"self": x, "shifts": a["shifts"], "dims": [0]}, (row,))
        return _reshape(g, {"self": rolled}, out)
    if len(a["shifts"]) != 1 or len(a["dims"]) != 1:
        return g.emit("roll", a, out[0])
    shape = out[0].shape
    dim = a["dims"][0] % len(shape)
    split = -a["shifts"][0] % shape[dim]
    parts = [_cut(g, a["self"], dim, split, shape[dim], out[0]), _cut(g, a["self"], dim, 0, split, out[0])]
    return _cat(g, {"tensors": [part for part in parts if part], "dim": dim}, out)


def _pad(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    """Constant padding, the last dimension first: a cat with `full` on either side; negative is a slice."""
    if a.get("mode", "constant") != "constant":
        return g.emit("pad", a, out[0])
    x, value = a["self"], a["value"] or 0.0
    for index in range(0, len(a["pad"]), 2):
        dim, sides = len(out[0].shape) - 1 - index // 2, a["pad"][index : index + 2]
        size = g.shape(x)[dim]
        if min(sides) < 0:
            x = _cut(g, x, dim, max(0, -sides[0]), size - max(0, -sides[1]), out[0])
        x = _between(g, _filled(g, x, dim, sides[0], value, out[0]), x, _filled(g, x, dim, sides[1], value, out[0]),
                     dim, out[0])  # fmt: skip
    return Ref(x.name)


def _filled(g: Graph, like: Any, dim: int, length: int, value: float, out: TensorSpec) -> Ref | None:
    """One number over and over, as long as told in one dimension; None if that is nothing."""
    if length <= 0:
        return None
    size = list(g.shape(like))
    size[dim] = length
    return g.made("full", {"size": size, "fill_value": value, "dtype": out.dtype}, out, size)


def _between(g: Graph, before: Ref | None, x: Any, after: Ref | None, dim: int, out: TensorSpec) -> Ref:
    parts = [part for part in (before, x, after) if part is not None]
    if len(parts) == 1:
        return Ref(x.name)
    shape = list(g.shape(x))
    shape[dim] = sum(g.shape(part)[dim] for part in parts)
    return g.made("cat", {"tensors": parts, "dim": dim}, out, shape)


def _slice_scatter(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    """A tensor with a run of rows replaced: what lies before, the new rows, what lies after."""
    shape = out[0].shape
    dim = a["dim"] % len(shape)
    start, end, step = slice(a["start"], a["end"], a["step"]).indices(shape[dim])
    if step != 1:
        return g.emit("slice_scatter", a | {"dim": dim, "start": start, "end": end}, out[0])
    before, after = _cut(g, a["self"], dim, 0, start, out[0]), _cut(g, a["self"], dim, end, shape[dim], out[0])
    return _between(g, before, a["src"], after, dim, out[0])


def _select_scatter(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    shape = list(out[0].shape)
    dim = a["dim"] % len(shape)
    start, shape[dim] = a["index"] % shape[dim], 1
    row = g.made("reshape", {"self": a["src"], "shape": shape}, out[0], shape)
    whole = {"self": a["self"], "src": row, "dim": dim, "start": start, "end": start + 1, "step": 1}
    return _slice_scatter(g, whole, out)


def _cast(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    x = a["self"]
    if g.dtype(x) == out[0].dtype:
        return Ref(x.name)
    return g.emit("to", {"self": x, "dtype": out[0].dtype}, out[0])


def _index(g: Graph, a: Arguments, out: Outputs) -> Ref | None:
    """Rows chosen by a constant, none counted from the end, are an embedding."""
    indices = a["index"] if "index" in a else next((i for i in a["indices"] if i is not None), None)
    first = a["dim"] == 0 if "dim" in a else len(a["indices"]) == 1
    array = g.constants.get(indices.name) if isinstance(indices, Ref) else None
    if first and array is not None and array.dtype != bool and (array >= 0).all() and len(g.shape(a["self"])) == 2:
        return g.emit("embedding", {"weight": a["self"], "indices": indices}, out[0])
    if "dim" in a:
        return g.emit("index_select", a | {"dim": a["dim"] % max(1, len(out[0].shape))}, out[0])
    return g.emit("index", a, out[0])


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("alias", "clone", "contiguous", "lift_fresh_copy", "lift_fresh"), _same),
    "dropout": _same,
    "detach": _detach,
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze"), _reshape),
    **dict.fromkeys(("view_as", "reshape_as"), _reshape),
    "permute": _permute(lambda _, a: a["dims"]),
    "transpose": _permute(lambda rank, a: _swap(rank, a["dim0"], a["dim1"])),
    "t": _permute(lambda rank, _: list(range(rank))[::-1]),
    **dict.fromkeys(("expand", "expand_as"), _expand),
    "broadcast_tensors": _broadcast,
    "copy": _copy,
    "fill": _fill,
    "slice": _slice,
    "select": _select,
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_chunk"), _pieces),
    "unbind": _unbind,
    "cat": _cat,
    "stack": _stack,
    "repeat": _repeat,
    "roll": _roll,
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    "slice_scatter": _slice_scatter,
    "select_scatter": _select_scatter,
    **dict.fromkeys(("to", "_to_copy", "type_as"), _cast),
    **dict.fromkeys(("index", "index_select"), _index),
}
