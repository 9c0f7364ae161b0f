"""The proof of a capture: an entry as it was written, run by PyTorch in float64, gives what the module gives.

It is made when the Program is, before any engine sees it, so that no engine is judged by a mistake of ours.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from pytest_inferena.prepare.difference import first_difference
from pytest_inferena.prepare.exact import Float64, plain_kernels
from pytest_inferena.verdict.scale import denominators, floor, limit
from pytest_inferena.verdict.tensors import distance
from pytest_inferena.worker.aten import to_module
from pytest_inferena.worker.format import Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.program.graph import Graph
    from pytest_inferena.verdict.tensors import Array
    from pytest_inferena.worker.format import Entry

    Tensors = Mapping[str, Array | None]

SHARE = 0.1
"""Of the gate's floor, what a capture may take: its constants are rounded to float32. The rest is for engines."""


class Proof:
    """Compares entries with what the module gives. What training computes is not computed again for inference."""

    def __init__(self, parameters: Mapping[str, torch.Tensor]) -> None:
        self.parameters = parameters
        self.flop: dict[str, int] = {}
        """Floating-point operations of one step of each entry that was run, as PyTorch counts them."""
        self._found: dict[str, Tensors] = {}

    def prove(
        self, entry: Entry, right: Tensors, golden: Mapping[str, Any], graph: Graph, part: Entry | None = None
    ) -> None:
        """Compare one entry.

        Args:
            entry: as it was written.
            right: golden results by name; those of `training` for `joint`.
            golden: what `write_golden` found beside them.
            graph: what the entry was written from, to find the node that differs.
            part: another entry, which may be a part of this one.

        Raises:
            ValueError: it has the first node that differs, the user's line that made it, and the tensor.
        """
        dtype = getattr(torch, golden["dtype"])
        values = {key: self.parameters[key].detach().to(dtype) for key in entry.parameters}
        with plain_kernels(), Float64() if dtype == torch.float64 else contextlib.nullcontext():
            if (found := self._found.pop(entry.name, None)) is None:
                try:
                    found = self._results(entry, values, part)
                except Unsupported:  # no operator of PyTorch's, so engines say by themselves that they lack it
                    return
            if problem := what_differs(right, golden, found):
                where = first_difference(graph, entry, values)
                raise ValueError(
                    f"the capture differs from the module {where}: entry {entry.name}, {problem}; no engine is judged "
                    "by it, for it is a fault of pytest-inferena or of torch.export"
                )

    def _results(self, entry: Entry, values: Mapping[str, torch.Tensor], part: Entry | None) -> Tensors:
        """The outputs by name; of `training` the loss, and its gradients by PyTorch's autograd."""
        trained = [key for key in values if entry.trains and self.parameters[key].requires_grad]
        parameters = {key: torch.nn.Parameter(value, key in trained) for key, value in values.items()}
        inputs = [torch.from_numpy(entry.arrays("inputs")[spec.name]) for spec in entry.inputs]
        more = part.outputs if part is not None and _is_part(part, entry) else {}
        both = replace(entry, outputs={**entry.outputs, **{f"part {key}": name for key, name in more.items()}})
        with torch.set_grad_enabled(entry.trains), FlopCounterMode(display=False) as counter:
            computed = to_module(both, parameters)(*inputs)
            forward = counter.get_total_flops()
            results = dict(zip(entry.outputs, computed, strict=False))
            others = dict(zip(more, computed[len(results) :], strict=True))
            if trained:
                leaves = [parameters[key] for key in trained]
                gradients = torch.autograd.grad(results["loss"], leaves, allow_unused=True)
                results |= {f"grad:{key}": value for key, value in zip(trained, gradients, strict=True)}
        self.flop[entry.name] = counter.get_total_flops()
        if part is not None and more:
            self._found[part.name], self.flop[part.name] = _arrays(others), forward
        return _arrays(results)


def _is_part(part: Entry, whole: Entry) -> bool:
    """Whether an entry computes all that another does, from the same constants."""
    nodes = {node.name: node for node in whole.nodes}
    ours, theirs = part.arrays("constants"), whole.arrays("constants")
    same = all(name in theirs and np.array_equal(array, theirs[name]) for name, array in ours.items())
    return same and all(nodes.get(node.name) == node for node in part.nodes)


def _arrays(tensors: Mapping[str, torch.Tensor | None]) -> Tensors:
    """Rounded as golden is, which is infinite beyond float32. NumPy does it, for within `Float64` PyTorch does not."""
    arrays = {key: None if value is None else value.detach().numpy() for key, value in tensors.items()}
    with np.errstate(over="ignore"):
        return {k: x.astype(np.float32) if x is not None and x.dtype.kind == "f" else x for k, x in arrays.items()}


def what_differs(right: Tensors, golden: Mapping[str, Any], found: Tensors) -> str:
    """What is not the module's, in a phrase; empty where all is."""
    known, share = golden["tensors"], SHARE if golden["dtype"] == "float64" else 1
    gaps = {}
    for name, value in right.items():
        given = found.get(name)
        if value is None or given is None:
            if (given is None) != (value is None) and (value if given is None else given).any():  # type: ignore[union-attr]
                return f"{name} is {'missing' if given is None else 'there, and should not be'}"
            continue
        if given.shape != value.shape or (given.dtype.kind != value.dtype.kind):
            return f"{name} is {given.dtype}{list(given.shape)} instead of {value.dtype}{list(value.shape)}"
        if value.dtype.kind in "iub":
            tied = {tuple(pair) for pair in known.get(name, ())}
            unequal = (given != value).reshape(-1).nonzero()[0]
            if any((int(at), int(given.reshape(-1)[at])) not in tied for at in unequal):
                return f"{name} differs in {len(unequal)} of {value.size} values"
            continue
        gap = gaps[name] = distance(value, given)
        if not gap.agrees:
            return f"{name} is not finite where the module's is, or the reverse"
    scales = denominators({name: gap.rms for name, gap in gaps.items()})
    over = {}
    for name, gap in gaps.items():
        nrmse, most = gap.rmse / scales[name], limit(known[name], right[name].size, share * floor(name))  # type: ignore[union-attr]
        if nrmse > most:
            over[nrmse / most] = f"{name} has NRMSE {nrmse:.1e}, limit {most:.1e}"
    return over[max(over)] if over else ""
