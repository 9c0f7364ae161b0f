"""A torch module becomes an entry of a Program: torch.export, constant folding, one spelling, fusion."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pytest_inferena.program.canonical import canonical
from pytest_inferena.program.decompose import taken_apart
from pytest_inferena.program.fuse import fuse
from pytest_inferena.program.graph import Graph, NotExportable
from pytest_inferena.program.names import heads, parameters_of
from pytest_inferena.program.operators import name_of
from pytest_inferena.program.places import at, placed
from pytest_inferena.program.refusals import explained, refuse_changes, refuse_random, refuse_strided
from pytest_inferena.worker.format import Node, Ref, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    Tensors = Mapping[str, torch.Tensor]

BY_SHAPE = ("new_", "zeros_like", "ones_like", "full_like")
"""Operators that read nothing of their tensor but its shape and dtype."""


def capture(
    module: torch.nn.Module,
    inputs: Tensors,
    outputs: tuple[str, ...],
    names: Mapping[int, str],
    *,
    trains: bool = False,
) -> Graph:
    """Capture a module that is called by keyword; see `export`."""
    results = {name: place for place, name in enumerate(outputs)}
    return export(module, inputs, names, trains=trains).graph(inputs, results, trains=trains)


@dataclass(frozen=True)
class Exported:
    """What torch.export made of one way of calling a module; entries that differ in outputs share it."""

    fx: torch.fx.Graph
    known: Mapping[str, str | torch.Tensor]
    """Placeholder → the name of an input or parameter, or the constant that it stands for."""

    def graph(self, inputs: Tensors, results: Mapping[str, int], *, trains: bool = False) -> Graph:
        """The part that some of its results need, of some of its inputs, as a Program's graph.

        Args:
            inputs: those that it needs, by name.
            results: name of an output → which result it is.
            trains: engines will derive gradients.
        """
        part = torch.fx.Graph()
        copied: dict[torch.fx.Node, torch.fx.Node] = {}
        all_results: Any = part.graph_copy(self.fx, copied)
        # A copy renames what is called like one of Python's builtins: `input`.
        known = {copied[node].name: self.known[node.name] for node in copied if node.name in self.known}
        part.output(tuple(all_results[place] for place in results.values()))
        part.eliminate_dead_code()
        return lower(part, known, inputs, tuple(results), trains=trains)


def export(
    module: torch.nn.Module,
    inputs: Tensors,
    names: Mapping[int, str],
    *,
    trains: bool = False,
    by_position: bool = False,
) -> Exported:
    """Export one way of calling a module.

    Args:
        module: in eval mode; called with `inputs` as keyword arguments.
        inputs: example tensors by name; their shapes are the entry's.
        names: id of a parameter → its name in the Program, see `parameter_names`.
        trains: engines will derive gradients, so that it matters where none may flow.
        by_position: call it with the inputs in their order instead.

    Raises:
        NotExportable: the message holds what torch.export says and what to do.
    """
    exported = _export(module, inputs, trains=trains, by_position=by_position)
    signature = exported.graph_signature
    tensors = {**exported.state_dict, **exported.constants}
    known: dict[str, str | torch.Tensor] = {
        node: names[id(module.get_parameter(target))] for node, target in signature.inputs_to_parameters.items()
    }
    for kind in (signature.inputs_to_buffers, signature.inputs_to_lifted_tensor_constants):
        known |= {node: tensors[target] for node, target in kind.items()}
    known |= dict(zip(signature.user_inputs, inputs, strict=True))
    return Exported(exported.graph, known)


def _export(
    module: torch.nn.Module, inputs: Tensors, *, trains: bool, by_position: bool
) -> torch.export.ExportedProgram:
    copies = {name: tensor.clone() for name, tensor in inputs.items()}  # one tensor given twice would be one input
    arguments = tuple(copies.values()) if by_position else ()
    keywords = {} if by_position else copies
    try:
        exported = torch.export.export(module, arguments, keywords)
        refuse_random(exported.graph)
        if trains:
            _detach_regions(exported)
        exported = taken_apart(exported)
        refuse_changes(exported, inputs)
        refuse_strided(exported.graph)
    except NotExportable as error:
        raise NotExportable(placed(str(error), error)) from error
    except Exception as error:
        raise explained(error, lambda: module(*arguments, **keywords)) from error
    return exported


def _detach_regions(exported: torch.export.ExportedProgram) -> None:
    """Detach what regions of `torch.no_grad()` make: what follows would forget that no gradient flows out of them."""
    for node in exported.graph.nodes:
        if getattr(node.target, "__name__", "") != "wrap_with_set_grad_enabled" or node.args[0]:
            continue
        body = exported.graph_module.get_submodule(str(node.args[1].target))
        end = body.graph.output_node()
        with body.graph.inserting_before(end):
            made = [body.graph.call_function(torch.ops.aten.detach.default, (one,)) for one in end.args[0]]
        for one, source in zip(made, end.args[0], strict=True):
            one.meta["val"] = source.meta["val"]
        end.args = (tuple(made),)
        body.recompile()


def parameter_names(module: torch.nn.Module) -> dict[int, str]:
    """Id of every parameter → its first name; tied parameters have only one."""
    return {id(parameter): name for name, parameter in parameters_of(module).items()}


def lower(
    fx: torch.fx.Graph,
    known: Mapping[str, str | torch.Tensor],
    inputs: Tensors,
    outputs: tuple[str, ...],
    *,
    trains: bool = False,
) -> Graph:
    """Turn an FX graph of ATen operators into a Program's graph.

    Args:
        fx: functional, shapes in `meta["val"]`.
        known: placeholder → name of an input or parameter, or the constant tensor it stands for.
        inputs: the entry's inputs by name.
        outputs: names for what the graph returns; None among its results is left out.
        trains: engines will derive gradients.

    Raises:
        NotExportable: it calls what is no ATen operator.
    """
    specs = [_spec(name, tensor) for name, tensor in inputs.items()]
    graph = Graph(specs, {}, trains=trains, made_of=(fx, known))
    graph.specs |= {spec.name: spec for spec in graph.inputs}
    graph.reserved = heads([*inputs, *(name for name in known.values() if isinstance(name, str))])
    folded = fold(fx, known)
    names: dict[torch.fx.Node, str] = {}
    for node in fx.nodes:
        if node.op == "placeholder" and isinstance(target := known.get(node.name), str):
            names[node] = target
            graph.specs[target] = _spec(target, node.meta["val"])
            if target not in inputs:
                graph.parameters.add(target)
        elif node.op == "call_function" and node not in folded:
            _emit(graph, node, names, folded)
        elif node.op == "output":
            results = [result for result in node.args[0] if isinstance(result, torch.fx.Node)]
            refs = [_argument(graph, result, names, folded, inline=False) for result in results]
            graph.outputs = {key: ref.name for key, ref in zip(outputs, refs, strict=True)}
    return fuse(canonical(graph))


def fold(fx: torch.fx.Graph, known: Mapping[str, str | torch.Tensor]) -> dict[torch.fx.Node, Any]:
    """Values of all nodes that depend on no input and no parameter (or on nothing but their shape)."""
    folded: dict[torch.fx.Node, Any] = {
        node: known[node.name] for node in fx.nodes
        if node.op == "placeholder" and isinstance(known.get(node.name), torch.Tensor)
    }  # fmt: skip

    def value(node: torch.fx.Node) -> Any:
        if node in folded:
            return folded[node]
        like = node.meta["val"]  # only its shape and dtype are asked for
        return torch.empty(like.shape, dtype=like.dtype)

    with torch.no_grad():
        for node in fx.nodes:
            if node.op != "call_function":
                continue
            by_shape = getattr(node.target, "__name__", "").startswith(BY_SHAPE)
            others = node.all_input_nodes[1:] if by_shape else node.all_input_nodes
            if all(source in folded for source in others):
                arguments, keywords = torch.fx.node.map_arg((node.args, node.kwargs), value)
                folded[node] = node.target(*arguments, **keywords)
    return folded


def _emit(
    graph: Graph, node: torch.fx.Node, names: dict[torch.fx.Node, str], folded: Mapping[torch.fx.Node, Any]
) -> None:
    """Add one operator, its arguments by the names and in the order of ATen's schema."""
    if node.target is operator.getitem:
        source, index = node.args
        names[node] = f"{names[source]}.{index}" if index else names[source]
        return
    if not isinstance(node.target, torch._ops.OpOverload):
        kind = getattr(node.target, "__name__", str(node.target))
        raise NotExportable(
            f"{at(node)}the forward calls {kind}, which chooses or repeats a part while it runs, and a Program is one "
            "list of operators; use torch.where for a choice, and Python for a loop whose length is known"
        )
    operator_name = name_of(node.target)
    if operator_name.startswith("_assert"):
        return
    inline, arguments = operator_name not in {"maximum", "minimum"}, {}  # these take tensors alone
    for index, parameter in enumerate(node.target._schema.arguments):
        value = node.kwargs.get(parameter.name, parameter.default_value)
        value = node.args[index] if index < len(node.args) else value
        arguments[parameter.name] = _argument(graph, value, names, folded, inline=inline and parameter.name == "other")
    name = names[node] = graph.free(node.name)
    values = node.meta["val"]
    values = list(values) if isinstance(values, list | tuple) else [values]
    specs = [_spec(f"{name}.{i}" if i else name, value, at(node)) for i, value in enumerate(values)]
    graph.nodes.append(Node(operator_name, arguments, tuple(specs)))
    graph.specs |= {spec.name: spec for spec in specs}


def _argument(
    graph: Graph,
    value: Any,
    names: Mapping[torch.fx.Node, str],
    folded: Mapping[torch.fx.Node, Any],
    *,
    inline: bool,
) -> Any:
    """An FX argument as a Program's: constants are added to the graph, scalars among them put in place."""
    if isinstance(value, torch.fx.Node):
        if value not in folded:
            return Ref(names[value])
        return _known(graph, value.name, folded[value], inline=inline)
    if isinstance(value, list | tuple):
        return [_argument(graph, item, names, folded, inline=False) for item in value]
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if value is None or isinstance(value, bool | int | float | complex | str):
        return value
    return str(value)  # device, layout, memory format: no engine reads them


def _known(graph: Graph, name: str, value: Any, *, inline: bool) -> Any:
    """What was folded: a tensor as a constant, or in place if it is a scalar; anything else as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    if inline and value.ndim == 0 and not value.is_complex():
        return value.item()
    name = f"const.{name}"
    while name in graph.reserved:
        name += "_"
    return _constant(graph, name, value.detach().contiguous().numpy())


def _constant(graph: Graph, name: str, array: np.ndarray[Any, Any]) -> Ref:
    """A constant, or, where it is one number over and over, the operator that fills."""
    if array.ndim == 0 or array.size < 2 or array.dtype.kind == "c" or not (array == array.flat[0]).all():
        return graph.constant(name, array)
    if name not in graph.specs:
        spec = TensorSpec(name, array.shape, str(array.dtype))
        arguments = {"size": list(array.shape), "fill_value": array.flat[0].item(), "dtype": spec.dtype}
        graph.emit("full", arguments, spec)
    return Ref(name)


def _spec(name: str, tensor: torch.Tensor, where: str = "") -> TensorSpec:
    """Of an example.

    Raises:
        NotExportable: it is a number read from a tensor, or its shape depends on one.
    """
    if not isinstance(tensor, torch.Tensor) or not all(isinstance(size, int) for size in tensor.shape):
        what = name.replace("_local_scalar_dense", "item()")
        raise NotExportable(
            f"{where}{what} makes a number, or a shape, that depends on the values of tensors; "
            "compute with tensors of fixed shape: torch.where instead of nonzero() or a mask as index, no .item()"
        )
    return TensorSpec(name, tuple(map(int, tensor.shape)), str(tensor.dtype).removeprefix("torch."))
