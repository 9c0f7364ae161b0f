"""Pieces of an entry that an engine can run by themselves: up to a tensor, or some nodes from their exact inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_inferena.prepare.entries import write_entry
from pytest_inferena.program.expand import expand, graph_of
from pytest_inferena.store.disk import link
from pytest_inferena.worker.format import Entry, Node, Program, Ref, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_inferena.verdict.tensors import Array
    from pytest_inferena.worker.capabilities import Operators

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
SEED = 21
"""Of the numbers that a tensor is multiplied by to become a loss."""


@dataclass
class Piece:
    """An entry with all that it needs."""

    entry: Entry
    weights: Mapping[str, Array]
    """The parameters; read when asked for."""
    trainable: frozenset[str]
    file: Path | None = None
    """Where the weights lie already."""

    def write(self, folder: Path, operators: Operators | None) -> Program:
        """Write it as a Program, with what the engine lacks expanded."""
        graph = graph_of(self.entry) if operators is None else expand(self.entry, operators)[0]
        folder.mkdir(parents=True)
        specs = {name: self.entry.specs[name] for name in self.entry.parameters}
        program = Program(folder, "explained", specs, self.trainable & specs.keys())
        program.write()
        if self.file:
            link(self.file, folder)
        else:
            from safetensors.numpy import save_file

            save_file({name: np.array(self.weights[name], order="C") for name in specs}, folder / "weights.safetensors")
        arrays = self.entry.arrays("inputs")
        inputs = {spec.name: torch.from_numpy(np.array(arrays[spec.name], order="C")) for spec in self.entry.inputs}
        write_entry(folder, self.entry.name, graph, inputs)
        return program


class Cutter:
    """Cuts pieces out of one entry."""

    def __init__(self, entry: Entry, weights: Mapping[str, Array], program: Program) -> None:
        self.entry, self.weights, self.program = entry, weights, program
        self.makers = {spec.name: node for node in entry.nodes for spec in node.outputs}
        self.file = program.folder / "weights.safetensors"

    def whole(self) -> Piece:
        """All of it."""
        return Piece(self.entry, self.weights, self.program.trainable, self.file)

    def behind(self, tensors: Iterable[str]) -> list[Node]:
        """The nodes that tensors are made by, in order of execution."""
        needed, found = set(tensors), list[Node]()
        for node in reversed(self.entry.nodes):
            if any(spec.name in needed for spec in node.outputs):
                needed.update(node.inputs())
                found.append(node)
        return found[::-1]

    def upto(self, tensors: Sequence[str], *, trains: bool, beside: Mapping[str, str] | None = None) -> Piece:
        """What makes some tensors.

        Args:
            tensors: they are the outputs `0`, `1`, …, or the loss is made of them.
            trains: the piece gives gradients of its parameters.
            beside: outputs that stay.
        """
        made = _Made(self.entry, self.behind([*tensors, *(beside or {}).values()]))
        outputs = {"loss": made.loss(tensors)} if trains else made.shown(tensors)
        entry = made.entry("training" if trains else self._name(), {**outputs, **(beside or {})}, self.entry)
        return Piece(entry, self.weights, self.program.trainable, self.file)

    def raw(self, tensors: Sequence[str]) -> Piece:
        """What makes some tensors, each an output by its own name and in its own dtype."""
        made = _Made(self.entry, self.behind(tensors))
        entry = made.entry("inference", {name: name for name in tensors}, self.entry)
        return Piece(entry, self.weights, frozenset())

    def alone(self, nodes: Sequence[Node], values: Mapping[str, Array], *, trains: bool) -> Piece:
        """Some nodes, each from given values of what it reads that none of them makes.

        Args:
            nodes: in order of execution. Their last ones' results are the outputs, or make the loss.
            values: of the tensors that other nodes make, by name.
            trains: the piece gives gradients of the floating-point tensors that it reads.
        """
        own = {spec.name for node in nodes for spec in node.outputs}
        read = {name for node in nodes for name in node.inputs()}
        last = [spec.name for node in nodes for spec in node.outputs if spec.name not in read]
        made = _Made(self.entry, nodes)
        outputs = {"loss": made.loss(last)} if trains else made.shown(last)
        entry = made.entry("training" if trains else self._name(), outputs, self.entry)
        given = sorted(name for name in read - own if name in self.makers)
        trained = {name for name in given if trains and self.entry.specs[name].dtype in FLOATS}
        there = tuple(spec for spec in self.entry.inputs if spec.name in read)
        inputs = there + tuple(self.entry.specs[name] for name in given if name not in trained)
        entry.inputs = inputs or entry.inputs[:1]
        entry._arrays["inputs"] = {**entry.arrays("inputs"), **{name: values[name] for name in given}}
        weights = {name: self.weights[name] for name in entry.parameters} | {name: values[name] for name in trained}
        entry.parameters = tuple(sorted(weights))
        return Piece(entry, weights, self.program.trainable | trained)

    def _name(self) -> str:
        return "joint" if self.entry.name == "joint" else "inference"


class _Made:
    """Nodes of an entry, and those that are put behind them."""

    def __init__(self, entry: Entry, nodes: Sequence[Node]) -> None:
        self.nodes, self.specs = list(nodes), dict(entry.specs)
        self.constants: dict[str, Array] = {}

    def add(self, operator: str, arguments: dict[str, Any], shape: tuple[int, ...]) -> str:
        """One more node."""
        spec = TensorSpec(f"explained_{len(self.nodes)}", shape, "float32")
        self.specs[spec.name] = spec
        self.nodes.append(Node(operator, arguments, (spec,)))
        return spec.name

    def shown(self, tensors: Sequence[str]) -> dict[str, str]:
        """Tensors as outputs; what is not floating-point is cast, for few engines return it."""
        return {str(index): self._float(name) for index, name in enumerate(tensors)}

    def _float(self, name: str) -> str:
        spec = self.specs[name]
        return name if spec.dtype in FLOATS else self.add("to", {"self": Ref(name), "dtype": "float32"}, spec.shape)

    def loss(self, tensors: Sequence[str]) -> str:
        """A number that depends on each element of each tensor, by a weight of its own."""
        total = ""
        for name in (name for name in tensors if self.specs[name].dtype in FLOATS):
            size = math.prod(self.specs[name].shape)
            ramp = f"explained.{len(self.constants)}"
            self.constants[ramp] = np.random.default_rng(SEED).standard_normal(size).astype(np.float32)
            self.specs[ramp] = TensorSpec(ramp, (size,), "float32")
            flat = self.add("reshape", {"self": Ref(name), "shape": [size]}, (size,))
            weighted = self.add("mul", {"self": Ref(flat), "other": Ref(ramp)}, (size,))
            added = self.add("sum", {"self": Ref(weighted), "dim": [0], "keepdim": False}, ())
            total = self.add("add", {"self": Ref(total), "other": Ref(added)}, ()) if total else added
        return total

    def entry(self, name: str, outputs: dict[str, str], of: Entry | None) -> Entry:
        """The entry of these nodes, with the inputs, parameters and constants of another where they are read."""
        read = {one for node in self.nodes for one in node.inputs()} | set(outputs.values())
        made = Entry(name, (), (), (), tuple(self.nodes), outputs, specs=self.specs)
        if of is not None:
            inputs = tuple(spec for spec in of.inputs if spec.name in read) or of.inputs[:1]  # engines want one
            made = replace(made, inputs=inputs, parameters=tuple(one for one in of.parameters if one in read))
            made._arrays["inputs"] = of.arrays("inputs")
            self.constants |= {one: array for one, array in of.arrays("constants").items() if one in read}
        made.constants = tuple(self.specs[one] for one in self.constants)
        made._arrays["constants"] = self.constants
        return made
