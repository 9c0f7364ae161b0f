"""An ONNX graph while it is written: names, constants, shapes of a Program's entry."""

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
"""Operators that repeat; whoever broadcasts reads what they repeat instead."""


@dataclass
class Builder:
    """Collects ONNX nodes while the operator table walks an entry.

    Rules take the node's arguments as they stand in the Program, call `op` and return the name of the
    result (a tuple of names where the node has several outputs).
    """

    entry: Entry
    fused: frozenset[str]
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
        """Append an ONNX node; the name of its output, or a list of names if `outputs` is not 1.

        An empty name stands for an optional input or output that is absent.
        """
        first = len(self.nodes)
        names = [
            f"{self.node.name}/{first}.{index}" if index else f"{self.node.name}/{first}" for index in range(outputs)
        ]
        self.nodes.append(helper.make_node(kind, inputs, names, f"{self.node.name}/{kind}_{first}", **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: str) -> str:
        """The name of an initializer that holds the array, a list or a number; equal ones are one."""
        array = np.asarray(value, dtype)
        key = (dtype, array.shape, hashlib.sha256(array.tobytes()).digest())
        if key not in self._interned:
            self._interned[key] = name = f"constant/{len(self._interned)}"
            tensor = helper.make_tensor(name, DTYPES[dtype], array.shape, array.tobytes(), raw=True)
            self.initializers.append(tensor)
        return self._interned[key]

    def ints(self, values: Iterable[int]) -> str:
        """A list of integers, as ONNX wants shapes and axes."""
        return self.constant(np.array([*values]), "int64")

    def shape(self, value: Any) -> tuple[int, ...]:
        """Shape of a tensor; () of a number."""
        return self.entry.specs[value.name].shape if isinstance(value, Ref) else ()

    def dtype(self, value: Any) -> str:
        """NumPy's name of a tensor's dtype."""
        return self.entry.specs[value.name].dtype

    def made_by(self, value: Any, operator: str) -> dict[str, Any] | None:
        """The arguments of the Program's node behind a tensor, if it is this operator."""
        node = self.makers.get(value.name) if isinstance(value, Ref) else None
        return node.arguments if node is not None and node.operator == operator else None

    def tensor(self, value: Any) -> str:
        """The ONNX name of a Program's tensor; empty for None, an absent optional input."""
        if value is None:
            return ""
        name: str = value.name
        if (waiting := self._waiting.pop(name, None)) is not None:
            self._names[name] = self._stretch(waiting)
        return self._names.get(name, name)

    def wait(self, node: Node) -> None:
        """Keep a node that only repeats until somebody needs it as it is."""
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
        """Operands of an operator that broadcasts, each in its dtype, unrepeated where that leaves the shape alone."""
        chosen = list(values)
        for index, value in enumerate(values):
            source = self._source(value)
            trial = [*chosen[:index], source, *chosen[index + 1 :]]
            if np.broadcast_shapes(*map(self.shape, trial)) == self.out.shape:
                chosen = trial
        return [self.cast(value, dtype) for value, dtype in zip(chosen, dtypes, strict=True)]

    def finish(self) -> None:
        """Give the results the entry's names for them, and drop what nobody reads."""
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
        """What a tensor repeats: a smaller tensor or a number; else the tensor itself."""
        if (full := self.made_by(value, "full")) is not None:
            return full["fill_value"]
        expand = self.made_by(value, "expand")
        return value if expand is None else self._source(expand["self"])

    def _stretch(self, node: Node) -> str:
        """Write the repetition after all."""
        shape, dtype = node.outputs[0].shape, node.outputs[0].dtype
        if node.operator == "expand":
            return str(self.op("Expand", self.tensor(node.arguments["self"]), self.ints(shape)))
        value = helper.make_tensor(
            "value", DTYPES[dtype], [1], np.full(1, node.arguments["fill_value"], dtype).tobytes(), raw=True
        )
        return str(self.op("ConstantOfShape", self.ints(shape), value=value))
