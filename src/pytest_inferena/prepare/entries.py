"""The entries of a case: captured, and written as files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from pytest_inferena.program.capture import capture, export, parameter_names
from pytest_inferena.worker.format import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_inferena.prepare.case import Case
    from pytest_inferena.program.graph import Graph


class Whole(torch.nn.Module):
    """A case's module with its loss: what `training` runs, and `inference` a part of it."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case_module, self.case = case.module, case

    def forward(self, **arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Inputs and targets by name to the scalar loss and the outputs."""
        targets = {name: arguments.pop(name) for name in self.case.targets}
        outputs = self.case_module(**arguments)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return (self.case.loss(*outputs, **targets), *outputs)


def entries(case: Case) -> dict[str, tuple[Graph, Mapping[str, torch.Tensor]]]:
    """The graphs of a case's entries with their inputs; inference and training are parts of one export.

    Raises:
        NotExportable: one of them has none.
    """
    names, inputs = parameter_names(case.module), case.inputs | case.targets
    latency = capture(case.module, case.latency, case.outputs, names)
    whole = export(Whole(case), inputs, ("loss", *case.outputs), names, trains=True)
    outputs = {name: place for place, name in enumerate(case.outputs, 1)}
    return {
        "inference": (whole.graph(case.inputs, outputs), case.inputs),
        "latency": (latency, case.latency),
        "training": (whole.graph(inputs, {"loss": 0}, trains=True), inputs),
    }


def write_entry(folder: Path, name: str, graph: Graph, inputs: Mapping[str, torch.Tensor]) -> None:
    """Write an entry's document, constants and inputs."""
    constants = tuple(graph.specs[constant] for constant in graph.constants)
    entry = Entry(
        name,
        tuple(graph.inputs),
        tuple(sorted(graph.parameters)),
        constants,
        tuple(graph.nodes),
        graph.outputs,
    )
    (folder / f"{name}.json").write_text(json.dumps(entry.to_json(), allow_nan=False))
    arrays = {key: torch.tensor(value) for key, value in graph.constants.items()}  # copies: some are views of others
    save_file(arrays, folder / f"{name}.constants.safetensors")
    save_file({key: value.contiguous() for key, value in inputs.items()}, folder / f"{name}.inputs.safetensors")
