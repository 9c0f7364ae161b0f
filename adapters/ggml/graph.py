"""A graph of ggml under construction: tensors with the Program's shapes, and the moves that ggml lacks.

ggml has four dimensions, the fastest first, computes in 32-bit floats, and aborts the process where a
precondition is not met: so each is met or refused here, before a node is made.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ggml import ggml

from pytest_inferena import Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, Any]

RANK: int = ggml.GGML_MAX_DIMS
EXACT = 1 << 24
"""Integers below it are exact as 32-bit floats, in which ggml compares and selects."""
KINDS: dict[str, Any] = {"float32": np.float32, "int64": np.int32, "int32": np.int32, "bool": np.float32}
TENSORS = 24
"""More than an operator of a Program becomes on average."""


def check(shape: Sequence[int], dtype: str) -> None:
    """Raise Unsupported for a tensor that ggml cannot have, or this table does not compute in."""
    if dtype not in KINDS:
        raise Unsupported(f"a tensor of {dtype}: ggml's table has {', '.join(KINDS)}")
    if 0 in shape:
        raise Unsupported("a tensor of no elements: ggml has none")


def stored(array: Array) -> Array:
    """An array as ggml keeps it.

    Raises:
        Unsupported: ggml has no such tensor, or an integer is too large for a float.
    """
    check(array.shape, array.dtype.name)
    if array.dtype.kind == "i" and max(-int(array.min()), int(array.max())) >= EXACT:
        raise Unsupported("integers of 2^24 and more: ggml compares and selects floats only")
    return np.ascontiguousarray(array, KINDS[array.dtype.name])


@dataclass(eq=False)
class Value:
    """A tensor as the Program sees it.

    Its ggml tensor has this shape reversed, or, where it is contiguous, any other of as many elements.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    tensor: Any = None
    data: Array | None = None
    """The values, where they are known when the graph is built."""


def shape_of(tensor: Any) -> tuple[int, ...]:
    """A ggml tensor's four sizes in the Program's order."""
    return tuple(tensor.contents.ne[:])[::-1]


def plain(tensor: Any) -> bool:
    """Whether each step is as long as what it steps over; contiguous tensors may step oddly where they are 1 long."""
    sizes, steps = tensor.contents.ne[:], tensor.contents.nb[:]
    return all(steps[axis + 1] == steps[axis] * sizes[axis] for axis in range(RANK - 1)) and steps[
        0
    ] == ggml.ggml_element_size(tensor)


class Context:
    """Tensors without memory of their own."""

    def __init__(self, room: int, extra: int = 0) -> None:
        self.bytes = (room + 1) * ggml.ggml_tensor_overhead() + extra
        self.pointer = ggml.ggml_init(ggml.ggml_init_params(mem_size=self.bytes, mem_buffer=None, no_alloc=True))
        self.buffer: Any = None

    def call(self, function: Any, *arguments: Any) -> Any:
        """A new tensor, by one of ggml's functions."""
        if ggml.ggml_used_mem(self.pointer) + ggml.ggml_tensor_overhead() > self.bytes:
            raise Unsupported(f"an operator that becomes more than {TENSORS} of ggml's on average")
        return function(self.pointer, *arguments)

    def leaf(self, shape: Sequence[int], dtype: str) -> Any:
        """A tensor that is not computed; of more than four dimensions it is laid out flat."""
        sizes = shape[::-1] if 0 < len(shape) <= RANK else (math.prod(shape),)
        kind = ggml.GGML_TYPE_I32 if KINDS[dtype] is np.int32 else ggml.GGML_TYPE_F32
        return self.call(ggml.ggml_new_tensor, kind, len(sizes), (ctypes.c_int64 * len(sizes))(*sizes))

    def allocate(self, backend: Any) -> None:
        """Give all its tensors memory, in one buffer."""
        if ggml.ggml_get_first_tensor(self.pointer):
            self.buffer = ggml.ggml_backend_alloc_ctx_tensors(self.pointer, backend)
            if not self.buffer:
                raise MemoryError("ggml could not allocate its tensors")


def fill(tensor: Any, array: Array) -> None:
    """Copy an array to a tensor that has memory."""
    kept = stored(array)
    ggml.ggml_backend_tensor_set(tensor, ctypes.c_void_p(kept.ctypes.data), 0, kept.nbytes)


class Graph:
    """Nodes in the making, and the constants they read."""

    def __init__(self, nodes: int) -> None:
        size = TENSORS * nodes + 1024
        self.nodes = Context(size, ggml.ggml_graph_overhead_custom(size, False))
        self.graph = ggml.ggml_new_graph_custom(self.nodes.pointer, size, False)
        self.leaves = Context(size)
        self.known: list[tuple[Any, Array]] = []

    def call(self, function: Any, *arguments: Any) -> Any:
        """A node."""
        return self.nodes.call(function, *arguments)

    def made(self, tensor: Any, shape: Sequence[int], dtype: str = "float32") -> Value:
        """What an operator made."""
        return Value(tuple(shape), dtype, tensor)

    def constant(self, array: Array, dtype: str = "") -> Value:
        """A tensor whose values are known now."""
        return Value(array.shape, dtype or array.dtype.name, data=array)

    def given(self, array: Array) -> Value:
        """A tensor that has its values before the first step."""
        kept = stored(array)
        tensor = self.leaves.leaf(array.shape, array.dtype.name)
        self.known.append((tensor, kept))
        return Value(array.shape, array.dtype.name, tensor)

    def tensor(self, x: Value) -> Any:
        """Its ggml tensor; a constant gets one when it is first asked for."""
        if x.tensor is None and x.data is not None:
            x.tensor = self.given(x.data).tensor
        return x.tensor

    def packed(self, x: Value, *sizes: int) -> Any:
        """Its elements one after the other, in at most four dimensions; without sizes, as many as it has."""
        tensor = self.tensor(x)
        if not ggml.ggml_is_contiguous(tensor):
            x.tensor = tensor = self.call(ggml.ggml_cont, tensor)
        elif not plain(tensor):
            x.tensor = tensor = self.call(ggml.ggml_reshape_4d, tensor, *tensor.contents.ne[:])
        return self.resized(tensor, *sizes) if sizes else tensor

    def resized(self, tensor: Any, *sizes: int) -> Any:
        """A contiguous tensor in other sizes."""
        if len(sizes) > RANK:
            raise Unsupported(f"a tensor of {len(sizes)} dimensions: ggml has {RANK}")
        wanted = (1,) * (RANK - len(sizes)) + sizes
        return tensor if shape_of(tensor) == wanted else self.call(ggml.ggml_reshape_4d, tensor, *wanted[::-1])

    def natural(self, x: Value, *, rows: bool = True) -> Any:
        """In its own shape; with `rows`, elements of the last dimension lie side by side."""
        if len(x.shape) > RANK:
            raise Unsupported(f"a tensor of {len(x.shape)} dimensions: ggml has {RANK}")
        tensor = self.tensor(x)
        apart = tensor.contents.nb[0] != ggml.ggml_element_size(tensor)
        if ggml.ggml_is_contiguous(tensor) or (rows and apart):
            return self.packed(x, *(x.shape or (1,)))
        return tensor

    def floats(self, x: Value) -> Value:
        """Numbers of any kind as floats; they are exact, see `stored`."""
        if x.data is not None:
            return self.constant(stored(x.data).astype(np.float32))
        tensor = self.tensor(x)
        if tensor.contents.type == ggml.GGML_TYPE_I32:
            tensor = self.call(ggml.ggml_cast, self.packed(x), ggml.GGML_TYPE_F32)
        return self.made(tensor, x.shape)

    def indices(self, x: Value) -> Any:
        """Numbers as ggml's indices, one after the other."""
        tensor = self.packed(x, math.prod(x.shape))
        return tensor if tensor.contents.type == ggml.GGML_TYPE_I32 else self.cast(tensor)

    def cast(self, tensor: Any) -> Any:
        """Floats that are whole as integers."""
        return self.call(ggml.ggml_cast, tensor, ggml.GGML_TYPE_I32)

    def largest(self, tensor: Any, size: int) -> Any:
        """The largest of each row's elements, of which there are `size`; Vulkan has no pool of one dimension."""
        return self.call(ggml.ggml_pool_2d, tensor, ggml.GGML_OP_POOL_MAX, size, 1, size, 1, 0, 0)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """The same elements in other sizes."""
        if x.data is not None:
            return self.constant(x.data.reshape(shape), x.dtype)
        return self.made(self.packed(x), shape, x.dtype)

    def permute(self, x: Value, dims: Sequence[int]) -> Value:
        """Dimensions in another order: a view, until somebody needs it packed."""
        shape = [x.shape[dim] for dim in dims]
        if x.data is not None:
            return self.constant(x.data.transpose(dims), x.dtype)
        if len(dims) > RANK:  # in fewer dimensions, which then are nobody's own
            sizes, order = merged(x.shape, dims)
            return self.reshape(self.permute(self.reshape(x, sizes), order), shape)
        ahead = RANK - len(dims)
        order = [*range(ahead), *(dim + ahead for dim in dims)]
        axes = [RANK - 1 - order.index(RANK - 1 - axis) for axis in range(RANK)]
        return self.made(self.call(ggml.ggml_permute, self.natural(x, rows=False), *axes), shape, x.dtype)

    def grow(self, x: Value, shape: Sequence[int]) -> Value:
        """Dimensions of size 1 repeated, and new ones before them."""
        if x.data is not None:
            return self.constant(np.broadcast_to(x.data, shape), x.dtype)
        if tuple(shape) == x.shape:
            return x
        sizes, given = spread(shape, x.shape)
        tensor = self.packed(x, *given)
        return self.made(self.call(ggml.ggml_repeat_4d, tensor, *sizes[::-1]), shape, x.dtype)

    def spread(self, shape: Sequence[int], *given: Sequence[int]) -> list[tuple[int, ...]]:
        """See `spread`."""
        return spread(shape, *given)

    def expand(self, *values: Value) -> None:
        """Put nodes into the graph, in the order in which they were made."""
        for value in values:
            if value.tensor is not None:
                ggml.ggml_build_forward_expand(self.graph, value.tensor)


def merged(shape: Sequence[int], dims: Sequence[int]) -> tuple[list[int], list[int]]:
    """A permutation in as few dimensions as it needs: their sizes, and their order.

    Raises:
        Unsupported: it needs more than ggml has.
    """
    runs: list[list[int]] = []
    for dim in (dim for dim in dims if shape[dim] != 1):
        if runs and dim > runs[-1][-1] and math.prod(shape[runs[-1][-1] + 1 : dim]) == 1:
            runs[-1].append(dim)
        else:
            runs.append([dim])
    if len(runs) > RANK:
        raise Unsupported(f"a permutation of {len(runs)} dimensions: ggml has {RANK}")
    inorder = sorted(runs)
    return [math.prod(shape[dim] for dim in run) for run in inorder], [inorder.index(run) for run in runs]


def spread(shape: Sequence[int], *given: Sequence[int]) -> list[tuple[int, ...]]:
    """`shape`, and shapes that broadcast to it, in as few dimensions as they need and padded to all there are.

    Raises:
        Unsupported: they need more than ggml has.
    """
    rows = [tuple(shape), *((1,) * (len(shape) - len(sizes)) + tuple(sizes) for sizes in given)]
    groups: list[tuple[int, ...]] = []
    before: list[bool] = []
    for sizes in (sizes for sizes in zip(*rows, strict=True) if sizes[0] != 1):
        grown = [size != sizes[0] for size in sizes]
        if grown == before:
            groups[-1] = tuple(old * new for old, new in zip(groups[-1], sizes, strict=True))
        else:
            groups.append(sizes)
        before = grown
    if len(groups) > RANK:
        raise Unsupported(f"a broadcast over {len(groups)} dimensions: ggml has {RANK}")
    padding = (1,) * (RANK - len(groups))
    return [padding + tuple(group[index] for group in groups) for index in range(len(rows))]
