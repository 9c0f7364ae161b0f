"""An ONNX graph while it is being written: its names and constants, and the shapes of the Program's entry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from pytest_inferena.worker.format import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onnx import NodeProto

    from pytest_inferena.worker.format import Entry, Node, TensorSpec

DTYPES = {
    "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16, "bool": TensorProto.BOOL, "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8, "int32": TensorProto.INT32, "int64": TensorProto.INT64,
}  # fmt: skip
FLOATING = frozenset({"float16", "bfloat16", "float32", "float64"})
STRETCHES = frozenset({"full", "expand"})
"""Operators that only repeat a value. An operator that broadcasts reads the value itself instead."""


@dataclass
class Builder:
    """Collects ONNX nodes while the operator table walks an entry.

    A rule of the table takes the arguments of a node as the Program has them. It calls `op` and returns the name of
    the result, or a tuple of names if the node has several outputs.
    """

    entry: Entry
    nodes: list[NodeProto] = field(default_factory=list)
    initializers: list[TensorProto] = field(default_factory=list)
    node: Node = field(init=False)
    """The node that is being written."""
    makers: dict[str, Node] = field(init=False)
    _names: dict[str, str] = field(default_factory=dict)
    _waiting: dict[str, Node] = field(default_factory=dict)
    _interned: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.makers = {spec.name: node for node in self.entry.nodes for spec in node.outputs}

    @property
    def out(self) -> TensorSpec:
        """Name, shape and dtype of the node's first output."""
        return self.node.outputs[0]

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Append an ONNX node and return the name of its output, or a list of names if `outputs` is not 1.

        An empty name among the inputs stands for an optional one that is absent.
        """
        first = len(self.nodes)
        names = [
            f"{self.node.name}/{first}.{index}" if index else f"{self.node.name}/{first}" for index in range(outputs)
        ]
        self.nodes.append(helper.make_node(kind, inputs, names, f"{self.node.name}/{kind}_{first}", **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: str) -> str:
        """The name of an initializer with this array, list or number; equal values share one."""
        array = np.asarray(value, dtype)
        key = (dtype, array.shape, hashlib.sha256(array.tobytes()).digest())
        if key not in self._interned:
            self._interned[key] = name = f"constant/{len(self._interned)}"
            tensor = helper.make_tensor(name, DTYPES[dtype], array.shape, array.tobytes(), raw=True)
            self.initializers.append(tensor)
        return self._interned[key]

    def ints(self, values: Iterable[int]) -> str:
        """A list of integers as an initializer, which is how ONNX takes shapes and axes."""
        return self.constant(np.array([*values]), "int64")

    def shape(self, value: Any) -> tuple[int, ...]:
        """Shape of a tensor; () of a number."""
        return self.entry.specs[value.name].shape if isinstance(value, Ref) else ()

    def dtype(self, value: Any) -> str:
        """NumPy's name of a tensor's dtype."""
        return self.entry.specs[value.name].dtype

    def made_by(self, value: Any, operator: str) -> dict[str, Any] | None:
        """The arguments of the node that makes a tensor, if its operator is this one."""
        node = self.makers.get(value.name) if isinstance(value, Ref) else None
        return node.arguments if node is not None and node.operator == operator else None

    def tensor(self, value: Any) -> str:
        """The ONNX name of a tensor of the Program; empty for None, an optional input that is absent."""
        if value is None:
            return ""
        name: str = value.name
        if (waiting := self._waiting.pop(name, None)) is not None:
            self._names[name] = self._stretch(waiting)
        return self._names.get(name, name)

    def wait(self, node: Node) -> None:
        """Hold back a node that only repeats. It is written once somebody needs its whole result."""
        self._waiting[node.name] = node

    def bind(self, name: str, onnx_name: str) -> None:
        """Say what the ONNX name of a Program's tensor is."""
        self._names[name] = onnx_name

    def cast(self, value: Any, dtype: str) -> str:
        """A tensor or number in a dtype."""
        if not isinstance(value, Ref):
            return self.constant(value, dtype)
        name = self.tensor(value)
        return name if self.dtype(value) == dtype else str(self.op("Cast", name, to=DTYPES[dtype]))

    def broadcast(self, values: Sequence[Any], dtypes: Sequence[str]) -> list[str]:
        """The operands of an operator that broadcasts, each in its dtype, without repetition that it does anyway."""
        chosen = list(values)
        for index, value in enumerate(values):
            source = self._source(value)
            trial = [*chosen[:index], source, *chosen[index + 1 :]]
            if np.broadcast_shapes(*map(self.shape, trial)) == self.out.shape:
                chosen = trial
        return [self.cast(value, dtype) for value, dtype in zip(chosen, dtypes, strict=True)]

    def finish(self) -> None:
        """Name the results as the entry names them, and drop the nodes that nobody reads."""
        named = {self.tensor(Ref(tensor)): name for name, tensor in self.entry.outputs.items()}
        made = {name for node in self.nodes for name in node.output}
        named = {name: result for name, result in named.items() if name in made}
        for node in self.nodes:
            node.input[:] = [named.get(name, name) for name in node.input]
            node.output[:] = [named.get(name, name) for name in node.output]
        for result, tensor in self.entry.outputs.items():
            if result not in named.values():  # an input, or the same tensor as another result
                name = self.tensor(Ref(tensor))
                self.nodes.append(helper.make_node("Identity", [named.get(name, name)], [result], result))
        needed, kept = set(self.entry.outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
        self.nodes = kept[::-1]

    def _source(self, value: Any) -> Any:
        """The smaller tensor or the number that a tensor repeats; the tensor itself if it repeats none."""
        if (full := self.made_by(value, "full")) is not None:
            return full["fill_value"]
        expand = self.made_by(value, "expand")
        return value if expand is None else self._source(expand["self"])

    def _stretch(self, node: Node) -> str:
        """Write a node that was held back."""
        shape, dtype = node.outputs[0].shape, node.outputs[0].dtype
        if node.operator == "expand":
            return str(self.op("Expand", self.tensor(node.arguments["self"]), self.ints(shape)))
        value = helper.make_tensor(
            "value", DTYPES[dtype], [1], np.full(1, node.arguments["fill_value"], dtype).tobytes(), raw=True
        )
        return str(self.op("ConstantOfShape", self.ints(shape), value=value))
