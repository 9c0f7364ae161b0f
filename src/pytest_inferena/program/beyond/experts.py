"""What mixtures of experts need: products of groups of rows, each with a matrix of its own, and counts of numbers.

The ends of the groups are data, and the shapes of a Program are not. So each matrix gets all rows, and those that are
not its own are zero. The result is that of PyTorch's kernel. It takes as many times longer as there are experts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.program.expand.tensor import cat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.program.beyond.functions import Rule
    from pytest_inferena.program.expand.tensor import Tensor
    from pytest_inferena.worker.format import TensorSpec


def grouped_mm(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """`_grouped_mm`: groups of rows of the first, of columns of the second, or of what is summed over.

    transformers has one of its own for the dtypes that PyTorch's kernel lacks, with rows alone.
    """
    x: Tensor = a["input"] if "input" in a else a["self"]
    y: Tensor = a["weight"] if "weight" in a else a["mat2"]
    if a.get("offs") is None:
        result = x @ y
    elif x.rank == 3:
        product = x @ y
        result = _groups(a["offs"], y.shape[1]).reshape(-1, 1, y.shape[1]).where(product, 0.0)
        result = result.reduce("sum", [0], keepdim=False)
    else:
        ours = _groups(a["offs"], y.shape[-2] if y.rank == 2 else x.shape[0])
        inner = y.rank == 2
        mine = (ours.reshape(-1, 1, ours.shape[1]) if inner else ours.reshape(*ours.shape, 1)).where(x, 0.0)
        result = mine @ y if inner else (mine @ y).reduce("sum", [0], keepdim=False)
    return (result if a.get("bias") is None else result + a["bias"]).to(out[0].dtype)


def _groups(ends: Tensor, length: int) -> Tensor:
    """(groups, length): which place is whose. A group begins where the one before it ends."""
    before = ends.constant(np.arange(length)).compare("lt", ends.to("int64").reshape(-1, 1)).to("float32")
    others = cat([before.full((1, length), 0.0), before.slice(0, 0, before.shape[0] - 1)], 0)
    return (before - others).compare("gt", 0.0)


def histogram(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """`histc`: how many numbers lie in each of some bins of one width, the last of which has its upper edge."""
    x: Tensor = a["self"].reshape(-1, 1).to("float32")
    low, high = a.get("min", 0), a.get("max", 0)
    if low == high:  # from the least of the numbers to the largest
        low, high = -(-x).reduce("amax", [0]), x.reduce("amax", [0])
        same = low.compare("eq", high).to("float32")
        low, high = low - same, high + same
    else:
        low, high = (x.full((1, 1), float(edge)) for edge in (low, high))
    inside = (x.compare("lt", low).to("float32") + x.compare("gt", high).to("float32")).compare("eq", 0.0)
    place = ((x - low) * float(a["bins"]) / (high - low)).to("int64")
    last = x.full((1, 1), a["bins"] - 1, "int64")
    found = place.compare("gt", last).where(last, place).compare("eq", x.constant(np.arange(a["bins"])))
    return (found & inside).to("float32").reduce("sum", [0], keepdim=False).to(out[0].dtype)


EXPERTS: Mapping[str, Rule] = {
    **dict.fromkeys(("_grouped_mm", "transformers::grouped_mm_fallback"), grouped_mm),
    "histc": histogram,
}
"""ATen's name, or that of transformers → a function of the arguments, and of what the node makes."""
