"""ncnn: the Program as TorchScript, lowered to ncnn's layers by its converter pnnx, which folds and fuses them.

Converting is part of `compile`, as it optimises. Everything that would calculate or store numbers with fewer bits
than float32 is off; by default ncnn would use 16.
"""

from __future__ import annotations

import importlib.util
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import ncnn
import numpy as np

from pytest_inferena import Exchange, Unsupported, refuse
from pytest_inferena.worker.capabilities import require
from pytest_inferena.worker.format import Ref

if TYPE_CHECKING:
    from pytest_inferena import Entry, Operators, Program

NARROW = (
    "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage",
    "use_int8_packed", "use_int8_storage", "use_int8_arithmetic",
)  # fmt: skip
"""Options that take accuracy away."""
DTYPES = {"float32": "f32", "int64": "i64"}
"""pnnx's names of the dtypes that an input may have."""
ATTENTION = "scaled_dot_product_attention"
FLOATS = (
    "abs adaptive_avg_pool1d adaptive_avg_pool2d add amax batch_norm clamp conv1d conv2d convolution cos cumsum div "
    "erf exp floor_divide gelu group_norm linear log log_softmax matmul maximum mean minimum mul neg relu rms_norm "
    "rsqrt sigmoid silu sin softmax sqrt sub sum tanh upsample_nearest2d " + ATTENTION
)
"""Layers that calculate: in float32 alone, for they would take integers for floats of the same bits."""
MOVES = "cat embedding expand flip permute reshape"
"""Layers that move numbers, also whole ones."""


class Adapter(Exchange):
    """Parameters become the layers' own, packed as each kernel wants them: there is no load apart from compiling."""

    operators: ClassVar[Operators] = {
        **{name: {"dtype": ["float32"]} for name in FLOATS.split()},
        **{name: {} for name in MOVES.split()},
        "avg_pool2d": {"ceil_mode": [False], "divisor_override": [None]},
        "layer_norm": {"weight": ["tensor"], "bias": ["tensor"]},
        "max_pool2d": {"dilation": [1]},
        "pad": {"mode": ["reflect", "replicate"]},
        "pow": {"self": ["tensor"], "exponent": ["tensor"]},  # by a number it is wrong where the base is negative
        "slice": {"step": [1]},
    }
    net: ncnn.Net | None = None

    @classmethod
    def prepare(cls, program: Program, folder: Path) -> None:
        """Write ENTRY.pt, or ENTRY.unsupported with the reason why there is none."""
        import torch
        from safetensors.torch import load_file

        from pytest_inferena.worker.aten import to_module

        weights = load_file(program.folder / "weights.safetensors")
        parameters = {name: torch.nn.Parameter(weight, requires_grad=False) for name, weight in weights.items()}
        for name in ("inference", "latency"):
            entry = program.entry(name)
            arrays = entry.arrays("inputs")
            inputs = tuple(torch.from_numpy(arrays[spec.name]) for spec in entry.inputs)
            try:
                require(cls.operators, entry)
                module = to_module(masked(entry), parameters)
            except Unsupported as error:
                refuse(folder, name, error)
                continue
            with torch.no_grad():
                torch.jit.trace(module, inputs, check_trace=False).save(folder / f"{name}.pt")

    def build(self, entry: Entry) -> Step:
        """Convert the entry and read the result into a net."""
        for spec in entry.inputs:
            if spec.dtype not in DTYPES:
                raise Unsupported(f"an input of {spec.dtype}, {spec.name}: ncnn takes {' and '.join(DTYPES)}")
        for spec in map(entry.specs.__getitem__, entry.outputs.values()):
            if spec.dtype != "float32":
                raise Unsupported(f"an output of {spec.dtype}, {spec.name}: ncnn makes float32")
        files = convert(self.exchange / f"{entry.name}.pt", entry, self.setup.scratch)
        self.net = net = ncnn.Net()
        net.opt.num_threads = self.setup.threads
        for option in NARROW:
            setattr(net.opt, option, False)
        if net.load_param(str(files["param"])) or net.load_model(str(files["bin"])):
            raise RuntimeError(f"ncnn does not read what pnnx made of {entry.name}; the log says why")
        return Step(net, entry, files["py"].read_text())

    def describe(self) -> str:
        """Version, threads and precision, as the options of the last net have them."""
        if self.net is None:
            return f"ncnn {ncnn.__version__}, nothing compiled yet"
        narrow = [option for option in NARROW if getattr(self.net.opt, option)]
        return f"ncnn {ncnn.__version__}, CPU, {', '.join(narrow) or 'float32'}, {self.net.opt.num_threads} threads"


class Step:
    """A new extractor for every run, as ncnn wants it, with inputs that lie in ncnn's own tensors."""

    def __init__(self, net: ncnn.Net, entry: Entry, script: str) -> None:
        self.net, self.entry = net, entry
        axes = {name: int(axis) for name, axis in re.findall(r"\((in\d+)\.numpy\(\), batch_index=(\d+)\)", script)}
        self.axes = [int(axis) for axis in re.findall(r"out\d+\.numpy\(batch_index=(\d+)\)", script)]
        arrays = entry.arrays("inputs")
        self.inputs = {}
        for index, spec in enumerate(entry.inputs):
            array = arrays[spec.name].astype("int32" if spec.dtype == "int64" else "float32")
            if f"in{index}" in axes:  # what pnnx found to be unused is no input of the net
                self.inputs[f"in{index}"] = ncnn.Mat(array, batch_index=axes[f"in{index}"]).clone()
        self.results: list[ncnn.Mat] = []

    def __call__(self) -> None:
        """Run the net."""
        self.results.clear()
        extractor = self.net.create_extractor()
        for name, value in self.inputs.items():
            extractor.input(name, value)
        for index in range(len(self.axes)):
            status, result = extractor.extract(f"out{index}")
            if status:
                raise RuntimeError(f"ncnn's extractor ended with {status}; the log says why")
            self.results.append(result)

    def synchronize(self) -> None:
        """Nothing is left to wait for."""

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Results by name, in the shapes that the entry gives them."""
        found = {}
        for (name, tensor), result, axis in zip(self.entry.outputs.items(), self.results, self.axes, strict=True):
            spec = self.entry.specs[tensor]
            found[name] = np.array(result.numpy(batch_index=axis)).reshape(spec.shape)
        return found


def masked(entry: Entry) -> Entry:
    """The entry with masks of attention as numbers that are added.

    That is what pnnx takes truth values for, and it has no rule for `is_causal`.

    Raises:
        Unsupported: truth values are computed, not constant.
    """
    nodes, constants = [], entry.arrays("constants")
    numbers: dict[str, np.ndarray[Any, Any]] = {}
    for node in entry.nodes:
        arguments = node.arguments
        if node.operator == ATTENTION:
            mask = arguments["attn_mask"]
            if arguments["is_causal"]:
                rows, columns = (entry.specs[arguments[name].name].shape[2] for name in ("query", "key"))
                name, allowed = f"causal mask {rows}, {columns}", np.tri(rows, columns, dtype=bool)
            elif mask is None or entry.specs[mask.name].dtype != "bool":
                name = ""
            elif mask.name in constants:
                name, allowed = f"{mask.name} as numbers", constants[mask.name]
            else:
                raise Unsupported(f"unsupported operator aten.{ATTENTION}, node {node.name}: its mask is computed")
            if name:
                numbers[name] = np.where(allowed, 0, np.finfo("float32").min).astype("float32")
                arguments = arguments | {"attn_mask": Ref(name), "is_causal": False}
        nodes.append(replace(node, arguments=arguments))
    return replace(entry, nodes=tuple(nodes), _arrays={"constants": {**constants, **numbers}})


def convert(script: Path, entry: Entry, folder: Path) -> dict[str, Path]:
    """Run pnnx on TorchScript.

    Returns:
        its results: `param`, the layers; `bin`, the weights; `py`, which says where the batch lies.

    Raises:
        Unsupported: an operator has no ncnn layer.
        RuntimeError: pnnx has failed.
    """
    package = importlib.util.find_spec("pnnx")  # not imported: it would import torch
    if package is None or package.origin is None:
        raise ImportError("pnnx is not installed: pip install pnnx")
    files = {kind: folder / f"{entry.name}.{kind}" for kind in ("param", "bin", "py")}
    unread = {f"pnnx{kind}": folder / f"{entry.name}.pnnx.{kind}" for kind in ("param", "bin", "py", "onnx")}
    shapes = ",".join(f"[{','.join(map(str, spec.shape))}]{DTYPES[spec.dtype]}" for spec in entry.inputs)
    where = [f"{name}={path}" for name, path in unread.items()]
    where += [f"ncnn{kind}={path}" for kind, path in files.items()]
    command = [str(Path(package.origin).parent / "pnnx"), str(script), f"inputshape={shapes}", "fp16=0", *where]
    if code := subprocess.run(command, check=False).returncode:
        ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise RuntimeError(f"pnnx, which converts models for ncnn, ended by {ended}; the log has what it printed")
    for path in unread.values():
        path.unlink(missing_ok=True)
    layers = [line.split()[:2] for line in files["param"].read_text().splitlines()[2:]]
    left = {kind: name for kind, name in layers if not re.fullmatch(r"\w+", kind)}
    if left:
        named = ", ".join(f"unsupported operator {kind}, node {name}" for kind, name in left.items())
        raise Unsupported(f"{named}: pnnx has no ncnn layer for it")
    return files
