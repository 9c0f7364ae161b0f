"""The training entry as one graph of forward and backward, for engines without autograd.

PyTorch's autograd derives the gradients; the operators are core ATen's, the documented second set.
What core ATen leaves as a backward operator of its own is spelled by forward ones here, so that an
engine needs no operator that only training has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from pytest_inferena.program.autograd import shorten
from pytest_inferena.program.capture import lower
from pytest_inferena.program.gradients import decompositions
from pytest_inferena.program.graph import NotExportable
from pytest_inferena.worker.aten import to_module

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from pytest_inferena.program.graph import Graph
    from pytest_inferena.worker.format import Entry


STEEP = frozenset({"pow", "sqrt"})
"""Operators whose gradient may be infinite where they are finite themselves."""


def joint(training: Entry, parameters: Mapping[str, torch.nn.Parameter], inputs: Mapping[str, Tensor]) -> Graph:
    """Derive the gradients of a training entry.

    Args:
        training: the entry, whose only output is the scalar `loss`.
        parameters: by name; gradients are made for those that require them.
        inputs: the entry's inputs and targets by name.

    Returns:
        a graph whose outputs are `loss` and `grad:PARAMETER`.

    Raises:
        NotExportable: autograd cannot trace it.
    """
    module = shorten(to_module(training, parameters))
    names = [name for name in training.parameters if parameters[name].requires_grad]
    held = {id(parameter): str(key) for key, parameter in module.named_parameters()}
    keys = [held[id(parameters[name])] for name in names]
    frozen = dict(module.named_parameters()) | dict(module.named_buffers())

    def step(trained: list[Tensor], fixed: dict[str, Tensor], *arguments: Tensor) -> tuple[Tensor | None, ...]:
        values = fixed | dict(zip(keys, trained, strict=True))
        (loss,) = torch.func.functional_call(module, values, arguments)
        return (loss, *torch.autograd.grad(loss, trained, allow_unused=True))

    trained = [parameters[name].detach().requires_grad_() for name in names]
    fixed = {key: value.detach() for key, value in frozen.items() if key not in keys}
    try:
        with torch.nn.attention.sdpa_kernel([torch.nn.attention.SDPBackend.MATH]):
            steep = not STEEP.isdisjoint(training.operators())
            table = decompositions(safe_softmax=_may_mask_all(training), steep=steep)
            arguments = (trained, fixed, *inputs.values())
            traced = make_fx(step, decomposition_table=table, tracing_mode="fake")(*arguments)
        with torch.no_grad():  # autograd adds in place
            traced = make_fx(torch.func.functionalize(traced), tracing_mode="fake")(*arguments)
    except Exception as error:
        said = " ".join(str(error).split())
        raise NotExportable(
            f"PyTorch cannot trace the gradients of this model: {type(error).__name__}: {said[:300]}; "
            "its joint entry is absent, engines with an autograd of their own are not concerned"
        ) from error
    traced.graph.eliminate_dead_code()
    placeholders = [node.name for node in traced.graph.nodes if node.op == "placeholder"]
    known: list[str | Tensor] = [*names, *_fixed(fixed, held, parameters), *inputs]
    outputs = _drop_none(traced.graph, ("loss", *(f"grad:{name}" for name in names)))
    return lower(traced.graph, dict(zip(placeholders, known, strict=True)), inputs, outputs)


def _fixed(
    fixed: Mapping[str, Tensor], held: Mapping[int, str], parameters: Mapping[str, Tensor]
) -> list[str | Tensor]:
    """Parameters without gradient by their name, constants by their value."""
    frozen = {held[id(value)]: name for name, value in parameters.items() if id(value) in held}
    return [frozen.get(key, value) for key, value in fixed.items()]


def _drop_none(graph: torch.fx.Graph, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the results that are tensors; a parameter the loss does not depend on has no gradient."""
    results = next(node for node in graph.nodes if node.op == "output").args[0]
    return tuple(name for name, result in zip(names, results, strict=True) if result is not None)


def _may_mask_all(training: Entry) -> bool:
    """Whether an attention mask may leave a query nothing to attend to."""
    constants = training.arrays("constants")
    masks = [node.arguments.get("attn_mask") for node in training.nodes]
    arrays = [constants.get(mask.name) for mask in masks if mask is not None]
    return any(array is None or array.dtype != bool or not array.any(-1).all() for array in arrays)
