"""One spelling for every operator, so that an engine's table stays short.

ATen says the same thing in many ways (`view`, `_unsafe_view`, `flatten`, `unsqueeze`, `squeeze` are all a
reshape; `t` and `transpose` are a permute). Here each becomes one operator with explicit arguments:
dimensions are positive, shapes complete, defaults filled in, what has no effect is gone.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_inferena.worker.program import Node, Ref, TensorSpec, references, substitute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    Arguments = dict[str, Any]


@dataclass
class Graph:
    """A Program's entry while it is being rewritten."""

    inputs: list[TensorSpec]
    outputs: dict[str, str]
    nodes: list[Node] = field(default_factory=list)
    specs: dict[str, TensorSpec] = field(default_factory=dict)
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    parameters: set[str] = field(default_factory=set)
    aliases: dict[str, str] = field(default_factory=dict)
    by_content: dict[tuple[object, ...], str] = field(default_factory=dict)

    def emit(self, operator: str, arguments: Arguments, *outputs: TensorSpec) -> Ref:
        """Append a node; the reference to its first output."""
        self.nodes.append(Node(operator, arguments, outputs))
        self.specs |= {spec.name: spec for spec in outputs}
        return Ref(outputs[0].name)

    def constant(self, name: str, value: np.ndarray[Any, Any]) -> Ref:
        """Add a constant, or find an equal one; the reference to it."""
        content = (value.shape, str(value.dtype), hashlib.sha256(value.tobytes()).digest())
        name = self.by_content.setdefault(content, name)
        self.constants[name] = value
        self.specs[name] = TensorSpec(name, value.shape, str(value.dtype))
        return Ref(name)

    def resolve(self, value: Any) -> Any:
        """An argument with aliases followed to the tensor they stand for."""
        return substitute(value, lambda name: Ref(self.aliases.get(name, name)))

    def shape(self, value: Any) -> tuple[int, ...]:
        """Shape of a referenced tensor; () of a number."""
        return self.specs[value.name].shape if isinstance(value, Ref) else ()

    def prune(self) -> None:
        """Drop nodes and constants that no output needs."""
        self.outputs = {key: self.aliases.get(name, name) for key, name in self.outputs.items()}
        needed = set(self.outputs.values())
        kept = []
        for node in reversed(self.nodes):
            if any(spec.name in needed for spec in node.outputs):
                kept.append(node)
                needed.update(node.inputs())
        self.nodes = kept[::-1]
        self.constants = {name: value for name, value in self.constants.items() if name in needed}
        self.parameters &= needed


def canonical(graph: Graph) -> Graph:
    """Rewrite every node by `RULES`; operators without a rule stay as they are."""
    nodes, graph.nodes = graph.nodes, []
    for node in nodes:
        arguments = {key: graph.resolve(value) for key, value in node.arguments.items()}
        rule = RULES.get(node.operator)
        if rule is None:
            graph.emit(node.operator, arguments, *node.outputs)
            continue
        result = rule(graph, arguments, node.outputs)
        if result is not None:
            graph.aliases[node.name] = result.name
    graph.prune()
    return graph


Rule = "Callable[[Graph, Arguments, tuple[TensorSpec, ...]], Ref | None]"


def _same(_: Graph, a: Arguments, __: tuple[TensorSpec, ...]) -> Ref:
    """The operator has no effect here."""
    return next(Ref(name) for name in references(list(a.values())))


def _reshape(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> Ref | None:
    x = next(iter(a.values()))
    if g.shape(x) == out[0].shape:
        return Ref(x.name)
    g.emit("reshape", {"self": x, "shape": list(out[0].shape)}, out[0])
    return None


def _permute(dims: Callable[[int, Arguments], list[int]]) -> Callable[..., Ref | None]:
    def rule(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> Ref | None:
        rank = len(out[0].shape)
        order = [dim % rank for dim in dims(rank, a)] if rank else []
        if order == list(range(rank)):
            return Ref(a["self"].name)
        g.emit("permute", {"self": a["self"], "dims": order}, out[0])
        return None

    return rule


def _swap(rank: int, first: int, second: int) -> list[int]:
    order = list(range(rank))
    order[first], order[second] = order[second], order[first]
    return order


def _expand(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> Ref | None:
    if g.shape(a["self"]) == out[0].shape:
        return Ref(a["self"].name)
    g.emit("expand", {"self": a["self"], "size": list(out[0].shape)}, out[0])
    return None


def _slice(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> Ref | None:
    shape = g.shape(a["self"])
    dim, step = a["dim"] % len(shape), a["step"]
    start, end, _ = slice(a["start"], a["end"], step).indices(shape[dim])
    if shape == out[0].shape and step == 1:
        return Ref(a["self"].name)
    g.emit("slice", {"self": a["self"], "dim": dim, "start": start, "end": end, "step": step}, out[0])
    return None


def _select(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> None:
    shape = g.shape(a["self"])
    dim = a["dim"] % len(shape)
    index = a["index"] % shape[dim]
    kept = TensorSpec(f"{out[0].name}_kept", (*shape[:dim], 1, *shape[dim + 1 :]), out[0].dtype)
    part = g.emit("slice", {"self": a["self"], "dim": dim, "start": index, "end": index + 1, "step": 1}, kept)
    g.emit("reshape", {"self": part, "shape": list(out[0].shape)}, out[0])


def _pieces(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> None:
    """`split`, `chunk` and their like: one slice for each piece."""
    dim, start = a.get("dim", 0) % len(out[0].shape), 0
    for spec in out:
        end = start + spec.shape[dim]
        g.emit("slice", {"self": a["self"], "dim": dim, "start": start, "end": end, "step": 1}, spec)
        start = end


def _cast(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> Ref | None:
    x = a["self"]
    if g.specs[x.name].dtype == out[0].dtype:
        return Ref(x.name)
    g.emit("to", {"self": x, "dtype": out[0].dtype}, out[0])
    return None


def _sum(operator: str) -> Callable[..., None]:
    """`add` and `sub` scale their second operand; almost always by one."""

    def rule(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> None:
        first, other = a["self"], a["other"]
        if operator == "rsub":
            first, other = other, first
        if a.get("alpha", 1) != 1:
            if operator == "rsub" or not isinstance(other, Ref):
                raise ValueError(f"{operator} with alpha={a['alpha']} is not handled; write the product out")
            scaled = TensorSpec(f"{out[0].name}_scaled", g.shape(other), out[0].dtype)
            other = g.emit("mul", {"self": other, "other": a["alpha"]}, scaled)
        g.emit("add" if operator == "add" else "sub", {"self": first, "other": other}, out[0])

    return rule


def _reduce(operator: str) -> Callable[..., None]:
    def rule(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> None:
        rank = len(g.shape(a["self"]))
        dims = a.get("dim")
        dims = [dims] if isinstance(dims, int) else (dims or list(range(rank)))
        arguments = {"self": a["self"], "dim": [d % rank for d in dims], "keepdim": a.get("keepdim", False)}
        g.emit(operator, arguments, out[0])

    return rule


def _batch_norm(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> None:
    if a.get("training"):
        raise ValueError("batch norm in training mode: all entries run the module in eval()")
    names = ("input", "weight", "bias", "running_mean", "running_var", "eps")
    g.emit("batch_norm", {name: a[name] for name in names}, out[0])


def _adaptive_avg_pool(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> None:
    rank = len(out[0].shape)
    if set(out[0].shape[2:]) == {1}:
        g.emit("mean", {"self": a["self"], "dim": list(range(2, rank)), "keepdim": True}, out[0])
    else:
        g.emit(f"adaptive_avg_pool{rank - 2}d", a, out[0])


def _attention(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> None:
    if a["dropout_p"]:
        raise ValueError("attention with dropout: all entries run the module in eval()")
    arguments = {name: a[name] for name in ("query", "key", "value", "attn_mask", "is_causal")}
    arguments["scale"] = a["scale"] if a["scale"] is not None else 1 / math.sqrt(g.shape(a["query"])[-1])
    g.emit("scaled_dot_product_attention", arguments | {"enable_gqa": a["enable_gqa"]}, out[0])


def _max_pool(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> None:
    g.emit("max_pool2d", a | {"stride": a["stride"] or a["kernel_size"]}, out[0])


def _upsample(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> None:
    x = next(iter(a.values()))
    g.emit("upsample_nearest2d", {"self": x, "output_size": list(out[0].shape[2:])}, out[0])


def _keep(operator: str, *names: str) -> Callable[..., None]:
    """Another name, or only some of the arguments; the others do not matter to an engine."""

    def rule(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> None:
        g.emit(operator, {name: a[name] for name in names}, out[0])

    return rule


def _matmul(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> None:
    first, second = a.values()
    g.emit("matmul", {"self": first, "other": second}, out[0])


def _addmm(g: Graph, a: Arguments, out: tuple[TensorSpec, ...]) -> None:
    if a["beta"] != 1 or a["alpha"] != 1:
        raise ValueError("addmm with alpha or beta is not handled; write the product out")
    product = TensorSpec(f"{out[0].name}_product", out[0].shape, out[0].dtype)
    product_ref = g.emit("matmul", {"self": a["mat1"], "other": a["mat2"]}, product)
    g.emit("add", {"self": product_ref, "other": a["self"]}, out[0])


RULES: Mapping[str, Callable[..., Ref | None]] = {
    **dict.fromkeys(("alias", "clone", "contiguous", "detach", "dropout", "lift_fresh_copy"), _same),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze"), _reshape),
    "permute": _permute(lambda _, a: a["dims"]),
    "transpose": _permute(lambda rank, a: _swap(rank, a["dim0"], a["dim1"])),
    "t": _permute(lambda rank, _: list(range(rank))[::-1]),
    "expand": _expand,
    "slice": _slice,
    "select": _select,
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), _pieces),
    "_to_copy": _cast,
    "to": _cast,
    "add": _sum("add"),
    "sub": _sum("sub"),
    "rsub": _sum("rsub"),
    "mean": _reduce("mean"),
    "sum": _reduce("sum"),
    "amax": _reduce("amax"),
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "adaptive_avg_pool1d": _adaptive_avg_pool,
    "adaptive_avg_pool2d": _adaptive_avg_pool,
    "scaled_dot_product_attention": _attention,
    "max_pool2d": _max_pool,
    "upsample_nearest2d": _upsample,
    **dict.fromkeys(("mm", "bmm", "matmul"), _matmul),
    "addmm": _addmm,
    "layer_norm": _keep("layer_norm", "input", "normalized_shape", "weight", "bias", "eps"),
    "group_norm": _keep("group_norm", "input", "num_groups", "weight", "bias", "eps"),
    "embedding": _keep("embedding", "weight", "indices"),
    "gather": _keep("gather", "self", "dim", "index"),
    "_softmax": _keep("softmax", "self", "dim"),
    "softmax": _keep("softmax", "self", "dim"),
    "_log_softmax": _keep("log_softmax", "self", "dim"),
    "log_softmax": _keep("log_softmax", "self", "dim"),
}
