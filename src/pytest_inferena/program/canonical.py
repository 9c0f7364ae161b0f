"""One spelling for every operator, so that an engine's table stays short.

ATen says the same thing in many ways (`view`, `_unsafe_view`, `flatten`, `unsqueeze`, `squeeze` are all a
reshape; `t` and `transpose` are a permute). Here each becomes one operator with explicit arguments:
dimensions are positive, shapes complete, defaults filled in, what has no effect is gone.
The rules stand in `layout.py` (what moves numbers), `arithmetic.py` (what computes with them), `layers.py` (what a
layer does at once), `losses.py` and `indexing.py`; `beyond` has operators that a Program does not know at all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_inferena.program import arithmetic, indexing, layers, layout, losses
from pytest_inferena.program.beyond import BEYOND
from pytest_inferena.program.expand.tensor import tensors
from pytest_inferena.program.graph import Graph, NotExportable
from pytest_inferena.program.pairs import concerns, write_pairs
from pytest_inferena.program.places import at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.program.graph import Rule
    from pytest_inferena.worker.format import Node

__all__ = ["RULES", "Graph", "canonical"]

RULES: Mapping[str, Rule] = {**layout.RULES, **arithmetic.RULES, **layers.RULES, **losses.RULES, **indexing.RULES}
"""ATen's name → what to write instead; operators that are not in it stay as they are."""


def canonical(graph: Graph) -> Graph:
    """Rewrite every node by `RULES`.

    Raises:
        NotExportable: a rule knows an operator, but not with these arguments.
    """
    nodes, graph.nodes = graph.nodes, []
    for node in nodes:
        try:
            _write(graph, node)
        except NotExportable as error:
            made_of = {one.name: one for one in graph.made_of[0].nodes} if graph.made_of else {}
            where = at(made_of[node.name]) if node.name in made_of else ""
            raise NotExportable(f"{where}{error}") from error
    graph.prune()
    return graph


def _write(graph: Graph, node: Node) -> None:
    arguments = {key: graph.resolve(value) for key, value in node.arguments.items()}
    if concerns(graph, node):
        write_pairs(graph, replace(node, arguments=arguments), _write)
    elif node.operator in RULES:
        result = RULES[node.operator](graph, arguments, node.outputs)
        if result is not None:
            graph.aliases[node.name] = result.name
    elif node.operator in BEYOND:
        _expand(graph, node, arguments)
    else:
        graph.emit(node.operator, arguments, *node.outputs)


def _expand(graph: Graph, node: Node, arguments: dict[str, Any]) -> None:
    """Write a node with operators of the closed set."""
    given = {name: tensors(graph, node.outputs[0], value) for name, value in arguments.items()}
    results = BEYOND[node.operator](given, node.outputs)
    for spec, result in zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=True):
        if result is not None:
            graph.aliases[spec.name] = result.name
