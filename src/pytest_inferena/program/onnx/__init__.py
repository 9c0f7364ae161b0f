"""A Program as ONNX: one operator table for every engine that reads ONNX.

Nothing is traced and nothing is optimised. Every operator of the Program becomes a few ONNX nodes, and the
engine's own optimiser does the rest. An adapter says which of ONNX's large operators its engine has (Attention,
RMSNormalization, …); the others are written with small ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from onnx import OperatorSetIdProto, helper

from pytest_inferena.program.onnx import attention, elementwise, layers, shapes, windows
from pytest_inferena.program.onnx.builder import DTYPES, STRETCHES, Builder
from pytest_inferena.program.onnx.external import external
from pytest_inferena.store.disk import link
from pytest_inferena.worker import Unsupported, refuse

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import GraphProto, ValueInfoProto

    from pytest_inferena.worker.format import Entry, Node, Program, TensorSpec

__all__ = ["FUSED", "OPERATORS", "OPSET", "link", "to_onnx", "write_entries"]

OPSET = 23
"""Has Attention, RMSNormalization and RotaryEmbedding."""
FUSED = frozenset({"Attention", "Gelu", "LayerNormalization", "RMSNormalization", "RotaryEmbedding"})
"""Large ONNX operators that are used by default; GroupNormalization and, from opset 24, Swish can be added."""

OPERATORS = {
    **elementwise.OPERATORS,
    **shapes.OPERATORS,
    **layers.OPERATORS,
    **windows.OPERATORS,
    **attention.OPERATORS,
}


def to_onnx(
    entry: Entry,
    program: Program,
    folder: Path,
    *,
    opset: int = OPSET,
    fused: frozenset[str] = FUSED,
    parameters_are_inputs: bool | None = None,
) -> Path:
    """Write an entry as `folder/ENTRY.onnx`.

    The graph has the inputs of the entry, then the parameters where they are inputs, and the entry's outputs
    by their names. Parameters and constants of the Program that become initializers are external data: they stay
    in `weights.safetensors` and `ENTRY.constants.safetensors`. Give the engine the Program's folder for them, or
    `link` the files beside the model.

    Args:
        entry: what to write.
        program: whose entry it is.
        folder: where to write it.
        opset: version of ONNX's operators.
        fused: names of the large ONNX operators that may be used.
        parameters_are_inputs: whether the parameters are inputs of the graph, which may change from step to step,
            or initializers, which an engine may fold, pack and fuse. By default they are inputs of `training` and
            `joint`, and initializers of other entries.

    Raises:
        Unsupported: the table lacks an operator; the message names the operator, its node and the model.
    """
    as_inputs = entry.name in {"training", "joint"} if parameters_are_inputs is None else parameters_are_inputs
    graph = _graph(entry, program, fused, as_inputs=as_inputs)
    opsets = [OperatorSetIdProto(version=opset)]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets), producer_name="pytest-inferena"
    )
    path = folder / f"{entry.name}.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def write_entries(program: Program, folder: Path, *, linked: bool = False, **options: Any) -> None:
    """Write ENTRY.onnx for every entry that engines run, or ENTRY.unsupported with the reason why there is none.

    Args:
        program: whose entries they are.
        folder: where to write them.
        linked: put the external data beside them, for engines that open no other folder.
        options: of `to_onnx`.
    """
    for name in ("inference", "latency", "joint"):
        try:
            to_onnx(program.entry(name), program, folder, **options)
        except Unsupported as error:
            refuse(folder, name, error)
            continue
        for file in ("weights.safetensors", f"{name}.constants.safetensors") if linked else ():
            link(program.folder / file, folder)


def _graph(entry: Entry, program: Program, fused: frozenset[str], *, as_inputs: bool) -> GraphProto:
    builder = Builder(entry, fused)
    for node in entry.nodes:
        _write(builder, node, program.model)
    builder.finish()
    parameters = [program.parameters[name] for name in entry.parameters]
    constants = external(program.folder / f"{entry.name}.constants.safetensors", entry.constants)
    weights = [] if as_inputs else external(program.folder / "weights.safetensors", parameters)
    read = {name for node in builder.nodes for name in node.input}
    inputs = [*entry.inputs, *(parameters if as_inputs else ())]
    outputs = [replace(entry.specs[tensor], name=name) for name, tensor in entry.outputs.items()]
    return helper.make_graph(
        builder.nodes, f"{program.model}.{entry.name}", list(map(_info, inputs)), list(map(_info, outputs)),
        [tensor for tensor in (*weights, *constants, *builder.initializers) if tensor.name in read],
    )  # fmt: skip


def _write(builder: Builder, node: Node, model: str) -> None:
    """Append the ONNX nodes of one node of the Program."""
    builder.node = node
    if node.operator in STRETCHES:
        builder.wait(node)
        return
    rule = OPERATORS.get(node.operator)
    where = f"node {node.name} of {model}.{builder.entry.name}"
    if rule is None:
        raise Unsupported(f"unsupported operator aten.{node.operator}, {where}: the ONNX table lacks it")
    try:
        results = rule(builder, *node.arguments.values())
    except Unsupported as error:
        raise Unsupported(f"unsupported operator aten.{node.operator}, {where}: {error}") from None
    for spec, name in zip(node.outputs, (results,) if isinstance(results, str) else results, strict=True):
        builder.bind(spec.name, name)


def _info(spec: TensorSpec) -> ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, DTYPES[spec.dtype], spec.shape)
