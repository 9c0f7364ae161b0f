"""Recognise what every framework has as one operator: RMS norm, rotary embedding, grouped causal attention.

Each rule looks at operators, shapes and constants, and leaves the graph alone where any of them differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.worker.format import Node, Ref

if TYPE_CHECKING:
    from pytest_inferena.program.graph import Graph


class Matcher:
    """Looks backwards through a graph, from a tensor to the node that made it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.makers = {spec.name: node for node in graph.nodes for spec in node.outputs}

    def made_by(self, value: Any, operator: str) -> dict[str, Any] | None:
        """The arguments of the node behind a tensor, if it is this operator."""
        node = self.makers.get(value.name) if isinstance(value, Ref) else None
        return node.arguments if node is not None and node.operator == operator else None

    def constant(self, value: Any) -> np.ndarray[Any, Any] | None:
        """The array behind a tensor, if it is a constant or one number over and over."""
        if (filled := self.made_by(value, "full")) is not None:
            return np.full(filled["size"], filled["fill_value"], filled["dtype"])
        return self.graph.constants.get(value.name) if isinstance(value, Ref) else None

    def either(self, arguments: dict[str, Any] | None, operator: str) -> tuple[dict[str, Any], Any] | None:
        """Of a commutative node: the operand made by `operator` (its arguments), and the other operand."""
        if arguments is None:
            return None
        for mine, other in (("self", "other"), ("other", "self")):
            found = self.made_by(arguments[mine], operator)
            if found is not None:
                return found, arguments[other]
        return None


def fuse(graph: Graph) -> Graph:
    """Replace what the rules recognise; what nobody reads afterwards is gone."""
    matcher = Matcher(graph)
    for index, node in enumerate(graph.nodes):
        for rule in (_rms_norm, _rotary_embedding, _attention, _added_rows):
            fused = rule(matcher, node)
            if fused is not None:
                graph.nodes[index] = matcher.makers[node.name] = fused
                break
    graph.prune()
    return graph


def _rms_norm(m: Matcher, node: Node) -> Node | None:
    """Weight · (x · rsqrt(mean(x²) + eps)), the weight as long as the last dimension."""
    if node.operator != "mul":
        return None
    found = m.either(node.arguments, "mul")
    scaled = m.either(found[0], "rsqrt") if found else None
    if not found or not scaled:
        return None
    weight, (root, x) = found[1], scaled
    total = m.made_by(root["self"], "add")
    mean = m.made_by(total["self"], "mean") if total else None
    square = m.made_by(mean["self"], "pow") if mean else None
    if not total or not mean or not square:
        return None
    shape = m.graph.shape(x)
    if (
        square == {"self": x, "exponent": 2}
        and mean["dim"] == [len(shape) - 1]
        and mean["keepdim"]
        and isinstance(total["other"], float)
        and m.graph.shape(weight) == shape[-1:] == node.outputs[0].shape[-1:]
    ):
        arguments = {"input": x, "normalized_shape": [shape[-1]], "weight": weight, "eps": total["other"]}
        return Node("rms_norm", arguments, node.outputs)
    return None


def _rotary_embedding(m: Matcher, node: Node) -> Node | None:
    """X · cos + rotate_half(x) · sin, where both tables repeat their first half: [sequence, half of head]."""
    if node.operator != "add":
        return None
    for plain, turned in (("self", "other"), ("other", "self")):
        straight = m.made_by(node.arguments[plain], "mul")
        rotated = m.either(m.made_by(node.arguments[turned], "mul"), "cat")
        if straight is None or rotated is None:
            continue
        x = straight["self"]
        cos, sin = (_half_table(m, table, m.graph.shape(x)) for table in (straight["other"], rotated[1]))
        if cos is None or sin is None or not _rotates_half(m, rotated[0], x):
            continue
        names = [value.name + ".half" for value in (straight["other"], rotated[1])]
        tables = [m.graph.constant(name, table) for name, table in zip(names, (cos, sin), strict=True)]
        return Node("rotary_embedding", {"self": x, "cos": tables[0], "sin": tables[1]}, node.outputs)
    return None


def _half_table(m: Matcher, value: Any, shape: tuple[int, ...]) -> np.ndarray[Any, Any] | None:
    """[sequence, half] of a constant [1, 1, sequence, 2 · half] whose halves are equal."""
    table = m.constant(value)
    if table is None or len(shape) != 4 or table.shape != (1, 1, *shape[2:]) or shape[3] % 2:
        return None
    first, second = np.split(table[0, 0], 2, axis=-1)
    return np.ascontiguousarray(first) if np.array_equal(first, second) else None


def _rotates_half(m: Matcher, cat: dict[str, Any], x: Any) -> bool:
    """Whether a cat is [-x[half:], x[:half]] along the last of four dimensions."""
    shape = m.graph.shape(x)
    if len(shape) != 4 or len(cat["tensors"]) != 2 or cat["dim"] % 4 != 3:
        return False
    negated = m.made_by(cat["tensors"][0], "neg")
    second = m.made_by(negated["self"], "slice") if negated else None
    first = m.made_by(cat["tensors"][1], "slice")
    half = shape[3] // 2
    cut = {"self": x, "dim": 3, "step": 1}
    return first == {**cut, "start": 0, "end": half} and second == {**cut, "start": half, "end": shape[3]}


def _attention(m: Matcher, node: Node) -> Node | None:
    """Repeated key and value heads become grouped attention; a triangular mask becomes `is_causal`."""
    if node.operator != "scaled_dot_product_attention":
        return None
    arguments = dict(node.arguments)
    key, value = (_unrepeated(m, arguments[name]) for name in ("key", "value"))
    if key is not None and value is not None and m.graph.shape(key)[1] == m.graph.shape(value)[1]:
        arguments |= {"key": key, "value": value, "enable_gqa": True}
    mask = m.constant(arguments["attn_mask"])
    if mask is not None and mask.dtype == np.bool_ and not arguments["is_causal"]:
        if mask.all():
            arguments["attn_mask"] = None
        elif mask.shape[-1] == mask.shape[-2] and (mask == np.tri(mask.shape[-1], dtype=np.bool_)).all():
            arguments |= {"attn_mask": None, "is_causal": True}
    return None if arguments == node.arguments else Node(node.operator, arguments, node.outputs)


def _unrepeated(m: Matcher, value: Any) -> Ref | None:
    """[batch, heads, s, d] behind reshape(expand(reshape(·))) that repeats every head in place."""
    outer = m.made_by(value, "reshape")
    expand = m.made_by(outer["self"], "expand") if outer else None
    inner = m.made_by(expand["self"], "reshape") if expand else None
    if not outer or not expand or not inner:
        return None
    source, size = m.graph.shape(inner["self"]), expand["size"]
    if len(source) != 4 or len(size) != 5:
        return None
    batch, heads, length, width = source
    repeated = [batch, heads, size[2], length, width]
    kept = [batch, heads, 1, length, width]
    right = [batch, heads * size[2], length, width]
    ok = size == repeated and inner["shape"] == kept and outer["shape"] == right
    return inner["self"] if ok else None


def _added_rows(m: Matcher, node: Node) -> Node | None:
    """Rows added to zeros, and the sum added to a tensor, are rows added to the tensor: a tied embedding's gradient."""
    if node.operator != "add":
        return None
    for rows, base in (("self", "other"), ("other", "self")):
        put = m.made_by(node.arguments[rows], "index_put")
        zeros = m.made_by(put["self"], "full") if put and put["accumulate"] else None
        if put and zeros and zeros["fill_value"] == 0 and m.graph.shape(node.arguments[base]) == node.outputs[0].shape:
            return Node("index_put", put | {"self": node.arguments[base]}, node.outputs)
    return None
