"""Operators that an engine lacks, taken apart until it has all that is left.

Every operator that simpler ones can express has its expansion here, once: a function of tensors, as in an engine's own
table. What an engine has stays as it is, so that it uses its own norm, attention or convolution.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_inferena.program.expand import layers, moves, pointwise, transforms, windows
from pytest_inferena.program.expand.tensor import tensors
from pytest_inferena.program.graph import Graph
from pytest_inferena.worker.capabilities import has

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_inferena.worker.capabilities import Operators
    from pytest_inferena.worker.format import Entry, Node

__all__ = ["EXPANSIONS", "expand", "graph_of", "written"]

EXPANSIONS: Mapping[str, Callable[..., Any]] = {
    **pointwise.EXPANSIONS,
    **layers.EXPANSIONS,
    **moves.EXPANSIONS,
    **transforms.EXPANSIONS,
    **windows.EXPANSIONS,
}
"""The second tier: what it names can be written with other operators."""
DEEPEST = 12
"""How often what an expansion gives is expanded again; attention of an engine without softmax takes five."""


def expand(entry: Entry, operators: Operators) -> tuple[Graph, dict[str, int]]:
    """Take apart what an engine lacks; what has no expansion stays, for the engine to refuse by its name.

    Args:
        entry: its constants at hand.
        operators: what the engine has, see `pytest_inferena.worker.capabilities`.

    Returns:
        the entry's graph, and how many nodes of which operators were expanded.
    """
    graph = graph_of(entry)
    expanded: Counter[str] = Counter()
    nodes, graph.nodes = graph.nodes, []
    for node in nodes:
        _write(graph, node, operators, expanded)
    graph.prune()
    return graph, dict(sorted(expanded.items()))


def graph_of(entry: Entry) -> Graph:
    """An entry to be rewritten."""
    return Graph(
        inputs=list(entry.inputs), outputs=dict(entry.outputs), nodes=list(entry.nodes), specs=dict(entry.specs),
        constants=dict(entry.arrays("constants")), parameters=set(entry.parameters), trains=entry.trains,
    )  # fmt: skip


def _write(graph: Graph, node: Node, operators: Operators, expanded: Counter[str], depth: int = 0) -> bool:
    """Append a node as it is, or what it becomes; False where that is not all the engine's.

    What an expansion gives is expanded too. Where in the end something is left that the engine lacks, the node stays
    whole: the engine then refuses what the model has, and not a part of it that nobody wrote.
    """
    node = replace(node, arguments={name: graph.resolve(value) for name, value in node.arguments.items()})
    if had := has(operators, node, graph.specs, trains=graph.trains):
        graph.emit(node.operator, node.arguments, *node.outputs)
        return had
    place, known, inner = len(graph.nodes), len(graph.aliases), Counter({node.operator: 1})
    if depth < DEEPEST and written(graph, node):
        parts, graph.nodes[place:] = graph.nodes[place:], []
        if all(_write(graph, part, operators, inner, depth + 1) for part in parts):
            for spec in node.outputs:
                made = graph.aliases[spec.name]
                graph.aliases[spec.name] = graph.aliases.get(made, made)
            expanded.update(inner)
            return True
    del graph.nodes[place:]
    while len(graph.aliases) > known:
        graph.aliases.popitem()
    graph.emit(node.operator, node.arguments, *node.outputs)
    return False


def written(graph: Graph, node: Node) -> bool:
    """Append what a node is written with, and have its outputs stand for that; False where it has no expansion."""
    rule, place = EXPANSIONS.get(node.operator), len(graph.nodes)
    results = rule(*(tensors(graph, node.outputs[0], value) for value in node.arguments.values())) if rule else None
    if results is None:
        del graph.nodes[place:]  # what a rule had begun
        return False
    for spec, result in zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=True):
        if (result.shape, result.dtype) != (spec.shape, spec.dtype):
            made = f"{result.dtype}{list(result.shape)}"
            raise ValueError(f"the expansion of {node.operator}, node {node.name}, makes {made}, not {spec}")
        graph.aliases[spec.name] = result.name
    return True
