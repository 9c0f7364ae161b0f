"""A layout pass for engines whose images are (B, H, W, C): it rewrites an Entry so that few permutes are left.

What an adapter does with it:

1. It calls `made = channels_last(entry)` in `Adapter.compile`, and uses `made.entry` instead of the entry from then
   on. The constants (`made.entry.arrays("constants")`) are transposed already where they have to be.
2. Parameters named in `made.permuted` go into the engine as `made.permute(name, array)`, once: convolutions then read
   their weights as they lie. `made.restore(name, gradient)` is a view of such a parameter's gradient as the Program has
   it, for `Step.outputs()` of an engine that differentiates itself. Outputs of a `joint` entry lie so already.
3. The operator table has the operators of `ANCHORS` under `NAME_channels_last`. Their images are (B, H, W, C) or
   (B, T, C), in and out. All other arguments are as docs/program-format.md has them: sizes, strides and paddings are
   still (height, width), weights of norms are still (C,), results of `max_pool2d_with_indices` are still numbers in
   H · W. Weights of convolutions are (O, H, W, I / groups), transposed ones (I, H, W, O / groups): MLX's order.
   `channels_last(entry, kernels_last)` makes them (H, W, I / groups, O), which is the order of MAX and XLA.
   `batch_norm` and `group_norm` also occur under their own names, for values that are no such images. An engine that
   has one of these operators for (B, C, H, W) only leaves it out of `anchors`.
4. All other operators mean what they always mean, on other shapes and dimensions. `made.entry.specs` has the new
   shape of every tensor. Inputs and outputs of the entry keep their shapes.

The pass is right for all entries, also `training` and `joint`: it changes where tensors lie, never what is computed.

How it works: a value is a tensor together with the permutation that it lies in. A `permute` only changes the
permutation, and costs nothing. Elementwise operators, `cat`, `slice`, `expand`, reductions, and reshapes that keep
batch and channels stay in (B, …, C) where an operand lies so. Every other operator asks for the Program's order. An
order that a value does not have yet is made by a `permute`, or by a `reshape` where only dimensions of size 1 move.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.worker.format import Entry, Node, Ref, TensorSpec, substitute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_inferena.worker.format import Argument

Dims = tuple[int, ...]
"""A tensor that lies in `dims` is what the Program has, permuted by `dims`."""

CONVOLUTIONS = frozenset({"conv1d", "conv2d", "convolution"})
NORMS = frozenset({"batch_norm", "group_norm"})
POOLS = frozenset({"adaptive_avg_pool2d", "avg_pool2d", "max_pool2d", "max_pool2d_with_indices", "upsample_nearest2d"})
ANCHORS = CONVOLUTIONS | NORMS | POOLS
"""Operators that exist for images of either order."""
_ELEMENTWISE = (
    "abs add bitwise_and bitwise_not bitwise_or clamp cos detach div eq erf exp floor_divide ge gelu gt le log log1p "
    "logical_and logical_not logical_or lt maximum minimum mul ne neg pow relu rsqrt sigmoid silu sin sqrt sub tanh to "
    "where"
)
ALONG = frozenset({"cat", "cumsum", "flip", "index_select", "log_softmax", "roll", "slice", "softmax"})
"""Operators that name dimensions and keep all of them."""
REDUCTIONS = frozenset({"amax", "any", "mean", "sum"})


def last(rank: int) -> Dims:
    """(B, C, …) as (B, …, C)."""
    return (0, *range(2, rank), 1)


kernels_first = last
"""Weights (O, I, …) as (O, …, I)."""


def kernels_last(rank: int) -> Dims:
    """Weights (O, I, …) as (…, I, O)."""
    return (*range(2, rank), 1, 0)


@dataclass(frozen=True)
class ChannelsLast:
    """A rewritten entry, and how its parameters have to lie."""

    entry: Entry
    permuted: Mapping[str, Dims]
    """Parameter → the permutation from the Program's order to the one it is read in. Other parameters stay."""

    def permute(self, name: str, array: Any) -> Any:
        """A parameter as the entry reads it; `array` is anything whose `transpose` takes a tuple."""
        return array.transpose(self.permuted[name]) if name in self.permuted else array

    def restore(self, name: str, array: Any) -> Any:
        """The inverse of `permute`, for a parameter's gradient."""
        if name not in self.permuted:
            return array
        dims = self.permuted[name]
        return array.transpose(tuple(dims.index(at) for at in range(len(dims))))


def channels_last(
    entry: Entry, kernels: Callable[[int], Dims] = kernels_first, anchors: Iterable[str] = ANCHORS
) -> ChannelsLast:
    """Rewrite an entry; the entry itself is not changed.

    Args:
        entry: any entry, its constants at hand.
        kernels: in which order weights of convolutions of some rank are read, `kernels_first` or `kernels_last`.
        anchors: which of `ANCHORS` the engine has for channels last.
    """
    sources = {*entry.parameters, *(spec.name for spec in entry.constants)}
    first = _Rewriter(entry, kernels, frozenset(anchors), {})
    first.run()
    asked = {name: min(orders) for name, orders in first.asked.items() if name in sources and len(orders) == 1}
    settled = {name: dims for name, dims in asked.items() if dims != _same(len(dims))}
    return _Rewriter(entry, kernels, frozenset(anchors), settled).run()


def _same(rank: int) -> Dims:
    return tuple(range(rank))


@dataclass
class _Rewriter:
    """One walk over an entry."""

    entry: Entry
    kernels: Callable[[int], Dims]
    anchors: frozenset[str]
    settled: Mapping[str, Dims]
    """Parameters and constants that are stored in another order than the Program's."""
    nodes: list[Node] = field(default_factory=list)
    lies: dict[str, dict[Dims, str]] = field(default_factory=dict)
    """Value → the orders in which it exists, each with the tensor that holds it."""
    specs: dict[str, TensorSpec] = field(default_factory=dict)
    asked: dict[str, set[Dims]] = field(default_factory=dict)
    logical: dict[str, TensorSpec] = field(default_factory=dict)
    """Value → what the Program says of it."""

    def run(self) -> ChannelsLast:
        """The rewritten entry."""
        entry = self.entry
        self.logical |= entry.specs
        inner = {spec.name for node in entry.nodes for spec in node.outputs}
        for name, spec in entry.specs.items():
            if name not in inner:
                self.place(spec, self.settled.get(name, _same(len(spec.shape))), name)
        for node in entry.nodes:
            self.rewrite(node)
        outputs = {name: self.want(value, _same(self.rank(value))) for name, value in entry.outputs.items()}
        arrays = entry.arrays("constants")
        turned = {name: arrays[name].transpose(self.settled.get(name, _same(arrays[name].ndim))) for name in arrays}
        constants = {name: np.asarray(array, order="C") for name, array in turned.items()}
        made = dataclasses.replace(
            entry, nodes=tuple(self.nodes), outputs=outputs, specs=self.specs,
            constants=tuple(self.specs[spec.name] for spec in entry.constants),
            _arrays={"inputs": entry.arrays("inputs"), "constants": constants},
        )  # fmt: skip
        return ChannelsLast(made, {name: self.settled[name] for name in entry.parameters if name in self.settled})

    # -- values and where they lie

    def rank(self, value: str) -> int:
        """Number of dimensions."""
        return len(self.logical[value].shape)

    def place(self, spec: TensorSpec, dims: Dims, name: str) -> None:
        """Note that a tensor holds a value in some order."""
        self.lies.setdefault(spec.name, {})[dims] = name
        self.specs[name] = TensorSpec(name, tuple(spec.shape[at] for at in dims), spec.dtype)

    def is_last(self, value: Argument) -> bool:
        """Whether it is a tensor that was made as (B, …, C)."""
        if not isinstance(value, Ref) or self.rank(value.name) < 3:
            return False
        return next(iter(self.lies[value.name])) == last(self.rank(value.name))

    def want(self, value: str, dims: Dims) -> str:
        """The tensor that holds a value in some order; it is made if there is none yet."""
        self.asked.setdefault(value, set()).add(dims)
        if dims not in self.lies[value]:
            have, name = next(iter(self.lies[value].items()))
            moves = [have.index(at) for at in dims]
            made = f"{value}@{''.join(map(str, dims))}"
            self.place(self.logical[value], dims, made)
            moved = [at for at in moves if self.specs[name].shape[at] != 1]
            plain = moved == sorted(moved)
            arguments: dict[str, Argument] = {"shape": list(self.specs[made].shape)} if plain else {"dims": moves}
            operator = "reshape" if plain else "permute"
            self.nodes.append(Node(operator, {"self": Ref(name), **arguments}, (self.specs[made],)))
        return self.lies[value][dims]

    def plain(self, argument: Argument) -> Argument:
        """An argument with all its tensors in the Program's order."""
        return substitute(argument, lambda name: Ref(self.want(name, _same(self.rank(name)))))

    # -- nodes

    def rewrite(self, node: Node) -> None:
        """One node, in the order that suits it."""
        rank = len(node.outputs[0].shape)
        if node.operator in self.anchors and rank > 2 and (node.operator not in NORMS or self.leads(node)):
            self.anchor(node)
        elif node.operator == "permute":
            self.permute(node)
        elif node.operator == "reshape" and self.keeps_channels(node):
            self.reshape(node)
        elif node.operator in _ELEMENTWISE.split() and self.follows(node, rank):
            arguments = {key: self.broadcast(value, rank) for key, value in node.arguments.items()}
            self.emit(node, arguments, last(rank))
        elif (node.operator in ALONG and self.leads(node)) or (node.operator == "expand" and self.follows(node, rank)):
            self.along(node)
        elif node.operator in REDUCTIONS and self.leads(node) and self.reducible(node):
            self.reduce(node)
        else:
            self.emit(node, {key: self.plain(value) for key, value in node.arguments.items()}, _same(rank))

    def emit(self, node: Node, arguments: dict[str, Argument], dims: Dims, operator: str = "") -> None:
        """A node with new arguments, whose results of full rank lie in `dims`."""
        for spec in node.outputs:
            self.place(spec, dims if len(spec.shape) == len(dims) else _same(len(spec.shape)), spec.name)
        outputs = tuple(self.specs[spec.name] for spec in node.outputs)
        self.nodes.append(Node(operator or node.operator, arguments, outputs))

    def anchor(self, node: Node) -> None:
        """An operator on images: the first argument is one, a convolution's second one is its weights."""
        (key, image), *others = node.arguments.items()
        rank = self.rank(image.name)
        arguments: dict[str, Argument] = {key: Ref(self.want(image.name, last(rank)))}
        for name, value in others:
            kernel = name == "weight" and node.operator in CONVOLUTIONS
            arguments[name] = Ref(self.want(value.name, self.kernels(rank))) if kernel else self.plain(value)
        self.emit(node, arguments, last(rank), f"{node.operator}_channels_last")

    def permute(self, node: Node) -> None:
        """Nothing is computed: the value lies in another order now."""
        (spec,), source, order = node.outputs, node.arguments["self"].name, node.arguments["dims"]
        for dims, name in self.lies[source].items():
            self.lies.setdefault(spec.name, {})[tuple(order.index(at) for at in dims)] = name

    def keeps_channels(self, node: Node) -> bool:
        """Whether it reshapes (B, …, C) to the like."""
        value, (spec,) = node.arguments["self"], node.outputs
        return self.is_last(value) and self.logical[value.name].shape[:2] == spec.shape[:2]

    def reshape(self, node: Node) -> None:
        """(B, C, …) to (B, C, …), both lying as (B, …, C)."""
        (spec,), value = node.outputs, node.arguments["self"].name
        rank = len(spec.shape)
        shape = [spec.shape[at] for at in last(rank)]
        self.emit(node, {"self": Ref(self.want(value, last(self.rank(value)))), "shape": shape}, last(rank))

    def follows(self, node: Node, rank: int) -> bool:
        """Whether an operand of full rank lies as (B, …, C)."""
        return any(self.is_last(value) and self.rank(value.name) == rank for value in node.arguments.values())

    def leads(self, node: Node) -> bool:
        """Whether its first operand, or one of those it lists, lies as (B, …, C)."""
        first = next(iter(node.arguments.values()))
        return any(map(self.is_last, first)) if isinstance(first, list) else self.is_last(first)

    def broadcast(self, value: Argument, rank: int) -> Argument:
        """An operand of an elementwise operator, to broadcast with (B, …, C)."""
        if not isinstance(value, Ref):
            return value
        shape = self.logical[value.name].shape
        if len(shape) == rank:
            return Ref(self.want(value.name, last(rank)))
        if math.prod(shape) == 1:
            return self.plain(value)
        padded = TensorSpec(f"{value.name}@{rank}d", (1,) * (rank - len(shape)) + shape, self.logical[value.name].dtype)
        if padded.name not in self.logical:
            self.logical[padded.name] = padded
            self.place(padded, _same(rank), padded.name)
            self.nodes.append(Node("reshape", {"self": self.plain(value), "shape": list(padded.shape)}, (padded,)))
        return Ref(self.want(padded.name, last(rank)))

    def along(self, node: Node) -> None:
        """An operator that names one dimension or several, or their sizes."""
        order = last(len(node.outputs[0].shape))
        changed: dict[str, Callable[[Any], Argument]] = {
            **dict.fromkeys(("self", "tensors"), lambda value: substitute(value, lambda n: Ref(self.want(n, order)))),
            "dim": order.index,
            "size": lambda size: [size[at] for at in order],
            "dims": lambda dims: [order.index(at) for at in dims],
        }
        self.emit(node, {k: changed.get(k, self.plain)(value) for k, value in node.arguments.items()}, order)

    def reducible(self, node: Node) -> bool:
        """Whether what a reduction leaves lies in the Program's order or in (B, …, C)."""
        return bool(node.arguments["keepdim"]) or self.left(node) == sorted(self.left(node))

    def left(self, node: Node) -> list[int]:
        """The dimensions that a reduction leaves, as (B, …, C) has them."""
        dims = node.arguments["dim"]
        gone = dims if isinstance(dims, list) else [dims]
        return [at for at in last(self.rank(node.arguments["self"].name)) if at not in gone]

    def reduce(self, node: Node) -> None:
        """A reduction of (B, …, C)."""
        value, dims = node.arguments["self"].name, node.arguments["dim"]
        order = last(self.rank(value))
        where = [order.index(at) for at in dims] if isinstance(dims, list) else order.index(dims)
        arguments = node.arguments | {"self": Ref(self.want(value, order)), "dim": where}
        self.emit(node, arguments, order if node.arguments["keepdim"] else _same(len(node.outputs[0].shape)))
