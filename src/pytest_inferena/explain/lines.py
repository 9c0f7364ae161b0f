"""The user's line behind a node: torch.export knows it, and the model is exported once more to ask."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_inferena.prepare.case import load_case
from pytest_inferena.prepare.entries import Whole
from pytest_inferena.program.capture import export, parameter_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.processes.workload import Workload

FRAME = re.compile(r'File "([^"]+)", line (\d+), in [^\n]+\n\s*([^\n]*)')
INSIDE = re.compile(r"[\\/]torch[\\/]|pytest_inferena[\\/]prepare")
"""Files whose lines nobody looks for."""


def lines(workload: Workload, entry: str) -> Mapping[str, str]:
    """`FILE:LINE: the line` for each node of an entry that has one; the gradient graph has none."""
    if entry == "joint":
        return {}
    case = load_case(workload.model.source, workload.size)
    case.module.eval()
    names = parameter_names(case.module)
    if entry == "latency":
        exported = export(case.module, case.latency, case.outputs, names)
    else:
        exported = export(Whole(case), case.inputs | case.targets, ("loss", *case.outputs), names, trains=True)
    traces = {node.name: node.meta.get("stack_trace") or "" for node in exported.fx.nodes}
    return {name: line for name, trace in traces.items() if (line := _innermost(trace))}


def line_of(node: str, known: Mapping[str, str]) -> str:
    """The line of a node; what a node was expanded to has the node's."""
    return known.get(node.partition("~")[0].partition(".")[0], "")


def _innermost(trace: str) -> str:
    """The last frame outside of PyTorch."""
    frames = [found for found in FRAME.findall(trace) if not INSIDE.search(found[0])]
    return "{}:{}: {}".format(*frames[-1]) if frames else ""
