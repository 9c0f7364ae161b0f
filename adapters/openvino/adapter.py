"""OpenVINO: the Program as ONNX, compiled by the CPU plugin for single-precision arithmetic.

Left alone the plugin calculates in bfloat16 where the processor can, so every compiled model is told f32 and
accuracy. Parameters are constants for inference and latency; for a training step they are inputs, which lie in
OpenVINO's own tensors and may change between steps.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from pytest_inferena import Exchange, Lazily, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_inferena import Entry, Operators, Program

LACKS = re.compile(r"No conversion rule found for operations: ([\w.]+?)(?:-\d+)?[,\s]")
"""What the ONNX frontend says of operators that it does not know, each with its version."""
REFUSES = re.compile(r"'<Node\((?P<kind>\w+)\): (?P<node>[^>]+)>': [^\n]*\n(?P<why>Unsupported [^\n]*)")
"""What it says of a node whose operator it knows, but not all ways of using it."""


def table() -> Operators:
    """What the ONNX table writes, less one that OpenVINO spells with more nodes than the expansion does."""
    from pytest_inferena.program.onnx import written

    return written("scaled_dot_product_attention", pad={"mode": ["reflect", "replicate"]})


class Adapter(Exchange):
    """Compiling reads the weights, and packs them: there is no load apart from it."""

    operators = Lazily(table)
    compiled: ov.CompiledModel | None = None

    @classmethod
    def prepare(cls, program: Program, folder: Path) -> None:
        """Write ENTRY.onnx beside the weights, which OpenVINO takes from the model's own folder only."""
        from pytest_inferena.program.onnx import write_entries

        write_entries(program, folder, linked=True)

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Find the exchange files; they and the weights are read by `build`."""
        super().load(program, weights)
        self.core = ov.Core()

    def build(self, entry: Entry) -> Step:
        """Read the entry's model and compile it for one request at a time."""
        doubles = [spec.name for spec in entry.specs.values() if spec.dtype == "float64"]
        if doubles:
            raise Unsupported(f"float64, tensor {doubles[0]}: OpenVINO's CPU plugin calculates it in float32")
        self.compiled = self._compile(self.exchange / f"{entry.name}.onnx")
        return Step(self.compiled, entry, self.weights)

    def describe(self) -> str:
        """Devices, precision and threads of the model that was compiled last, as it says itself."""
        if self.compiled is None:
            return f"OpenVINO {ov.get_version()}, nothing compiled yet"
        devices = ", ".join(self.compiled.get_property("EXECUTION_DEVICES"))
        precision = self.compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        threads = self.compiled.get_property("INFERENCE_NUM_THREADS")
        return f"OpenVINO {ov.get_version()}, {devices}, {precision}, {threads} threads"

    def _compile(self, file: Path) -> ov.CompiledModel:
        try:
            model = self.core.read_model(file)
            keep_sums(model)
            return self.core.compile_model(model, self.setup.device.upper(), self._options())
        except RuntimeError as error:
            if (reason := _lacking(str(error), file)) is None:
                raise
            raise Unsupported(f"unsupported operator ONNX {reason}") from error

    def _options(self) -> dict[str, Any]:
        return {
            "INFERENCE_PRECISION_HINT": "f32",
            "EXECUTION_MODE_HINT": "ACCURACY",  # also: no activations or caches in int8
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.setup.threads,
        }


class Step:
    """A request whose inputs and results are OpenVINO's own tensors, bound once."""

    def __init__(self, compiled: ov.CompiledModel, entry: Entry, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self.request = compiled.create_infer_request()
        inputs = entry.arrays("inputs")
        for port in compiled.inputs:
            (name,) = port.names & (inputs.keys() | set(entry.parameters))
            tensor = ov.Tensor(port.element_type, port.shape)
            tensor.data[...] = inputs[name] if name in inputs else weights[name]
            self.request.set_tensor(port, tensor)
        self.results: dict[str, ov.Tensor] = {}
        for name, tensor_name in entry.outputs.items():
            spec = entry.specs[tensor_name]
            self.results[name] = ov.Tensor(ov.Type(np.dtype(spec.dtype)), ov.Shape(spec.shape))
            self.request.set_tensor(name, self.results[name])

    def __call__(self) -> None:
        """Run the request, to its end."""
        self.request.infer()

    def synchronize(self) -> None:
        """Nothing is left to wait for."""

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Results by name."""
        return {name: tensor.data for name, tensor in self.results.items()}


def keep_sums(model: ov.Model) -> None:
    """Hide sums before a reshape from a pass of the CPU plugin that breaks on them.

    It rewrites Reshape(Add(Add(Reshape(MatMul), x), y)), to find attention, into new nodes that lack the number
    which the next pass asks for: "Topological order is required, but not set." Gradients that meet have that
    form. It leaves alone what does not broadcast, as sums of equal shapes do not.
    """
    for node in model.get_ops():
        if node.get_type_name() == "Add" and len({tuple(port.get_shape()) for port in node.inputs()}) == 1:
            readers = {port.get_node().get_type_name() for port in node.output(0).get_target_inputs()}
            if "Reshape" in readers:
                node.set_attribute("auto_broadcast", "none")


def _lacking(message: str, file: Path) -> str | None:
    """Operator and node that a message speaks of; None if it speaks of something else."""
    if (refused := REFUSES.search(message)) is not None:
        return f"{refused['kind']}, node {refused['node']}: OpenVINO's ONNX frontend says: {refused['why']}"
    if (unknown := LACKS.search(message)) is None:
        return None
    kind = unknown[1].rpartition(".")[2]
    writer = re.search(rb"([\w.:]+)/" + kind.encode() + rb"_\d+", file.read_bytes())  # the message names no node
    where = f", node {writer[1].decode()}" if writer else ""
    return f"{unknown[1]}{where}: OpenVINO's ONNX frontend has no rule for it"
