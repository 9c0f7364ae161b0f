"""ExecuTorch: the Program exported, partitioned for XNNPACK, serialised, and run by its runtime.

All of that is this engine's compilation, and done in `compile`. Parameters of inference and latency are constants
of the partitions, which XNNPACK packs when the method is loaded; those of a training step are inputs.
"""

from __future__ import annotations

import collections
import math
import re
import warnings
from typing import TYPE_CHECKING, Any

import torch

from pytest_inferena import Adapter as Base
from pytest_inferena import Unsupported
from pytest_inferena.worker import aten
from pytest_inferena.worker.channels_last import channels_last, kernels_last

from . import fourier, training

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # everything in it is experimental, it says
    from executorch.backends.xnnpack.partition.config.xnnpack_config import ConfigPrecisionType
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower
    from executorch.exir.passes import MemoryPlanningPass
    from executorch.extension.pybindings.portable_lib import _get_operator_names as kernels
    from executorch.extension.pybindings.portable_lib import _load_program_from_buffer as load_program
    from executorch.extension.pybindings.portable_lib import _threadpool_get_thread_count as thread_count
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool as reset_threads

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from pytest_inferena import Entry, Program

SPELLED = {**aten.SPELLED, **fourier.OPERATORS}
LACKS = re.compile(r"Missing out variants: \{(.+?)\}")
"""What the emitter says of operators that have no kernel's signature."""


class Stateless(torch.nn.Module):
    """A module that takes its parameters before its inputs."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.held = [module]  # in a list: not a module of this one
        self.names = [name for name, _ in module.named_parameters()]

    def forward(self, *arguments: torch.Tensor) -> Any:
        """Run it with these parameters."""
        parameters = dict(zip(self.names, arguments, strict=False))
        return torch.func.functional_call(self.held[0], parameters, arguments[len(self.names) :])


class Adapter(Base):
    """Parameters are PyTorch's tensors until an entry is lowered."""

    parameters: dict[str, torch.nn.Parameter]
    lowered = "nothing lowered yet"

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Make parameters of the arrays, and as many threads as there may be."""
        torch.set_num_threads(self.setup.threads)
        reset_threads(self.setup.threads)
        self.parameters = {
            name: torch.nn.Parameter(torch.from_numpy(weights[name]), requires_grad=False)
            for name in program.parameters
        }

    def compile(self, entry: Entry) -> Step:
        """Export, lower and load an entry."""
        arrays = entry.arrays("inputs")
        inputs = [torch.from_numpy(arrays[spec.name]) for spec in entry.inputs]
        module: torch.nn.Module
        if entry.name == "joint":
            module, parameters = self._step(entry)
            inputs = [*parameters, *inputs]
            partitioner = training.Staged
        else:
            module, partitioner = mended(aten.to_module(entry, self.parameters, SPELLED)), XnnpackPartitioner
        try:
            exported = torch.export.export(module, tuple(inputs), strict=False)
            return Step(self._lower(exported, partitioner), inputs, list(entry.outputs))
        except RuntimeError as error:
            raise refusal(error) from error

    def _step(self, entry: Entry) -> tuple[Stateless, list[torch.Tensor]]:
        """A training step, and the parameters that it takes before its inputs."""
        made = channels_last(entry, kernels_last, {"batch_norm", "convolution"})
        parameters = {}
        for name in entry.parameters:
            tensor = self.parameters[name].data
            tensor = tensor.permute(made.permuted[name]).contiguous() if name in made.permuted else tensor
            parameters[name] = torch.nn.Parameter(tensor, requires_grad=False)
        module = mended(aten.to_module(made.entry, parameters, {**SPELLED, **training.OPERATORS}))
        return Stateless(module), [parameter.data for parameter in module.parameters()]

    def _lower(self, exported: torch.export.ExportedProgram, partitioner: type[XnnpackPartitioner]) -> bytes:
        """What would stand in a .pte file."""
        parts = [partitioner(config_precisions=ConfigPrecisionType.FP32)]
        config = EdgeCompileConfig(_check_ir_validity=False)
        edge = to_edge_transform_and_lower(exported, partitioner=parts, compile_config=config)
        self.lowered = described(edge.exported_program().graph)
        # Inputs stay where they are: those in planned memory are overwritten by the time they have been read.
        planning = ExecutorchBackendConfig(memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False))
        executable = edge.to_executorch(planning)
        wanted = {f"{one.name}.{one.overload}" for one in executable.executorch_program.execution_plan[0].operators}
        if lacking := {name.removesuffix(".") for name in wanted} - set(kernels()):
            raise Unsupported(f"unsupported operator {' and '.join(sorted(lacking))}: its runtime has no kernel for it")
        buffer: bytes = executable.buffer
        return buffer

    def describe(self) -> str:
        """What was given to XNNPACK and what was not, and the threads that the runtime has."""
        return f"ExecuTorch, {self.lowered}, {thread_count()} threads"


def mended(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """What its own lowering gets wrong or lacks, as something that it gets right.

    Raises:
        Unsupported: a convolution has more dimensions than its runtime's kernel takes.
    """
    for node in module.graph.nodes:
        if node.target is torch.ops.aten.upsample_nearest2d:  # the runtime has no kernel for ATen's operator
            node.target = torch.nn.functional.interpolate  # its mode is "nearest"
        elif node.target is aten.SPELLED["gelu"] and node.args[1] == "tanh":  # XNNPACK computes the other form of it
            node.target, node.args = gelu_by_tanh, node.args[:1]
        elif node.target is torch.ops.aten.conv3d:
            raise Unsupported(f"unsupported operator aten.conv3d, node {node.name}: its kernel has two dimensions")
    module.recompile()
    return module


def gelu_by_tanh(x: torch.Tensor) -> torch.Tensor:
    """GELU's approximation, of any shape."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def described(graph: torch.fx.Graph) -> str:
    """How much of a graph its own kernels run."""
    calls = collections.Counter(str(node.target).split(".")[0] for node in graph.nodes if node.op == "call_function")
    parts = calls.pop("executorch_call_delegate", 0)
    calls.pop("<built-in function getitem>", None)
    return f"{parts} parts in XNNPACK, {sum(calls.values())} operators in its own kernels"


def refusal(error: RuntimeError) -> Exception:
    """The error, as what the engine lacks where it says so."""
    if (lacking := LACKS.search(str(error))) is None:
        return error
    return Unsupported(f"unsupported operator {lacking[1]}: ExecuTorch has no kernel for it")


class Step:
    """A method whose inputs are set once."""

    def __init__(self, buffer: bytes, inputs: list[torch.Tensor], names: list[str]) -> None:
        self.buffer, self.inputs, self.names = buffer, inputs, names  # the runtime holds neither of the first two
        self.program = load_program(buffer)
        self.method = self.program.load_method("forward")
        self.method.set_inputs(inputs)

    def __call__(self) -> None:
        """Run the method."""
        self.method.execute()

    def synchronize(self) -> None:
        """The call returns when the CPU is done."""

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of the results by name."""
        results = self.method.get_outputs(clone_outputs=True)
        return {name: result.numpy() for name, result in zip(self.names, results, strict=True)}
