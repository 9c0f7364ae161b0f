"""The rules for rows of a table, and for numbers that are written by index."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pytest_inferena.program.expand.tensor import Tensor
from pytest_inferena.program.graph import NotExportable
from pytest_inferena.worker.format import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.program.graph import Arguments, Graph, Rule
    from pytest_inferena.worker.format import TensorSpec

    Outputs = tuple[TensorSpec, ...]


def _embedding(g: Graph, a: Arguments, out: Outputs) -> Ref:
    """Rows of a table; that of `padding_idx` gets no gradient, one read n times the n-th part if that is asked."""
    arguments = {"weight": a["weight"], "indices": a["indices"]}
    padding, shared = a.get("padding_idx", -1), a.get("scale_grad_by_freq")
    if not g.trains or (padding < 0 and not shared):
        return g.emit("embedding", arguments, out[0])
    indices = Tensor(g, out[0], a["indices"].name)
    rows = Tensor(g, out[0], g.made("embedding", arguments, out[0], out[0].shape).name)
    still = rows.detach()
    if shared:
        flat = indices.reshape(-1, 1)
        times = flat.compare("eq", flat.reshape(1, -1)).to(rows.dtype).reduce("sum", [1])
        rows = still + (rows - still) / times.reshape(*indices.shape, 1)
    if padding >= 0:
        rows = indices.compare("eq", padding).reshape(*indices.shape, 1).where(still, rows)
    return Ref(rows.name)


def _index_put(g: Graph, a: Arguments, out: Outputs) -> Ref:
    """Dimensions without an index go behind those that have one."""
    x, values = (Tensor(g, out[0], g.cast(a[name], out[0]).name) for name in ("self", "values"))
    dims = [at for at, one in enumerate(a["indices"]) if one is not None]
    indices = [Tensor(g, out[0], a["indices"][at].name) for at in dims]
    if indices[0].dtype == "bool":
        return Ref(_by_mask(x, indices, values, accumulate=a["accumulate"]).name)
    if dims == [*range(len(dims))]:
        return g.emit("index_put", a | {"indices": [Ref(one.name) for one in indices]}, out[0])
    rest = [at for at in range(x.rank) if at not in dims]
    places = np.broadcast_shapes(*(one.shape for one in indices))
    front = dims[0] if dims == [*range(dims[0], dims[-1] + 1)] else 0  # where the values have the indices' dimensions
    whole = [x.shape[at] for at in rest]
    whole[front:front] = places
    moved = [*range(front, front + len(places))]
    values = values.expand(*whole).permute(*moved, *(at for at in range(len(whole)) if at not in moved))
    order = [*dims, *rest]
    x = x.permute(*order)
    given = {"self": x, "indices": indices, "values": values, "accumulate": a["accumulate"]}
    return Ref(x.make("index_put", given, x.shape).permute(*(order.index(at) for at in range(x.rank))).name)


def _by_mask(x: Tensor, indices: list[Tensor], values: Tensor, *, accumulate: bool) -> Tensor:
    """A choice, of values that are the same for each row that is chosen."""
    mask = indices[0]
    row = x.rank - mask.rank
    lead = max(0, values.rank - row)
    if len(indices) > 1 or math.prod(values.shape[:lead]) > 1:
        raise NotExportable(
            "a mask as index of numbers that differ from place to place asks how many places it has; use torch.where, "
            "or masked_scatter"
        )
    values = values.reshape(*values.shape[lead:])
    return mask.reshape(*mask.shape, *[1] * row).where(x + values if accumulate else values, x)


RULES: Mapping[str, Rule] = {"embedding": _embedding, "index_put": _index_put}
"""ATen's name → what to write instead."""
