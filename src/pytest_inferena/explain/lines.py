"""The user's line behind a node: torch.export knows it, and the model is exported once more to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_inferena.prepare.call import Call
from pytest_inferena.prepare.entries import exported
from pytest_inferena.prepare.sources import load_case
from pytest_inferena.prepare.structure import to_eval
from pytest_inferena.program.graph import NotExportable
from pytest_inferena.program.places import place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.processes.workload import Workload


def lines(workload: Workload, entry: str) -> Mapping[str, str]:
    """`FILE:LINE (the line)` for each node of an entry that has one; the gradient graph has none."""
    if entry == "joint":
        return {}
    case = load_case(workload.model.source, workload.size, workload.batch, workload.seq, workload.inputs)
    to_eval(case.module)
    try:  # inference is a part of what training exports
        found = exported(Call(case.module, case, "latency" if entry == "latency" else "training"))
    except NotExportable:
        found = exported(Call(case.module, case, entry))
    return {node.name: place for node in found.fx.nodes if (place := place_of(node))}


def line_of(node: str, known: Mapping[str, str]) -> str:
    """The line of a node; what a node was expanded to has the node's."""
    return known.get(node.partition("~")[0].partition(".")[0], "")
