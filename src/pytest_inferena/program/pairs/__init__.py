"""Complex numbers as pairs: a complex tensor becomes two real ones, so that no engine sees a complex number.

A node that takes or makes complex numbers is written with nodes that do not, in ATen's spellings; `canonical` writes
those as it writes all others. A part that is zero all over is None, and nothing is computed with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_inferena.program.graph import NotExportable
from pytest_inferena.program.pairs.alike import ALIKE, alike
from pytest_inferena.program.pairs.node import REAL, Complex, specs_of
from pytest_inferena.program.pairs.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_inferena.program.graph import Graph
    from pytest_inferena.worker.format import Node

__all__ = ["RULES", "concerns", "write_pairs"]


def concerns(graph: Graph, node: Node) -> bool:
    """Whether a node takes or makes complex numbers."""
    return any(spec.dtype in REAL for spec in specs_of(graph, node))


def write_pairs(graph: Graph, node: Node, write: Callable[[Graph, Node], None]) -> None:
    """Write a node of complex numbers with nodes of real ones.

    Raises:
        NotExportable: nobody knows how.
    """
    graph.specs |= {spec.name: spec for spec in node.outputs}
    c = Complex(graph, node, write)
    if node.operator in ALIKE:
        for spec, result in alike(c):
            c.keep(spec, result)
    elif node.operator in RULES:
        c.keep(node.outputs[0], RULES[node.operator](c))
    else:
        raise NotExportable(
            f"aten.{node.operator} of complex numbers is not known by their real and imaginary parts; compute it with "
            "those (torch.view_as_real), or with sums, products, powers, abs, angle and Fourier transforms"
        )
