"""MAX: an operator table over `max.graph`, compiled for the CPU.

Parameters are the graph's weights for inference and latency, which the compiler may fold and pack. For a training
step they are inputs: they have to be free to change between steps. Images lie as MAX has them, channels last.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from max import engine
from max.driver import CPU, Buffer
from max.dtype import DType
from max.graph import Graph, TensorType, Weight

from pytest_inferena import Adapter as Base
from pytest_inferena import evaluate
from pytest_inferena.worker.channels_last import ANCHORS, channels_last, kernels_last

from . import operators, windows
from .operators import HOST, constant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena import Entry, Operators, Program

OPERATORS = operators.OPERATORS | windows.OPERATORS
TENSORS = {"weight": ["tensor"], "bias": ["tensor"]}
CONDITIONS: Operators = {
    "avg_pool2d": {"ceil_mode": [False], "count_include_pad": [True], "divisor_override": [None]},
    "convolution": {"transposed": [True], "groups": [1], "rank": [4]},
    "group_norm": TENSORS,
    "index_put": {"accumulate": [True]},
    "layer_norm": TENSORS,
    "max_pool2d": {"ceil_mode": [False]},
    "pow": {"self": ["tensor"], "exponent": ["tensor"]},
    "rms_norm": {"weight": ["tensor"]},
}


class Adapter(Base):
    """Compiling builds the graph, compiles it and hands it the weights."""

    operators: ClassVar[Operators] = {
        name: CONDITIONS.get(name, {}) for name in (key.removesuffix("_channels_last") for key in OPERATORS)
    }

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Make the session; the weights are read when a graph is compiled, in the order in which it reads them."""
        self.program, self.weights = program, weights
        # Not num_threads: the CPU is a device already, and to ask for another number of threads then ends the process.
        self.session = engine.InferenceSession(devices=[CPU()])

    def compile(self, entry: Entry) -> Step:
        """Build and compile an entry."""
        made = channels_last(entry, kernels_last, ANCHORS - {"group_norm"})
        parameters = {
            name: np.asarray(made.permute(name, self.weights[name]), order="C") for name in made.entry.parameters
        }
        inputs = {spec.name: made.entry.arrays("inputs")[spec.name] for spec in made.entry.inputs}
        if entry.name in {"training", "joint"}:
            inputs, parameters = {**inputs, **parameters}, {}
        graph = built(made.entry, inputs, parameters)
        return Step(self.session.load(graph, weights_registry=parameters), entry, inputs)

    def describe(self) -> str:
        """MAX's device; it makes as many threads as there are cores that it may use."""
        return f"MAX on {CPU().label}, {len(os.sched_getaffinity(0))} threads"


def built(entry: Entry, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Graph:
    """The graph of an entry; some arrays are its inputs, others its weights."""
    types = [TensorType(DType.from_numpy(array.dtype), array.shape, HOST) for array in inputs.values()]
    with Graph(entry.name, input_types=types) as graph:
        values = {name: value.tensor for name, value in zip(inputs, graph.inputs, strict=True)}
        for name, array in parameters.items():
            values[name] = graph.add_weight(Weight(name, DType.from_numpy(array.dtype), array.shape, HOST))
        for name, array in entry.arrays("constants").items():
            values[name] = constant(array, DType.from_numpy(array.dtype))
        graph.output(*evaluate(entry, OPERATORS, values).values())
    return graph


class Step:
    """A compiled model and its inputs, in buffers of MAX's own."""

    def __init__(self, model: engine.Model, entry: Entry, inputs: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self.model, self.entry = model, entry
        self.inputs = [Buffer.from_numpy(np.asarray(array, order="C")) for array in inputs.values()]
        self.held = list(inputs.values())
        self.results: list[Buffer] = []

    def __call__(self) -> None:
        """Run it; the last step's results go first."""
        self.results = []
        self.results = self.model.execute(*self.inputs)

    def synchronize(self) -> None:
        """Wait for the CPU's queue."""
        CPU().synchronize()

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Results by name; gradients are results as others are, and lie as the Program has them."""
        return {name: value.to_numpy() for name, value in zip(self.entry.outputs, self.results, strict=True)}
