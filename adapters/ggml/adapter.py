"""GGML: an operator table that builds one graph per entry, in memory that is planned once.

Parameters and inputs lie in buffers of the backend; a step computes the graph. ggml differentiates too few
operators, see adapter.toml: a training step is the joint entry.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ggml import ggml

from pytest_inferena import Adapter as Base
from pytest_inferena import Unsupported
from pytest_inferena.worker.format import substitute

from . import devices, elementwise, layers, moves, windows
from .graph import Context, Graph, Value, check, fill

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena import Entry, Node, Operators, Program


OPERATORS: dict[str, Any] = elementwise.OPERATORS | moves.OPERATORS | layers.OPERATORS | windows.OPERATORS
FLOATS = (
    "abs add amax clamp cos cumsum div erf exp log maximum minimum mul neg relu sigmoid silu sin softmax sqrt sub sum "
    "tanh"
)
"""ggml computes in floats: of integers, what is beyond 2^24 would be lost."""
CONDITIONS: Operators = {
    **{name: {"dtype": ["float32"]} for name in FLOATS.split()},
    **{name: {"dtype": ["bool"]} for name in ("bitwise_and", "bitwise_not", "bitwise_or")},
    **{name: {"ceil_mode": [False], "dilation": [1]} for name in ("max_pool2d", "max_pool2d_with_indices")},
    "avg_pool2d": {"ceil_mode": [False], "count_include_pad": [True], "divisor_override": [None]},
    "gelu": {"approximate": ["none"]},  # ggml_gelu, by tanh, looks values up in a table of 16-bit floats
    "index_put": {"accumulate": [True]},
    "to": {"dtype": ["float32", "int32", "int64", "bool"]},
}


class Adapter(Base):
    """One backend, and one buffer of parameters that all entries read."""

    operators: ClassVar[Operators] = {name: CONDITIONS.get(name, {}) for name in OPERATORS}
    backend: Any = None

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Copy the parameters into a buffer of the backend."""
        self.backend = devices.opened(self.setup.device, self.setup.threads)
        specs = program.parameters.values()
        self.memory = Context(len(specs))
        self.parameters: dict[str, Value] = {}
        for spec in specs:
            check(spec.shape, spec.dtype)
            self.parameters[spec.name] = Value(spec.shape, spec.dtype, self.memory.leaf(spec.shape, spec.dtype))
        self.memory.allocate(self.backend)
        for name, value in self.parameters.items():
            fill(value.tensor, weights[name])

    def compile(self, entry: Entry) -> Step:
        """Build the graph, and plan its memory."""
        graph = Graph(len(entry.nodes))
        inputs = entry.arrays("inputs")
        values = {name: Value(x.shape, x.dtype, x.tensor) for name, x in self.parameters.items()}
        values |= {spec.name: graph.given(inputs[spec.name]) for spec in entry.inputs}
        values |= {name: graph.constant(array) for name, array in entry.arrays("constants").items()}
        read = {*entry.outputs.values(), *(name for node in entry.nodes for name in node.inputs())}
        for node in entry.nodes:
            try:
                values |= applied(graph, node, values)
            except Unsupported as error:
                raise Unsupported(f"unsupported operator {node.title}, node {node.name}: {error}") from error
            graph.expand(*(values[spec.name] for spec in node.outputs if spec.name in read))
        return Step(self.backend, graph, {name: values[tensor] for name, tensor in entry.outputs.items()})

    def describe(self) -> str:
        """The library's version and its device, by its own account."""
        return f"ggml {ggml.ggml_version().decode()} on {devices.name_of(self.setup.device, self.setup.threads)}"


def applied(graph: Graph, node: Node, values: Mapping[str, Value]) -> dict[str, Value]:
    """What a node makes, by name."""
    for spec in node.outputs:
        check(spec.shape, spec.dtype)
    result = OPERATORS[node.operator](graph, *(substitute(x, values.__getitem__) for x in node.arguments.values()))
    results = result if isinstance(result, tuple) else (result,)
    return dict(zip((spec.name for spec in node.outputs), results, strict=True))


class Step:
    """One graph whose tensors all have their places."""

    def __init__(self, backend: Any, graph: Graph, outputs: dict[str, Value]) -> None:
        self.backend, self.graph, self.outputs_ = backend, graph, outputs
        for value in outputs.values():
            tensor = graph.packed(value)
            ggml.ggml_set_output(tensor)
            if tensor.contents.view_src:
                ggml.ggml_set_output(tensor.contents.view_src)
            graph.expand(value)
        devices.check(backend, graph.graph)
        graph.leaves.allocate(backend)
        for tensor, array in graph.known:
            fill(tensor, array)
        graph.known.clear()
        # ggml_backend_cpu_buffer_type() comes back as 32 bits from ggml-python 0.0.45: its type is no ctypes type.
        self.planned = ggml.ggml_gallocr_new(ggml.ggml_backend_get_default_buffer_type(backend))
        if not ggml.ggml_gallocr_alloc_graph(self.planned, graph.graph):
            raise MemoryError("ggml could not allocate the graph")

    def __call__(self) -> None:
        """Compute the graph."""
        status = ggml.ggml_backend_graph_compute(self.backend, self.graph.graph)
        if status != ggml.GGML_STATUS_SUCCESS:
            raise RuntimeError(f"ggml_backend_graph_compute returned {status}")

    def synchronize(self) -> None:
        """The call returns when the device is done."""

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of the outputs, in the Program's dtypes."""
        return {name: _array(value) for name, value in self.outputs_.items()}


def _array(value: Value) -> np.ndarray[Any, Any]:
    tensor = value.tensor
    kind = np.int32 if tensor.contents.type == ggml.GGML_TYPE_I32 else np.float32
    found = np.empty(value.shape, kind)
    ggml.ggml_backend_tensor_get(tensor, ctypes.c_void_p(found.ctypes.data), 0, found.nbytes)
    return found.astype(value.dtype)
