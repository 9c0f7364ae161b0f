"""How it is found out: the whole entry first, then its prefixes, then single operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_inferena.explain.look import Seen, compare, look
from pytest_inferena.explain.pieces import FLOATS
from pytest_inferena.explain.reference import computed
from pytest_inferena.explain.search import first_wrong
from pytest_inferena.processes.client import WorkerFailed
from pytest_inferena.verdict.scale import FLOORS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_inferena.explain.engine import Engine
    from pytest_inferena.explain.pieces import Cutter, Piece
    from pytest_inferena.verdict.tensors import Array
    from pytest_inferena.worker.format import Node

LEAST = {"output": 5e-7, "grad": 2e-6}
"""An error that is nothing, whatever PyTorch's is: some roundings of float32."""
KINDS = {
    "makes": "it makes the error",
    "together": "it does so when it is run in one go with those before it",
    "elsewhere": "it passes on, and perhaps amplifies, what another operator makes",
    "adds up": "no operator is worse than PyTorch's",
    "whole": "no part of the model shows the error, only the whole does",
}
DEPTHS = (2, 3, 5, 9)
"""How many operators in a row are run together where one alone is right."""


@dataclass
class Found:
    """The place where the engine leaves the reference."""

    node: Node
    """The first operator whose result is wrong although what it is given is right."""
    before: Seen | None
    """The worst of what it is given, as the engine has it; None if the model gives it."""
    after: Seen | None
    """Its result; None where the engine runs no prefix of the model."""
    kind: str = "makes"
    """One of `KINDS`."""
    nodes: tuple[Node, ...] = ()
    """What shows the error when it is run alone: the operator that makes it, or those that make it together."""
    alone: Seen | None = None
    """Its error from the exact inputs."""
    piece: Piece | None = None
    observed: bool | None = None
    """Whether the error is still there when the engine also returns the tensor; None: not known."""


class Story:
    """Looks for the place in one entry."""

    def __init__(self, cutter: Cutter, engine: Engine, say: Callable[[str], None], *, trains: bool) -> None:
        self.cutter, self.engine, self.say, self.trains = cutter, engine, say, trains
        self.seen: dict[str, Seen] = {}
        self.bar = 0.0

    def find(self, start: str, error: float) -> Found:
        """Look for the first wrong operator behind a tensor with an error (NRMSE)."""
        kind = "grad" if self.trains else "output"
        self.bar = min(FLOORS["float32"][kind], max(error / 30, LEAST[kind]))
        parents = self._parents(start)
        name = first_wrong(parents, self.cutter.makers[start].name, self._is_wrong)
        if name not in self.seen:
            self._is_wrong(name)
        node, after = self.cutter.makers[name], self.seen.get(name)
        given = [self.seen[one] for one in parents[name] if one in self.seen]
        found = Found(node, max(given, key=lambda one: one.error, default=None), after)
        behind = [self.cutter.makers[one] for one in parents]
        if after is None:
            self.say("the engine does not run prefixes of this model; its operators are looked at one by one")
            self._one_by_one(found, behind)
            found.node = found.nodes[0] if found.nodes else node
            found.kind = "makes" if found.kind == "elsewhere" else found.kind
        elif after.excess(self.bar) <= 1:
            found.kind = "whole"
        elif not self._in_a_row(found):
            self._one_by_one(found, behind)
        if after is not None and not self.trains:
            found.observed = self._observed(node)
        return found

    def _in_a_row(self, found: Found) -> bool:
        """Run the operator from exact inputs, then together with more and more of those before it."""
        for depth in (1, *DEPTHS):
            nodes = self._row(found.node, depth)
            seen, piece = self.alone(nodes)
            if seen is not None and seen.excess(self.bar / 3) > 1:
                found.kind = "makes" if len(nodes) == 1 else "together"
                found.nodes, found.alone, found.piece = tuple(nodes), seen, piece
                return True
        return False

    def _one_by_one(self, found: Found, behind: Sequence[Node]) -> None:
        """Run one operator of each kind from exact inputs, and keep the worst."""
        least, worst = LEAST["grad" if self.trains else "output"], 0.0
        for node in _distinct(self.cutter, behind):
            seen, piece = self.alone([node])
            if seen is not None and seen.excess(least) > worst:
                worst = seen.excess(least)
                found.nodes, found.alone, found.piece = (node,), seen, piece
        found.kind = "elsewhere" if worst > 1 else "adds up"

    def _observed(self, node: Node) -> bool | None:
        """Whether the whole is still wrong when it also returns what a node makes; None: it cannot."""
        outputs = self.cutter.entry.outputs
        try:
            seen = look(self.cutter.upto(self._read(node), trains=False, beside=outputs), self.engine)
        except WorkerFailed:
            return None
        if seen.broke:
            return True
        exact = {name: seen.exact[name] for name in outputs}
        return compare(exact, exact, seen.given).error > self.bar

    def alone(self, nodes: Sequence[Node]) -> tuple[Seen | None, Piece | None]:
        """Operators from exact inputs; None where the engine cannot run them so, or nothing is to be derived."""
        own = {spec.name for node in nodes for spec in node.outputs}
        made = {name for node in nodes for name in node.inputs() if name in self.cutter.makers} - own
        piece = self.cutter.alone(nodes, self.exact(sorted(made)), trains=self.trains)
        if self.trains and not (piece.trainable & set(piece.entry.parameters) and piece.entry.outputs["loss"]):
            return None, None
        try:
            seen = look(piece, self.engine)
        except WorkerFailed as failure:
            self.say(f"{_names(nodes)} alone: {failure}")
            return None, None
        self.say(f"{_names(nodes)} alone: {seen}")
        return seen, piece

    def exact(self, tensors: Sequence[str]) -> dict[str, Array]:
        """Tensors as they should be, rounded to float32."""
        if not tensors:
            return {}
        values = computed(self.cutter.raw(tensors), torch.float64)
        return {name: v.astype(np.float32) if v.dtype == np.float64 else v for name, v in values.items()}

    def _is_wrong(self, name: str) -> bool | None:
        """Look at a prefix; None where the engine cannot run it."""
        node = self.cutter.makers[name]
        try:
            seen = look(self.cutter.upto(self._read(node), trains=self.trains), self.engine)
        except WorkerFailed as failure:
            self.say(f"up to {name} ({node.operator}): {failure}")
            return None
        self.seen[name] = seen
        wrong = seen.excess(self.bar) > 1
        self.say(f"up to {name} ({node.operator}): {seen}{': wrong' if wrong else ''}")
        return wrong

    def _read(self, node: Node) -> list[str]:
        """What a node makes and others read."""
        names = [spec.name for spec in node.outputs]
        read = {name for other in self.cutter.entry.nodes for name in other.inputs()}
        return [name for name in names if name in read | set(self.cutter.entry.outputs.values())] or names[:1]

    def _parents(self, start: str) -> dict[str, list[str]]:
        """The nodes behind a tensor, each with those that it reads; for gradients those that pass them on."""
        makers, trained = self.cutter.makers, set(self.cutter.program.trainable if self.trains else ())
        found: dict[str, list[str]] = {}
        for node in self.cutter.behind([start]):
            if self.trains:
                if node.operator == "detach" or not trained.intersection(node.inputs()):
                    continue
                trained |= {spec.name for spec in node.outputs if spec.dtype in FLOATS}
                if node.name not in trained:
                    continue
            above = [makers[name].name for name in node.inputs() if name in makers]
            found[node.name] = list(dict.fromkeys(name for name in above if name in found))
        return found

    def _row(self, node: Node, depth: int) -> list[Node]:
        """A node and those right before it, up to a depth, in order of execution."""
        near, edge = {node.name}, [node]
        for _ in range(depth - 1):
            edge = [self.cutter.makers[n] for one in edge for n in one.inputs() if n in self.cutter.makers]
            near |= {one.name for one in edge}
        return [one for one in self.cutter.entry.nodes if one.name in near]


def _distinct(cutter: Cutter, nodes: Sequence[Node]) -> list[Node]:
    """One node of each kind: operator, shapes, and arguments that are no tensors."""
    kinds: dict[str, Node] = {}
    for node in nodes:
        shapes = [(cutter.entry.specs[name].shape, cutter.entry.specs[name].dtype) for name in node.inputs()]
        plain = {key: value for key, value in node.arguments.items() if isinstance(value, int | float | str)}
        kinds.setdefault(str((node.operator, shapes, plain)), node)
    return list(kinds.values())


def _names(nodes: Sequence[Node]) -> str:
    return ", ".join(f"{node.name} ({node.operator})" for node in nodes)
