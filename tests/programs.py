"""The ways a test makes a Program of a module, and runs it."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import torch
from tests.zoo import model
from torch import Tensor, nn

from pytest_inferena.program.capture import capture, parameter_names
from pytest_inferena.program.joint import joint
from pytest_inferena.worker.aten import to_module
from pytest_inferena.worker.format import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.program.graph import Graph


class Loss(nn.Module):
    """A scalar that depends on every element of a module's output, not only on their sum."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, **inputs: Tensor) -> Tensor:
        """Inputs by name to a scalar."""
        output = self.module(**inputs)
        ramp = torch.linspace(-1, 1, output.numel()).reshape(output.shape)
        return ((output + ramp) * output).mean()


def entry_of(graph: Graph, name: str = "inference") -> Entry:
    """A graph as it is read back from its document."""
    entry = Entry(
        name, tuple(graph.inputs), tuple(sorted(graph.parameters)),
        tuple(graph.specs[constant] for constant in graph.constants), tuple(graph.nodes), graph.outputs,
    )  # fmt: skip
    entry = Entry.from_json(json.loads(json.dumps(entry.to_json(), allow_nan=False)))
    entry.specs = graph.specs
    entry._arrays["constants"] = dict(graph.constants)
    return entry


def captured(module: nn.Module, inputs: dict[str, Tensor], *outputs: str, trains: bool = False) -> Entry:
    """An entry of a module; its one output is called `output` where nothing else is said."""
    names = parameter_names(module)
    return entry_of(capture(module, inputs, outputs or ("output",), names, trains=trains))


def run(entry: Entry, module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What an entry computes, in PyTorch."""
    program = to_module(entry, dict(module.named_parameters()))
    return dict(zip(entry.outputs, program(*(inputs[spec.name] for spec in entry.inputs)), strict=True))


@functools.cache
def inference(name: str) -> Entry:
    """The entry of one of `MODELS`."""
    return captured(*model(name))


@functools.cache
def training(name: str) -> Entry:
    """Its entry with a loss."""
    module, inputs = model(name)
    return entry_of(capture(Loss(module), inputs, ("loss",), parameter_names(module), trains=True), "training")


@functools.cache
def gradients(name: str) -> Entry:
    """Its entry with loss and gradients in one graph."""
    module, inputs = model(name)
    return entry_of(joint(training(name), dict(module.named_parameters()), inputs), "joint")


def golden(module: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Loss and gradients by autograd on the untouched module."""
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    loss = Loss(module)(**inputs)
    found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    named = {f"grad:{name}": grad for name, grad in zip(trained, found, strict=True) if grad is not None}
    return {"loss": loss.detach(), **named}


def operators_behind(entry: Entry, output: str) -> str:
    """The operators that one of an entry's outputs depends on, in order of execution."""
    needed, found = {entry.outputs[output]}, list[str]()
    for node in reversed(entry.nodes):
        if needed.intersection(spec.name for spec in node.outputs):
            needed.update(node.inputs())
            found.append(node.operator)
    return " ".join(found[::-1])
