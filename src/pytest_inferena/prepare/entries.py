"""The entries of a case: captured, and written as files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from pytest_inferena.collect.source import Source
from pytest_inferena.prepare.attempts import require_trainable
from pytest_inferena.prepare.call import Call
from pytest_inferena.program.capture import export, parameter_names
from pytest_inferena.program.names import LOSS
from pytest_inferena.worker.format import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pytest_inferena.prepare.attempts import Attempts
    from pytest_inferena.prepare.case import Case
    from pytest_inferena.program.capture import Exported
    from pytest_inferena.program.graph import Graph


def entries(case: Case, attempts: Attempts) -> dict[str, tuple[Graph, Mapping[str, torch.Tensor]]]:
    """The graphs of a case's entries with their inputs. Where one has none, the others are made all the same.

    Inference and training are parts of one export, or each has its own where that fails, or where outputs of inference
    would need the targets.
    """
    made = {}
    with attempts.at("latency"):
        made["latency"] = _of(case, "latency")
    whole = Call(case.module, case, "training")
    with attempts.at("training"):
        require_trainable(case)
        graphs = exported(whole)
        made["training"] = graphs.graph(whole.tensors(), {LOSS: 0}, trains=True), whole.tensors()
        part = Call(case.module, case, "inference").tensors()
        graph = graphs.graph(part, {name: at for at, name in enumerate(whole.outputs, 1)})
        attempts.apart = not graph.parameters.isdisjoint(whole.tensors().keys() - part.keys())
        if not attempts.apart:
            made["inference"] = graph, part
    if "inference" not in made:
        with attempts.at("inference"):
            made["inference"] = _of(case, "inference")
    return made


def custom_operators(graphs: Iterable[Graph], request: Mapping[str, Any]) -> dict[str, Any] | None:
    """What registers the operators that are not PyTorch's own, as `Program.custom` has it; None if there are none."""
    names = {node.operator.partition("::")[0] for graph in graphs for node in graph.nodes if "::" in node.operator}
    source = Source.parse(request["source"], None)
    modules = [source.place.partition(":")[0]] if source.kind == "python" else []
    file = source.place if source.kind == "file" else ""
    return {"namespaces": modules + sorted(names), "file": file, "path": request.get("path", [])} if names else None


def _of(case: Case, entry: str) -> tuple[Graph, Mapping[str, torch.Tensor]]:
    """An entry with an export of its own."""
    call = Call(case.module, case, entry)
    graphs = exported(call)
    inputs = call.tensors()
    return graphs.graph(inputs, {name: at for at, name in enumerate(call.outputs)}), inputs


def exported(call: Call) -> Exported:
    """What torch.export makes of it; `call.outputs` is known then."""
    names = parameter_names(call.case_module)
    return export(call, call.tensors(), names, trains=call.trains, by_position=True)


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
    arrays = {key: torch.tensor(value) for key, value in graph.constants.items()}  # copies, as some are views of others
    save_file(arrays, folder / f"{name}.constants.safetensors")
    copies = {key: value.detach().clone(memory_format=torch.contiguous_format) for key, value in inputs.items()}
    save_file(copies, folder / f"{name}.inputs.safetensors")
