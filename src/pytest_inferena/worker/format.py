"""The Program: a model as data. This module reads, writes and walks it, and needs no framework.

docs/program-format.md describes the format. `VERSION` grows when older readers would be misled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

VERSION = 1
ENTRIES = ("inference", "latency", "training", "joint")

Argument = Any  # None | bool | int | float | str | Ref | list[Argument]


class Unsupported(Exception):  # noqa: N818 - an outcome, not a mishap
    """The engine cannot do what it is asked for. The message becomes the cell's reason."""


@dataclass(frozen=True)
class Ref:
    """A tensor by name: an input, a parameter, a constant or a node's output."""

    name: str


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype (NumPy's name of it) of a tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def to_json(self) -> dict[str, Any]:
        """Its JSON value."""
        return {"name": self.name, "shape": list(self.shape), "dtype": self.dtype}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TensorSpec:
        """Read its JSON value."""
        return cls(document["name"], tuple(document["shape"]), document["dtype"])


@dataclass(frozen=True)
class Node:
    """One operator: ATen's name without overload, every argument in the order of ATen's schema."""

    operator: str
    arguments: dict[str, Argument]
    outputs: tuple[TensorSpec, ...]

    @property
    def name(self) -> str:
        """The name of the first output, which names the node."""
        return self.outputs[0].name

    @property
    def title(self) -> str:
        """The operator as messages name it: `aten.add`, or `torchvision::nms`."""
        return self.operator if "::" in self.operator else f"aten.{self.operator}"

    def inputs(self) -> Iterator[str]:
        """Names of the tensors the node reads."""
        return references(list(self.arguments.values()))


@dataclass
class Entry:
    """One way to run the model: its inputs, operators in order of execution, and outputs."""

    name: str
    inputs: tuple[TensorSpec, ...]
    parameters: tuple[str, ...]
    """The names, in the torch state dict, of the parameters that it reads."""
    constants: tuple[TensorSpec, ...]
    nodes: tuple[Node, ...]
    outputs: dict[str, str]
    """Name of the result (`logits`, `loss`, `grad:…`) → name of the tensor."""
    folder: Path | None = None
    specs: dict[str, TensorSpec] = field(default_factory=dict)
    """Every tensor by name, parameters included; filled by `Program`."""
    _arrays: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def trains(self) -> bool:
        """Whether an engine derives gradients of it."""
        return self.name == "training"

    def operators(self) -> set[str]:
        """The distinct operators."""
        return {node.operator for node in self.nodes}

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {
            "format": "inferena-program",
            "version": VERSION,
            "entry": self.name,
            "inputs": [spec.to_json() for spec in self.inputs],
            "parameters": list(self.parameters),
            "constants": [spec.to_json() for spec in self.constants],
            "nodes": [
                {
                    "op": node.operator,
                    "args": {key: _encode(value) for key, value in node.arguments.items()},
                    "out": [spec.to_json() for spec in node.outputs],
                }
                for node in self.nodes
            ],
            "outputs": self.outputs,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Entry:
        """Read a document.

        Raises:
            ValueError: it is no Program, or of a version this reader does not know.
        """
        _check(document)
        return cls(
            document["entry"],
            tuple(map(TensorSpec.from_json, document["inputs"])),
            tuple(document["parameters"]),
            tuple(map(TensorSpec.from_json, document["constants"])),
            tuple(
                Node(
                    node["op"],
                    {key: _decode(value) for key, value in node["args"].items()},
                    tuple(map(TensorSpec.from_json, node["out"])),
                )
                for node in document["nodes"]
            ),
            document["outputs"],
        )

    def arrays(self, what: str) -> Mapping[str, Any]:
        """The entry's `inputs` or `constants` as NumPy arrays, read once."""
        from safetensors.numpy import load_file

        if what not in self._arrays:
            if self.folder is None:
                raise ValueError("this entry was not read from a folder")
            self._arrays[what] = load_file(self.folder / f"{self.name}.{what}.safetensors")
        return self._arrays[what]


@dataclass
class Program:
    """A model's entries beside its weights, inputs and golden data in one folder."""

    folder: Path
    model: str
    parameters: dict[str, TensorSpec]
    trainable: frozenset[str]
    """Parameters whose gradient `training` asks for."""
    custom: Mapping[str, Any] | None = None
    """What registers with PyTorch the operators that are not its own, see `custom.register`; None: there are none."""

    @classmethod
    def read(cls, folder: Path) -> Program:
        """Open the folder of a Program. Its entries are read when they are asked for.

        Raises:
            ValueError: `program.json` is no Program, or of a version this reader does not know.
        """
        document = _read(folder / "program.json")
        specs = [TensorSpec.from_json(spec) for spec in document["parameters"]]
        parameters = {spec.name: spec for spec in specs}
        return cls(folder, document["model"], parameters, frozenset(document["trainable"]), document.get("custom"))

    def write(self) -> None:
        """Write `program.json`."""
        document = {
            "format": "inferena-program",
            "version": VERSION,
            "model": self.model,
            "parameters": [spec.to_json() for spec in self.parameters.values()],
            "trainable": sorted(self.trainable),
            **({"custom": self.custom} if self.custom else {}),
        }
        (self.folder / "program.json").write_text(json.dumps(document, allow_nan=False))

    def entry(self, name: str) -> Entry:
        """Read one of the entries `inference`, `latency`, `training`, `joint`.

        Raises:
            Unsupported: the Program has no such entry.
            ValueError: its file is no entry, or of a version this reader does not know.
        """
        if not (self.folder / f"{name}.json").exists():
            raise Unsupported(f"the Program of {self.model} has no entry {name}")
        entry = Entry.from_json(_read(self.folder / f"{name}.json"))
        entry.folder = self.folder
        for spec in (*entry.inputs, *entry.constants, *(s for node in entry.nodes for s in node.outputs)):
            entry.specs[spec.name] = spec
        for parameter in entry.parameters:
            entry.specs[parameter] = self.parameters[parameter]
        return entry


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        _check(document)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return document  # type: ignore[no-any-return] # checked to be an object


def _check(document: Any) -> None:
    if not isinstance(document, dict) or document.get("format") != "inferena-program":
        raise ValueError("not an inferena Program: 'format' is missing; 'inferena cache clear' and run again")
    if document.get("version") != VERSION:
        raise ValueError(
            f"Program version {document.get('version')}, this reader knows {VERSION}; "
            "'inferena cache clear' and run again"
        )


def references(value: Argument) -> Iterator[str]:
    """Names of all tensors in an argument, lists included."""
    if isinstance(value, Ref):
        yield value.name
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def substitute(value: Argument, replace: Callable[[str], Any]) -> Any:
    """An argument with every reference replaced."""
    if isinstance(value, Ref):
        return replace(value.name)
    if isinstance(value, list):
        return [substitute(item, replace) for item in value]
    return value


def evaluate(entry: Entry, operators: Mapping[str, Callable[..., Any]], values: dict[str, Any]) -> dict[str, Any]:
    """Walk an entry with an operator table: the whole of a graph engine.

    Args:
        entry: what to run.
        operators: name → function of the node's arguments in their order; a node of several outputs
            returns a sequence.
        values: inputs, parameters and constants by name, in the engine's own tensors.

    Returns:
        The outputs by name.

    Raises:
        Unsupported: an operator is not in the table.
    """
    values = dict(values)
    last = {name: node.name for node in entry.nodes for name in node.inputs()}
    kept = set(entry.outputs.values())
    for node in entry.nodes:
        operator = operators.get(node.operator)
        if operator is None:
            raise Unsupported(f"unsupported operator {node.title}, node {node.name}")
        result = operator(*(substitute(value, values.__getitem__) for value in node.arguments.values()))
        results = (result,) if len(node.outputs) == 1 else result
        values.update(zip((spec.name for spec in node.outputs), results, strict=True))
        for name in (*node.inputs(), *(spec.name for spec in node.outputs)):  # free what nobody reads any more
            if last.get(name, node.name) == node.name and name not in kept:
                values.pop(name, None)
        del result, results
    return {name: values[tensor] for name, tensor in entry.outputs.items()}


def _encode(value: Argument) -> Any:
    """Tensors as {"ref": name}; floats that JSON lacks as {"float": "inf"}."""
    if isinstance(value, Ref):
        return {"ref": value.name}
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return {"float": repr(value)}
    return value


def _decode(value: Any) -> Argument:
    """The inverse of `_encode`."""
    if isinstance(value, dict):
        return Ref(value["ref"]) if "ref" in value else float(value["float"])
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return value
