"""ONNX Runtime: the Program as ONNX, a session for each entry, inputs and results bound to its own tensors.

Parameters are initializers for inference and latency, which the session may fold, fuse and pack. For a
training step they are inputs that are bound once: they have to be free to change between steps.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from pytest_inferena import Exchange, Lazily, Unsupported

from . import providers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_inferena import Entry, Operators, Program, Setup

WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
BUILT_IN = {"Cpu": "cpu", "Cuda": "cuda", "DML": "dml"}
"""Memory that the runtime allocates by a device's name; that of plugins it allocates as they say."""
LACKS = re.compile(
    r"implementation for (\w+)\(|No Op registered for (\w+)|error: (\S+)\(-?\d+\) is not a registered function"
)
"""What the runtime says of an operator that it does not know, or has no kernel of that version and dtype for."""
NODE = re.compile(r"(?:with name '|In Node, \(\")([^'\"]+)")


def table() -> Operators:
    """All that the ONNX table writes."""
    from pytest_inferena.program.onnx import written

    return written()


class Adapter(Exchange):
    """Compiling is making the session, which reads the weights: there is no load apart from it."""

    operators = Lazily(table)
    sessions: tuple[ort.InferenceSession, ...] = ()

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.provider, self.device = providers.find(setup.backend)

    @classmethod
    def prepare(cls, program: Program, folder: Path) -> None:
        """Write ENTRY.onnx, or ENTRY.unsupported with the reason why there is none."""
        from pytest_inferena.program.onnx import write_entries

        write_entries(program, folder)

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Read the exchange files; the weights they point to are read by the sessions."""
        super().load(program, weights)
        self.models = {path.stem: path.read_bytes() for path in self.exchange.glob("*.onnx")}

    def build(self, entry: Entry) -> Step:
        """Make a session of the entry at the highest optimisation level."""
        session = self._session(self.models[entry.name])
        self.sessions = (*self.sessions, session)
        arrays = {**entry.arrays("inputs")}
        for name in {value.name for value in session.get_inputs()} - set(arrays):
            arrays[name] = self.weights[name]
        fallback = 0 if self.setup.device == "cpu" else providers.on_cpu(session)
        return Step(session, entry, arrays, fallback)

    def describe(self) -> str:
        """The providers that the last session really uses."""
        used = self.sessions[-1].get_providers() if self.sessions else ["no session yet"]
        return f"ONNX Runtime, {', '.join([*used, *filter(None, [self.device])])}, {self.setup.threads} threads"

    def _session(self, model: bytes) -> ort.InferenceSession:
        try:
            return providers.session(model, self._options(), self.provider)
        except Exception as error:  # the runtime's exceptions have no base of their own
            if (lacking := LACKS.search(str(error))) is None:
                raise
            node = NODE.search(str(error))
            where = f", node {node[1]}" if node else ""
            name = next(filter(None, lacking.groups()))
            raise Unsupported(
                f"unsupported operator ONNX {name}{where}: {self.provider.name} has none for it; {error}"
            ) from error

    def _options(self) -> ort.SessionOptions:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.setup.threads, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry(WEIGHTS_FOLDER, str(self.program.folder))
        return options


class Step:
    """A session whose inputs and results are tensors of the runtime, bound once."""

    def __init__(
        self, session: ort.InferenceSession, entry: Entry, arrays: Mapping[str, np.ndarray[Any, Any]], fallback: int
    ) -> None:
        self.session, self.binding, self.fallback = session, session.io_binding(), fallback
        self.held: dict[str, ort.OrtValue] = {}
        for value, memory in zip(session.get_inputs(), session.get_input_memory_infos(), strict=True):
            self.held[value.name] = _placed(arrays[value.name], memory)
            self.binding.bind_ortvalue_input(value.name, self.held[value.name])
        self.results: dict[str, ort.OrtValue] = {}
        for value, memory in zip(session.get_outputs(), session.get_output_memory_infos(), strict=True):
            spec = entry.specs[entry.outputs[value.name]]
            self.results[value.name] = _room(spec.shape, spec.dtype, memory)
            self.binding.bind_ortvalue_output(value.name, self.results[value.name])

    def __call__(self) -> None:
        """Run the session."""
        self.session.run_with_iobinding(self.binding)

    def synchronize(self) -> None:
        """Wait for the device; the CPU is done when the call returns."""
        self.binding.synchronize_outputs()

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Results by name."""
        return {name: value.numpy() for name, value in self.results.items()}


def _placed(array: np.ndarray[Any, Any], memory: Any) -> ort.OrtValue:
    """An array where the session wants it."""
    if memory.name == "Cpu":
        return ort.OrtValue.ortvalue_from_numpy(array)
    value = _room(array.shape, str(array.dtype), memory)
    value.update_inplace(array)
    return value


def _room(shape: Sequence[int], dtype: str, memory: Any) -> ort.OrtValue:
    kind = np.dtype(dtype).type
    if memory.name in BUILT_IN:
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, BUILT_IN[memory.name])
    return ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, memory_info=memory)
