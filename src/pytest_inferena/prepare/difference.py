"""Where an entry leaves the graph that it was made from: both are run, and the first node that differs is named.

No values are kept, for a model's may fill the memory: each tensor is remembered by a few random sums of it.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from pytest_inferena.program.places import place_of
from pytest_inferena.worker.aten import keywords_of
from pytest_inferena.worker.aten import operator as function_of
from pytest_inferena.worker.format import Ref, Unsupported, substitute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_inferena.program.graph import Graph
    from pytest_inferena.worker.format import Entry

Tensors: TypeAlias = "Mapping[str, torch.Tensor]"
SUMS = 4
ALIKE = {torch.ops.aten.view.default: torch.ops.aten.reshape.default}
"""What does the same to a tensor that lies otherwise in memory, as one in float64 may."""
LARGE = 1e-5
"""The NRMSE that rounding a constant to float32 does not make."""


def first_difference(graph: Graph, entry: Entry, parameters: Tensors) -> str:
    """Where an entry is the first to differ from the graph of torch.export, with the line of the user's code.

    Raises:
        Unsupported: there a choice is made among equal numbers. PyTorch leaves open which of them it takes.
    """
    exported, known = graph.made_of
    inputs = {name: torch.from_numpy(array) for name, array in entry.arrays("inputs").items()}
    constants = {name: torch.from_numpy(array) for name, array in entry.arrays("constants").items()}
    several: dict[torch.fx.Node, Any] = {}
    with torch.no_grad():
        found = {name: _sums(value) for name, value in _of_entry(entry, {**inputs, **parameters, **constants})}
        for node, name, value in _of_exported(exported, known, {**inputs, **parameters}):
            if not isinstance(value, torch.Tensor):
                several[node] = value
                continue
            sums = found.get(graph.resolve(Ref(name)).name)
            if sums is not None and _gap(_sums(value), sums) > LARGE:
                where = f"at node {name}, {place_of(node) or 'no line of the code is known'}"
                if _has_equal(node, several):
                    raise Unsupported(
                        f"the outputs hang on which of equal numbers is taken {where}; PyTorch leaves that open, so no "
                        "engine can be judged: give the model inputs or weights of which no two are equal there"
                    )
                return where
    return "in what torch.export made of it, at no node that can be named"


def _of_entry(entry: Entry, values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every tensor that an entry computes, by name."""
    last = {name: node.name for node in entry.nodes for name in node.inputs()}
    for node in entry.nodes:
        function = function_of(node)
        given = {name: substitute(value, values.__getitem__) for name, value in node.arguments.items()}
        keywords = {name: given.pop(name) for name in keywords_of(function) if name in given}
        results = function(*given.values(), **keywords)
        for spec, result in zip(node.outputs, results if len(node.outputs) > 1 else (results,), strict=False):
            values[spec.name] = result
            yield spec.name, result
        for name in node.inputs():
            if last[name] == node.name:
                values.pop(name, None)


def _of_exported(
    graph: torch.fx.Graph, known: Mapping[str, Any], values: Tensors
) -> Iterator[tuple[torch.fx.Node, str, Any]]:
    """All that a graph of torch.export computes with its node, and the name that the Program has for a tensor."""
    kept: dict[torch.fx.Node, Any] = {}
    last = {source: node for node in graph.nodes for source in node.all_input_nodes}
    for node in graph.nodes:
        if node.op == "placeholder" and node.users:  # a Program has no parameter that nothing reads
            value = known.get(node.name)
            kept[node] = values[value] if isinstance(value, str) else value
        elif node.op == "call_function":
            args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), kept.__getitem__)
            kept[node] = ALIKE.get(node.target, node.target)(*args, **kwargs)
            yield node, _name(node), kept[node]
        for source in node.all_input_nodes:
            if last[source] is node:
                del kept[source]


def _has_equal(node: torch.fx.Node, several: Mapping[torch.fx.Node, Any]) -> bool:
    """Whether a node is the places of what `topk` or `sort` gives, and some of those numbers are equal."""
    if node.target is not operator.getitem or node.args[1] != 1:
        return False
    source: Any = node.args[0]
    schema = source.target._schema  # noqa: SLF001 - ATen has no other place for names of arguments
    if schema.name not in {"aten::topk", "aten::sort"}:  # other second results are no places of the first's numbers
        return False
    names = [argument.name for argument in schema.arguments]
    dim = {**dict(zip(names, source.args, strict=False)), **source.kwargs}.get("dim", -1)
    numbers = several[source][0]
    return bool(numbers.ndim) and bool((numbers.sort(dim)[0].diff(dim=dim) == 0).any())


def _name(node: torch.fx.Node) -> str:
    """What `capture` calls it."""
    if node.target is not operator.getitem:
        return str(node.name)
    source, index = node.args
    return f"{source}.{index}" if index else str(source)


def _sums(value: Any) -> tuple[tuple[int, ...], torch.Tensor]:
    """Shape, then the root mean square and some random sums: those of two tensors are as far apart as their values."""
    flat = value.detach().double().reshape(-1).nan_to_num(0, 0, 0)
    generator = torch.Generator().manual_seed(0)
    size = max(flat.numel(), 1)
    sums = [flat @ torch.randn(flat.shape, generator=generator, dtype=torch.float64) for _ in range(SUMS)]
    return tuple(value.shape), torch.stack([flat.norm(), *sums]) / size**0.5


def _gap(right: tuple[tuple[int, ...], torch.Tensor], given: tuple[tuple[int, ...], torch.Tensor]) -> float:
    """About the NRMSE."""
    if right[0] != given[0]:
        return 0.0  # another layout of the same
    return float((right[1] - given[1])[1:].abs().max() / right[1][0].clamp(min=1e-30))
