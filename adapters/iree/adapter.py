"""IREE: the Program as ONNX, imported and compiled for this CPU, run on its task system.

Parameters of inference and latency are globals that the module reads when it is loaded, so that what depends on
them alone (packed weights) is computed once, there. For a training step they are inputs that are bound once: they
have to be free to change between steps.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from iree import compiler, runtime
from iree.compiler.extras.onnx_importer import ModelInfo
from iree.compiler.ir import Context
from iree.compiler.tools.import_onnx.importer_externalization_overrides import IREENodeImporter, ParamData

from pytest_inferena import Exchange, Lazily, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_inferena import Entry, Operators, Program

DRIVER = "local-task"
FLAGS = (
    "--iree-llvmcpu-target-cpu=host",
    "--iree-opt-level=O3",
    "--iree-input-demote-f64-to-f32=false",
    # Part of O2 and of O3, "behind a flag since all backends dont support it yet" says --help: fused so, a gradient
    # of ResNet's second convolution comes out wrong.
    "--iree-dispatch-creation-enable-aggressive-fusion=false",
    # Layer norms over more than 8192 floats at once need more than the 32 KiB that are the default.
    "--iree-llvmcpu-stack-allocation-limit=262144",
    # Far quicker than the direct loops over (B, C, H, W).
    "--iree-global-opt-use-im2col-for-convs",
)
SMALL = 100
"""Arrays of fewer elements stay in the module: the importer needs shapes and axes as constants."""
SCOPE = "model"
LACKS = re.compile(r"failed to legalize operation '([\w.]+)'[^\n]*(?:\n[^\n]*?\"onnx\.(\w+)\")?")
"""What iree-compile says of an operator that it has no lowering for, and the line of it that follows."""


def table() -> Operators:
    """What the ONNX table writes, less what the compiler fuses by itself, and what it gets wrong."""
    from pytest_inferena.program.onnx import written

    fused = ("gelu", "rms_norm", "rotary_embedding", "scaled_dot_product_attention")
    # Both index_put and scatter_add are wrong where two go to one place; expanded, a pool's gradient takes 40 GiB.
    return written(*fused, "index_put")


class Adapter(Exchange):
    """Compiling is importing, iree-compile, and loading the module, which reads the weights."""

    operators = Lazily(table)

    @classmethod
    def prepare(cls, program: Program, folder: Path) -> None:
        """Write ENTRY.onnx."""
        from pytest_inferena.program.onnx import write_entries

        write_entries(program, folder)

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Make the device; modules read the weights when they are loaded."""
        super().load(program, weights)
        runtime.flags.parse_flags(f"--task_topology_group_count={self.setup.threads}")
        self.config = runtime.Config(DRIVER)

    def build(self, entry: Entry) -> Step:
        """Import, compile and load an entry."""
        model = onnx.load(self.exchange / f"{entry.name}.onnx", load_external_data=False)
        keep_biases(model)
        arrays = Arrays(entry, self.weights)
        parameters = outside(model, arrays)
        inputs = [arrays[value.name] for value in model.graph.input]
        return Step(self.config, built(imported(model)), parameters, inputs, [*entry.outputs])

    def describe(self) -> str:
        """Driver and threads."""
        return f"IREE, {DRIVER}, {self.setup.threads} threads"


class Arrays:
    """Inputs, constants and parameters of an entry by name."""

    def __init__(self, entry: Entry, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self.near = {**entry.arrays("inputs"), **entry.arrays("constants")}
        self.weights = weights

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        array = self.near[name] if name in self.near else self.weights[name]
        return np.asarray(array, order="C")


def keep_biases(model: onnx.ModelProto) -> None:
    """Add the bias behind a convolution that gives one number a channel.

    By `im2col` IREE 3.13 adds the product to the bias in the bias's own memory where nothing has to be repeated. So an
    input of the module is changed, and the next step is wrong.
    """
    found = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = [*found.value_info, *found.output]
    shapes = {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in values}
    nodes = []
    for node in model.graph.node:
        (name, *_), shape = node.output, shapes.get(node.output[0], [])
        nodes.append(node)
        if node.op_type == "Conv" and len(node.input) == 3 and shape and math.prod(shape) == shape[1]:
            bias, added, to = node.input.pop(), f"{name}/bias", f"{name}/shape"
            node.output[0] = f"{name}/product"
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(shape), to))
            nodes += [
                onnx.helper.make_node("Reshape", [bias, to], [added]),
                onnx.helper.make_node("Add", [node.output[0], added], [name]),
            ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def outside(model: onnx.ModelProto, arrays: Arrays) -> runtime.ParameterIndex:
    """Take large arrays out of the model, for the module to read when it is loaded; put small ones in."""
    parameters = runtime.ParameterIndex()
    for tensor in model.graph.initializer:
        external = tensor.data_location == onnx.TensorProto.EXTERNAL
        array = arrays[tensor.name] if external else onnx.numpy_helper.to_array(tensor)
        if math.prod(tensor.dims) >= SMALL:
            parameters.add_buffer(tensor.name, np.ascontiguousarray(array))
        elif external:
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return parameters


def imported(model: onnx.ModelProto) -> bytes:
    """MLIR's bytecode of an ONNX model."""
    info = ModelInfo(onnx.shape_inference.infer_shapes(model, data_prop=True))
    module = info.create_module(context=Context()).operation
    where = ParamData(
        param_bit_threshold=None, num_elements_threshold=SMALL, params_scope=SCOPE, data_dir="", param_path="",
        input_index_threshold=None,
    )  # fmt: skip
    IREENodeImporter.define_function(info.main_graph, module, where).import_all()
    code: bytes = module.get_asm(binary=True)
    return code


def built(code: bytes) -> bytes:
    """A module for this CPU.

    Raises:
        Unsupported: there is no lowering for an operator.
    """
    try:
        binary: bytes = compiler.compile_str(code, input_type="onnx", target_backends=["llvm-cpu"], extra_args=[*FLAGS])
    except compiler.CompilerToolError as error:
        if (lacking := LACKS.search(str(error))) is None:
            raise
        raise Unsupported(f"unsupported operator {lacking[2] or lacking[1]}: {lacking[0]}") from error
    return binary


class Step:
    """The function of a loaded module; its inputs lie on the device, listed once."""

    def __init__(
        self,
        config: runtime.Config,
        binary: bytes,
        parameters: runtime.ParameterIndex,
        inputs: Sequence[np.ndarray[Any, Any]],
        names: Sequence[str],
    ) -> None:
        instance, self.device, self.names = config.vm_instance, config.device, names
        provider = parameters.create_provider(scope=SCOPE)
        module = runtime.VmModule.copy_buffer(instance, binary)
        modules = [*config.default_vm_modules, runtime.create_io_parameters_module(instance, provider), module]
        self.context = runtime.VmContext(instance, modules)
        self.function = module.lookup_function(synchronous(module))
        self.inputs = runtime.VmVariantList(len(inputs))
        for array in inputs:
            self.inputs.push_ref(self._view(array).ref)
        self.results: Any = None

    def __call__(self) -> None:
        """Invoke it, to its end; the last results go first."""
        self.results = None
        results = runtime.VmVariantList(len(self.names))
        self.context.invoke(self.function, self.inputs, results)
        self.results = results

    def synchronize(self) -> None:
        """Nothing is left to wait for."""

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Results by name."""
        views = [self.results.get_as_object(at, runtime.HalBufferView) for at in range(len(self.names))]
        arrays = [runtime.DeviceArray(self.device, view, implicit_host_transfer=True).to_host() for view in views]
        return dict(zip(self.names, arrays, strict=True))

    def _view(self, array: np.ndarray[Any, Any]) -> runtime.HalBufferView:
        return runtime.asdevicearray(self.device, array)._buffer_view  # noqa: SLF001 - only FunctionInvoker gets at it


def synchronous(module: runtime.VmModule) -> str:
    """The name of a module's one function that waits; beside it are its asynchronous twin and the initializer."""
    (name,) = [name for name in module.function_names if not name.startswith("__") and not name.endswith("$async")]
    return str(name)
