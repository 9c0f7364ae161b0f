"""A Program as ONNX: one operator table for every engine that reads ONNX.

Nothing is traced and nothing is optimised. Every operator of the table becomes a few ONNX nodes, and the engine's own
optimiser does the rest. An adapter says which of them its engine reads (`written`); the others are expanded before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from onnx import OperatorSetIdProto, helper

from pytest_inferena.program.onnx import elementwise, layers, shapes, windows
from pytest_inferena.program.onnx.builder import DTYPES, STRETCHES, Builder
from pytest_inferena.program.onnx.external import SMALL, external
from pytest_inferena.store.disk import link
from pytest_inferena.worker import Unsupported, refuse
from pytest_inferena.worker.capabilities import has

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import GraphProto, ValueInfoProto

    from pytest_inferena.worker.capabilities import Conditions, Operators
    from pytest_inferena.worker.format import Entry, Node, Program, TensorSpec

__all__ = ["OPERATORS", "OPSET", "link", "to_onnx", "write_entries", "written"]

OPSET = 23
"""Has Attention, RMSNormalization and RotaryEmbedding."""
OPERATORS = {
    **elementwise.OPERATORS,
    **shapes.OPERATORS,
    **layers.OPERATORS,
    **windows.OPERATORS,
}
CONDITIONS: Operators = {
    "avg_pool2d": {"ceil_mode": [False], "count_include_pad": [True], "divisor_override": [None]},
    "index_put": {"accumulate": [True]},
}


def written(*lacks: str, **conditions: Conditions) -> Operators:
    """What of the Program's operators the table writes, as `Adapter.operators` has it.

    Args:
        lacks: operators that an engine does not read, or takes apart itself.
        conditions: those under which it reads others, by operator.
    """
    known = {*OPERATORS, *STRETCHES}.difference(lacks)
    return {name: {**CONDITIONS.get(name, {}), **conditions.get(name, {})} for name in sorted(known)}


WRITTEN = written()


def to_onnx(
    entry: Entry,
    program: Program,
    folder: Path,
    *,
    opset: int = OPSET,
    parameters_are_inputs: bool | None = None,
) -> Path:
    """Write an entry as `folder/ENTRY.onnx`.

    The graph has the inputs of the entry, then the parameters where they are inputs, and the entry's outputs
    by their names. Parameters and larger constants of the Program that become initializers are external data: they stay
    in `weights.safetensors` and `ENTRY.constants.safetensors`. Give the engine the Program's folder for them, or
    `link` the files beside the model.

    Args:
        entry: what to write.
        program: whose entry it is.
        folder: where to write it.
        opset: version of ONNX's operators.
        parameters_are_inputs: whether the parameters are inputs of the graph, which may change from step to step,
            or initializers, which an engine may fold, pack and fuse. By default they are inputs of `training` and
            `joint`, and initializers of other entries.

    Raises:
        Unsupported: the table lacks an operator; the message names the operator, its node and the model.
    """
    as_inputs = entry.name in {"training", "joint"} if parameters_are_inputs is None else parameters_are_inputs
    graph = _graph(entry, program, as_inputs=as_inputs)
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


def _graph(entry: Entry, program: Program, *, as_inputs: bool) -> GraphProto:
    builder = Builder(entry)
    for node in entry.nodes:
        _write(builder, node, program.model)
    builder.finish()
    parameters = [program.parameters[name] for name in entry.parameters]
    constants = external(program.folder / f"{entry.name}.constants.safetensors", entry.constants, above=SMALL)
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
    if not has(WRITTEN, node, builder.entry.specs, trains=builder.entry.trains):
        where = f"node {node.name} of {model}.{builder.entry.name}"
        raise Unsupported(f"unsupported operator {node.title}, {where}: the ONNX table lacks it")
    results = OPERATORS[node.operator](builder, *node.arguments.values())
    for spec, name in zip(node.outputs, (results,) if isinstance(results, str) else results, strict=True):
        builder.bind(spec.name, name)


def _info(spec: TensorSpec) -> ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, DTYPES[spec.dtype], spec.shape)
