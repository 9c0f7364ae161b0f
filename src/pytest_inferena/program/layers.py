"""Rules for what a layer computes at once: normalisation, attention, convolution, pooling, upsampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena.program.beyond.whole import resized
from pytest_inferena.program.expand.tensor import Tensor, tensors
from pytest_inferena.program.graph import NotExportable
from pytest_inferena.worker.format import Ref
from pytest_inferena.worker.windows import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.program.graph import Arguments, Graph, Rule
    from pytest_inferena.worker.format import TensorSpec

    Outputs = tuple[TensorSpec, ...]


def _keep(operator: str, *names: str) -> Rule:
    """Another name, or only some of the arguments; the others do not matter to an engine."""

    def rule(g: Graph, a: Arguments, out: Outputs) -> Ref:
        return g.emit(operator, {name: a[name] for name in names}, out[0])

    return rule


def _batch_norm(g: Graph, a: Arguments, out: Outputs) -> Ref:
    """On stored statistics; without weight and bias they are one and zero."""
    if a.get("training") or a["running_mean"] is None:
        raise NotExportable("batch norm in training mode: all entries run the module in eval()")
    channels = list(g.shape(a["running_mean"]))
    arguments = {name: a[name] for name in ("input", "weight", "bias", "running_mean", "running_var", "eps")}
    for name, value in (("weight", 1.0), ("bias", 0.0)):
        if arguments[name] is None:
            filled = {"size": channels, "fill_value": value, "dtype": out[0].dtype}
            arguments[name] = g.made("full", filled, out[0], channels)
    return g.emit("batch_norm", arguments, out[0])


def _instance_norm(g: Graph, a: Arguments, out: Outputs) -> Ref:
    """A group norm with one channel a group; on stored statistics it is a batch norm."""
    if not a["use_input_stats"]:
        return _batch_norm(g, a, out)
    arguments = {"input": a["input"], "num_groups": out[0].shape[1], "weight": a["weight"], "bias": a["bias"]}
    return g.emit("group_norm", arguments | {"eps": a["eps"]}, out[0])


def _rms_norm(g: Graph, a: Arguments, out: Outputs) -> Ref:
    """PyTorch's own eps is the step from one to the next number."""
    eps = float(np.finfo(out[0].dtype).eps) if a["eps"] is None else a["eps"]
    return g.emit("rms_norm", a | {"eps": eps}, out[0])


def _convolution(rank: int) -> Rule:
    def rule(g: Graph, a: Arguments, out: Outputs) -> Ref:
        return _of_batch(g, f"conv{rank}d", _evenly_padded(g, a, out[0]), out[0], rank)

    return rule


def _of_batch(g: Graph, operator: str, a: Arguments, out: TensorSpec, rank: int) -> Ref:
    """Of a batch of images of some rank: a single image is a batch of one."""
    if len(out.shape) == rank + 2:
        return g.emit(operator, a, out)
    name = next(iter(a))  # of the images
    batch = [1, *g.shape(a[name])]
    a = a | {name: g.made("reshape", {"self": a[name], "shape": batch}, out, batch)}
    result = g.made(operator, a, out, [1, *out.shape])
    return g.emit("reshape", {"self": result, "shape": list(out.shape)}, out)


def _evenly_padded(g: Graph, a: Arguments, out: TensorSpec) -> Arguments:
    """Numbers for `same` and `valid`; an even kernel's odd cell is padded before, on the right."""
    if not isinstance(a["padding"], str):
        return a | {"padding": list(a["padding"])}
    kernel = g.shape(a["weight"])[2:]
    if a["padding"] == "valid":
        return a | {"padding": [0] * len(kernel)}
    around = [d * (k - 1) for d, k in zip(a["dilation"], kernel, strict=True)]
    x = Tensor(g, out, a["input"].name)
    for at, total in enumerate(around):
        x = x.pad(x.rank - len(kernel) + at, 0, total % 2) if total % 2 else x
    return a | {"input": Ref(x.name), "padding": [total // 2 for total in around]}


def _adaptive_avg_pool(rank: int) -> Rule:
    """Means of blocks where the sizes divide."""

    def rule(g: Graph, a: Arguments, out: Outputs) -> Ref:
        x, shape, size = a["self"], g.shape(a["self"]), out[0].shape[-rank:]
        lead = list(shape[:-rank])
        if set(size) == {1}:
            dims = list(range(len(lead), len(shape)))
            return g.emit("mean", {"self": x, "dim": dims, "keepdim": True}, out[0])
        if any(whole % part for whole, part in zip(shape[-rank:], size, strict=True)):
            return _of_batch(g, f"adaptive_avg_pool{rank}d", a, out[0], rank)
        blocks = lead + [n for whole, part in zip(shape[-rank:], size, strict=True) for n in (part, whole // part)]
        apart = g.made("reshape", {"self": x, "shape": blocks}, out[0], blocks)
        dims = [len(lead) + 1 + 2 * dim for dim in range(rank)]
        return g.emit("mean", {"self": apart, "dim": dims, "keepdim": False}, out[0])

    return rule


def _attention(g: Graph, a: Arguments, out: Outputs) -> Ref:
    if a["dropout_p"]:
        raise NotExportable("attention with dropout: all entries run the module in eval()")
    arguments = {name: a[name] for name in ("query", "key", "value", "attn_mask", "is_causal")}
    arguments["scale"] = a["scale"] if a["scale"] is not None else 1 / math.sqrt(g.shape(a["query"])[-1])
    return g.emit("scaled_dot_product_attention", arguments | {"enable_gqa": a["enable_gqa"]}, out[0])


def _pool(operator: str) -> Rule:
    def rule(g: Graph, a: Arguments, out: Outputs) -> Ref:
        return _of_batch(g, operator, _for_each(a | {"stride": a["stride"] or a["kernel_size"]}, 2), out[0], 2)

    return rule


def _for_each(a: Arguments, rank: int) -> Arguments:
    """A number for each dimension, where one was meant for all."""
    return {name: value * rank if isinstance(value, list) and len(value) == 1 else value for name, value in a.items()}


BY_MATRICES = resized("upsample_nearest2d")
"""By scales of which sizes know nothing."""


def _upsample(g: Graph, a: Arguments, out: Outputs) -> Ref:
    """By sizes; a product with matrices where a scale, which PyTorch then counts by, shows other pixels."""
    x: Any = next(iter(a.values()))
    scales = a.get("scale_factors") or (a.get("scales_h"), a.get("scales_w"))
    settings = zip(g.shape(x)[2:], out[0].shape[2:], scales, strict=True)
    if any(nearest(size, length) != nearest(size, length, scale) for size, length, scale in settings):
        result: Any = BY_MATRICES({name: tensors(g, out[0], value) for name, value in a.items()}, out)
        return Ref(result.name)
    return g.emit("upsample_nearest2d", {"self": x, "output_size": list(out[0].shape[2:])}, out[0])


def _gather(g: Graph, a: Arguments, out: Outputs) -> Ref:
    dim = a["dim"] % max(1, len(out[0].shape))
    return g.emit("gather", {"self": a["self"], "dim": dim, "index": a["index"]}, out[0])


RULES: Mapping[str, Rule] = {
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "adaptive_avg_pool1d": _adaptive_avg_pool(1),
    "adaptive_avg_pool2d": _adaptive_avg_pool(2),
    "scaled_dot_product_attention": _attention,
    "max_pool2d": _pool("max_pool2d"),
    "avg_pool2d": _pool("avg_pool2d"),
    "upsample_nearest2d": _upsample,
    "conv1d": _convolution(1),
    "conv2d": _convolution(2),
    "convolution": lambda g, a, out: g.emit("convolution", _for_each(a, len(out[0].shape) - 2), out[0]),
    "layer_norm": _keep("layer_norm", "input", "normalized_shape", "weight", "bias", "eps"),
    "group_norm": _keep("group_norm", "input", "num_groups", "weight", "bias", "eps"),
    "rms_norm": _rms_norm,
    "instance_norm": _instance_norm,
    "gather": _gather,
}
