"""What does the same to both parts: moves numbers, or adds them up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_inferena.program.pairs.node import REAL, Complex
from pytest_inferena.worker.format import Ref, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_inferena.program.pairs.node import Part

DATA = frozenset({"self", "other", "tensors", "src", "value", "values"})
"""Arguments that hold numbers of the kind that the operator makes."""
MOVES = (
    "_neg_view _to_copy _unsafe_view alias broadcast_tensors cat chunk clone constant_pad_nd contiguous copy cumsum "
    "detach expand fill flatten flip gather index index_put index_select lift_fresh_copy masked_fill mean neg pad "
    "permute repeat reshape roll scatter_add select select_scatter slice slice_scatter split split_with_sizes squeeze "
    "stack sum t to transpose unbind unflatten unsafe_split unsqueeze view where"
)
"""Operators that move numbers, or add them up: the parts go their way apart."""
ALIKE = frozenset(MOVES.split())


def alike(c: Complex) -> Iterator[tuple[TensorSpec, Any]]:
    """Each part by itself."""
    halves: list[list[Part]] = []
    for which in range(1 + (c.out.dtype in REAL)):
        data = [value for name, value in c.a.items() if name in DATA and value is not None]
        if all(c.pair(value)[which] is None for value in _flat(data)):
            halves.append([None] * len(c.node.outputs))
            continue
        specs = [_half_of(spec, which) for spec in c.node.outputs]
        c.call(c.node.operator, {name: _half(c, name, value, which) for name, value in c.a.items()}, *specs)
        halves.append([c.tensor(c.graph.resolve(Ref(spec.name)).name) for spec in specs])
    for spec, *parts in zip(c.node.outputs, *halves, strict=True):
        yield spec, tuple(parts) if spec.dtype in REAL else c.tensor(c.filled(parts[0], spec).name)


def _half_of(spec: TensorSpec, which: int) -> TensorSpec:
    """What one part of a result is."""
    return TensorSpec(f"{spec.name}~part{which}", spec.shape, REAL.get(spec.dtype, spec.dtype))


def _half(c: Complex, name: str, value: Any, which: int) -> Any:
    """One part of an argument, as zeros where it has none."""
    if isinstance(value, list) and name in DATA:
        return [_half(c, name, item, which) for item in value]
    if name not in DATA or value is None:
        return REAL.get(value, value) if isinstance(value, str) else value
    part = c.pair(value)[which]
    if part is not None or not isinstance(value, Ref):
        return part or 0.0
    return c.filled(None, c.graph.specs[value.name])


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        yield from value if isinstance(value, list) else [value]
