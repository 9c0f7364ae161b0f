"""Operators beyond the closed set that look at whole tensors: resizing, norms, extremes, products, bags of rows."""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pytest_inferena.program.beyond.functions import power
from pytest_inferena.program.expand.tensor import Tensor, cat
from pytest_inferena.program.expand.windows import LEAST, adaptive_avg_pool, max_pool2d_with_indices, pooled
from pytest_inferena.program.graph import NotExportable
from pytest_inferena.worker.windows import counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.program.beyond.functions import Rule
    from pytest_inferena.worker.format import TensorSpec


def resized(kind: str) -> Rule:
    """A product with a matrix for each dimension; PyTorch itself says what the matrix is, by resizing rows of ones."""

    def rule(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
        x = a.get("input", a.get("self"))
        assert isinstance(x, Tensor)  # noqa: S101 - ATen's schema says so
        scales = a.get("scale_factors") or [a.get(name) for name in ("scales_d", "scales_h", "scales_w", "scales")]
        scales = [scale for scale in scales if scale is not None][-(x.rank - 2) :]
        aligned = [a["align_corners"]] if "align_corners" in a else []
        for at, length in enumerate(out[0].shape[2:], 2):
            scale = scales[at - 2] if len(scales) == x.rank - 2 else None
            if x.shape[at] == length and (scale is None or scale == 1):
                continue
            unit = torch.eye(x.shape[at], dtype=torch.float64)[None, :, :, None]
            matrix = getattr(torch.ops.aten, kind)(unit, [length, 1], *aligned, scale, None)[0, :, :, 0]
            weights = x.constant(matrix.numpy().astype(np.float32)).to(x.dtype)
            x = (x.swap(at, x.rank - 1) @ weights).swap(at, x.rank - 1)
        return x

    return rule


def embedding_bag(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> tuple[Tensor | None, ...]:
    """Rows of a table, added up bag by bag: a product with ones where a row lies in a bag."""
    indices, offsets = a["indices"], a["offsets"]
    mode, weights, bags = a.get("mode", 0), a.get("per_sample_weights"), out[0].shape[0]
    if mode == 2 or a.get("padding_idx", -1) not in {None, -1}:
        raise NotExportable("an embedding bag that takes the maximum, or has a padding_idx, is not handled yet")
    count = indices.shape[0]
    place = indices.constant(np.arange(count)).to(offsets.dtype)
    starts = offsets.slice(0, 0, bags)
    ends = offsets.slice(0, 1, bags + 1) if a.get("include_last_offset") else None
    if ends is None:
        ends = offsets.slice(0, 1, bags).pad(0, 0, 1, count) if bags > 1 else offsets.full([1], count)
    after = place.compare("ge", starts.reshape(bags, 1))
    before = place.compare("lt", ends.reshape(bags, 1))
    inside = (after & before).to(out[0].dtype)
    rows = a["weight"].rows(indices)
    rows = rows if weights is None else rows * weights.reshape(count, 1)
    total = inside @ rows
    if mode == 1:
        total = total / inside.reduce("sum", [1]).maximum(1.0)
    return total, None, None, None


def vector_norm(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """With a gradient of zero at zero, as PyTorch's: of the second order, the largest, the sum, or of any power."""
    x: Tensor = a["self"].to(out[0].dtype)
    order = a.get("ord", 2)
    dims = a.get("dim")
    dims = [*range(x.rank)] if dims is None else [dims] if isinstance(dims, int) else dims
    keep: dict[str, Any] = {"keepdim": a.get("keepdim", False)}
    size = x.unary("abs")
    if order == math.inf:
        return size.reduce("amax", dims, **keep)
    if order == -math.inf:
        return -(-size).reduce("amax", dims, **keep)
    if order == 0:
        return x.compare("ne", 0).to(x.dtype).reduce("sum", dims, **keep)
    if order == 1:
        return size.reduce("sum", dims, **keep)
    powers = x * x if order == 2 else power(size, order)
    return power(powers.reduce("sum", dims, **keep), 1 / order)


def _dims(a: Mapping[str, Any]) -> list[int]:
    """The dimensions of a reduction; none are all."""
    dims = a.get("dim")
    if isinstance(dims, int):
        return [dims]
    return list(dims) if dims else [*range(a["self"].rank)]


def spread(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
    """`var` and `var_mean`: the sum of squares around the mean, over the count less the correction."""
    x: Tensor = a["self"]
    dims, correction = _dims(a), a.get("correction", int(a.get("unbiased", True)))
    mean = x.reduce("mean", dims)
    centred = x - mean
    squares, keep = centred * centred, a.get("keepdim", False)
    count = math.prod(x.shape[dim] for dim in dims) - (1 if correction is None else correction)
    if correction == 0:
        found = squares.reduce("mean", dims, keepdim=keep)
    else:
        found = squares.reduce("sum", dims, keepdim=keep) / count
    return found, *(mean.reshape(*spec.shape) for spec in out[1:])


def deviation(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
    """`std` and `std_mean`; of equal numbers the gradient is zero."""
    variance, *mean = spread(a, out)
    return power(variance), *mean


def extreme(largest: bool, what: str) -> Rule:
    """`amin`, `max`, `argmax` and their like; the smallest is the opposite of the largest opposite.

    The place is that of the first which is equal to the extreme.
    """

    def rule(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor | tuple[Tensor | None, ...]:
        given: Tensor = a["self"]
        x = given if largest else -given
        keep = a.get("keepdim", False)
        if what == "value" or (what == "both" and "dim" not in a):
            found = x.reduce("amax", _dims(a), keepdim=keep)
            return found if largest else -found
        whole = a.get("dim") is None or not x.rank
        x, dim = (x.reshape(-1), 0) if whole else (x, a["dim"] % x.rank)
        best = x.reduce("amax", [dim])
        length = x.shape[dim]
        backwards = x.constant(np.arange(length, 0, -1).reshape(-1, *[1] * (x.rank - dim - 1)))
        place = length - (x.compare("eq", best).to("int64") * backwards).reduce("amax", [dim])
        shape = [1 if at == dim else size for at, size in enumerate(x.shape) if keep or at != dim]
        shape = list(out[-1].shape) if whole else shape
        if what == "place":
            return place.reshape(*shape)
        if x.graph.trains:  # of equal ones only the first gets the gradient
            at = place.reshape(*best.shape)
            best = x.make("gather", {"self": x, "dim": dim, "index": at}, best.shape)
        value = best if largest else -best
        return value.reshape(*shape), place.reshape(*shape)

    return rule


def product(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """Of all numbers, or along a dimension."""
    x: Tensor = a["self"].to(out[0].dtype)
    x, dim = (x, a["dim"] % x.rank) if x.rank and isinstance(a.get("dim"), int) else (x.reshape(-1), 0)
    return along(x, dim).reshape(*out[0].shape)


def along(x: Tensor, dim: int) -> Tensor:
    """The product along a dimension, which stays with size 1: by halves."""
    while (length := x.shape[dim]) > 1:
        half = length // 2
        rest = [x.slice(dim, 2 * half, length)] if length % 2 else []
        x = cat([x.slice(dim, 0, half) * x.slice(dim, half, 2 * half), *rest], dim)
    return x


def running_product(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """Row by row."""
    x: Tensor = a["self"].to(out[0].dtype)
    dim = a["dim"] % x.rank
    rows = [x.slice(dim, 0, 1)]
    for at in range(1, x.shape[dim]):
        rows.append(rows[-1] * x.slice(dim, at, at + 1))
    return cat(rows, dim)


def addbmm(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """The products of a batch, added up."""
    total = (a["batch1"] @ a["batch2"]).reduce("sum", [0], keepdim=False)
    rest: Tensor = a["self"]
    total, rest = (x if by == 1 else x * by for x, by in ((total, a["alpha"]), (rest, a["beta"])))
    return (total + rest).reshape(*out[0].shape)


def trilinear(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """The sums of a product of three, which `nn.Bilinear` and its gradient are; each has some dimensions of size 1."""
    total: Any = None
    for at in "123":
        x: Tensor = a[f"i{at}"]
        sizes = iter(x.shape)
        grown = {*a[f"expand{at}"]}
        x = x.reshape(*(1 if dim in grown else next(sizes) for dim in range(x.rank + len(grown))))
        total = x if total is None else total * x
    result: Tensor = total.reduce("sum", a["sumdim"]) if a["sumdim"] else total
    return result.reshape(*out[0].shape)


def adaptive_max_pool(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> tuple[Tensor, Tensor]:
    """Window by window: the largest, and the place of the first of them in the image."""
    x: Tensor = a["self"]
    values, sizes = out[0].shape, a["output_size"]
    image = x.shape[x.rank - len(sizes) :]
    largest: Any = extreme(True, "both")
    lead, numbers = x.shape[: x.rank - len(sizes)], np.arange(math.prod(image)).reshape(image)
    found: list[tuple[Tensor, ...]] = []
    for cell in itertools.product(*map(range, sizes)):
        settings = [*zip(cell, image, sizes, strict=True)]
        window = [(at * n // size, -(-(at + 1) * n // size)) for at, n, size in settings]
        seen = x
        for axis, (start, end) in enumerate(window, len(lead)):
            seen = seen.slice(axis, start, end)
        row = {"self": seen.reshape(*lead, -1), "dim": -1, "keepdim": True}
        best, place = largest(row, out)
        places = numbers[tuple(slice(*ends) for ends in window)].reshape(-1)
        found.append((best, x.constant(places).rows(place)))
    best, place = (cat(list(part), len(lead)).reshape(*values) for part in zip(*found, strict=True))
    return best, place


def _three(value: list[int]) -> list[int]:
    return [*value] * (3 if len(value) == 1 else 1)


def pool3d(a: Mapping[str, Any], _: tuple[TensorSpec, ...]) -> Tensor:
    """`avg_pool3d`, `max_pool3d`: of what the cells of each window see; a single image is a batch of one."""
    largest, ceil_mode = "dilation" in a, a.get("ceil_mode", False)
    kernel, padding, dilation = (_three(a.get(name, [1])) for name in ("kernel_size", "padding", "dilation"))
    stride = _three(a["stride"] or kernel)
    x: Tensor = a["self"]
    batch = x if x.rank == 5 else x.reshape(1, *x.shape)
    cells = pooled(batch, (kernel, stride, padding, dilation), LEAST if largest else 0.0, ceil_mode=ceil_mode)[0]
    found = functools.reduce(Tensor.maximum if largest else Tensor.__add__, cells)
    if not largest and (divisor := a.get("divisor_override")):
        found = found * (1 / divisor)
    elif not largest:
        how: dict[str, Any] = {"ceil_mode": ceil_mode, "count_include_pad": a.get("count_include_pad", True)}
        settings = zip(batch.shape[2:], kernel, stride, padding, strict=True)
        shares = functools.reduce(np.multiply.outer, [1 / counts(*setting, **how) for setting in settings])
        found = found * found.constant(shares.astype(np.float32))
    return found.reshape(*found.shape[5 - x.rank :])


def max_pool3d_with_indices(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> tuple[Tensor, Tensor]:
    """As that of two dimensions."""
    x: Tensor = a["self"]
    kernel, padding, dilation = (_three(a[name]) for name in ("kernel_size", "padding", "dilation"))
    batch = x if x.rank == 5 else x.reshape(1, *x.shape)
    window = (kernel, _three(a["stride"] or kernel), padding, dilation)
    best, place = max_pool2d_with_indices(batch, *window, a["ceil_mode"])
    return best.reshape(*out[0].shape), place.reshape(*out[1].shape)


def distances(a: Mapping[str, Any], out: tuple[TensorSpec, ...]) -> Tensor:
    """`cdist`: the norm of each row of one less each row of the other."""
    first, second = a["x1"], a["x2"]
    rows = first.reshape(*first.shape[:-1], 1, first.shape[-1])
    others = second.reshape(*second.shape[:-2], 1, *second.shape[-2:])
    return vector_norm({"self": rows - others, "ord": a["p"], "dim": -1}, out)


WHOLE: Mapping[str, Rule] = {
    **dict.fromkeys(("avg_pool3d", "max_pool3d"), pool3d),
    "_adaptive_avg_pool3d": lambda a, _: adaptive_avg_pool(a["self"], a["output_size"]),
    **dict.fromkeys(("adaptive_max_pool2d", "adaptive_max_pool3d"), adaptive_max_pool),
    "_cdist_forward": distances,
    "_trilinear": trilinear,
    "addbmm": addbmm,
    "amin": extreme(False, "value"),
    "argmax": extreme(True, "place"),
    "argmin": extreme(False, "place"),
    "cumprod": running_product,
    "embedding_bag": embedding_bag,
    "linalg_vector_norm": vector_norm,
    "max": extreme(True, "both"),
    "max_pool3d_with_indices": max_pool3d_with_indices,
    "min": extreme(False, "both"),
    "prod": product,
    **dict.fromkeys(("std", "std_mean"), deviation),
    **dict.fromkeys(("var", "var_mean"), spread),
    **dict.fromkeys(
        ("upsample_bilinear2d", "upsample_linear1d", "upsample_trilinear3d"), resized("upsample_bilinear2d")
    ),
    "upsample_bicubic2d": resized("upsample_bicubic2d"),
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest3d"), resized("upsample_nearest2d")),
    **{f"_upsample_nearest_exact{rank}d": resized("_upsample_nearest_exact2d") for rank in (1, 2, 3)},
}
"""ATen's name → a function of the arguments by ATen's names, and of what the node makes."""
