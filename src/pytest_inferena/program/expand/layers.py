"""What a layer computes at once: products, norms, attention and losses, written with simpler operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_inferena.program.expand.tensor import Tensor, cat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """All rows in one product; weights (out, in)."""
    result = x.reshape(-1, x.shape[-1]) @ weight.swap(0, 1)
    result = result if bias is None else result + bias
    return result.reshape(*x.shape[:-1], weight.shape[0])


def _channels(values: Tensor, like: Tensor) -> Tensor:
    """A vector over channels, to broadcast over (B, C, …)."""
    return values.reshape(-1, *[1] * (like.rank - 2))


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    """On stored statistics, which are constants mostly, it scales and shifts, channel by channel."""
    known = x.graph.constants.get(var.name)
    inverse = (var + eps).unary("rsqrt") if known is None else x.constant((1 / np.sqrt(known + eps)).astype(var.dtype))
    scale = weight * inverse
    return x * _channels(scale, x) + _channels(bias - mean * scale, x)


def _normalised(x: Tensor, dims: Sequence[int], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """To zero mean and unit variance; the mean and what it was multiplied by, too."""
    mean = x.reduce("mean", dims)
    centred = x - mean
    scale = ((centred * centred).reduce("mean", dims) + eps).unary("rsqrt")
    return centred * scale, mean, scale


def _last(x: Tensor, shape: list[int]) -> list[int]:
    return [*range(x.rank - len(shape), x.rank)]


def native_layer_norm(
    x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, ...]:
    """Over the last dimensions: the result, the mean, and 1 / √(variance + eps)."""
    result, mean, scale = _normalised(x, _last(x, shape), eps)
    result = result if weight is None else result * weight
    return (result if bias is None else result + bias), mean, scale


def layer_norm(x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Over the last dimensions."""
    return native_layer_norm(x, shape, weight, bias, eps)[0]


def group_norm(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Over groups of channels of (B, C, …): a layer norm of their rows, then weight and bias by channel."""
    rows = x.reshape(x.shape[0], groups, -1)
    bare = {"input": rows, "normalized_shape": [rows.shape[2]], "weight": None, "bias": None, "eps": eps}
    result = x.make("layer_norm", bare, rows.shape).reshape(*x.shape)
    result = result if weight is None else result * _channels(weight, x)
    return result if bias is None else result + _channels(bias, x)


def rms_norm(x: Tensor, shape: list[int], weight: Tensor | None, eps: float) -> Tensor:
    """By the root of the mean square over the last dimensions."""
    result = x * ((x * x).reduce("mean", _last(x, shape)) + eps).unary("rsqrt")
    return result if weight is None else result * weight


def rotary_embedding(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Both halves of the last dimension turned against each other."""
    half = x.shape[-1] // 2
    first, second = x.slice(-1, 0, half), x.slice(-1, half, 2 * half)
    return cat([first * cos - second * sin, second * cos + first * sin], x.rank - 1)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    scale: float,
    enable_gqa: bool,
) -> Tensor:
    """Softmax of scores; heads that share a key are rows of one product.

    A query that may attend to nothing gets zeros, as in PyTorch from 2.5 on.
    """
    del enable_gqa  # the shapes say it
    length, keys = query.shape[-2], key.shape[-2]
    shape = (*query.shape[:-1], keys)
    rows = (query * scale).reshape(*key.shape[:-2], -1, query.shape[-1])
    scores = (rows @ key.swap(key.rank - 2, key.rank - 1)).reshape(*shape)
    known = np.tri(length, keys, dtype=bool) if is_causal else query.graph.constants.get(mask.name if mask else "")
    nothing = None
    if known is not None and known.dtype == bool and known.any(-1).all():
        scores = scores + query.constant(np.where(known, 0.0, -np.inf).astype(scores.dtype))
    elif mask is not None and mask.dtype != "bool":
        scores = scores + mask
    elif mask is not None:
        nothing = mask.make("any", {"self": mask, "dim": mask.rank - 1, "keepdim": True}, (*mask.shape[:-1], 1))
        scores = mask.where(scores, float(np.finfo(np.float32).min))
    shares = scores.make("softmax", {"self": scores, "dim": scores.rank - 1}, shape)
    shares = shares if nothing is None else shares * nothing.to(shares.dtype)
    result = shares.reshape(*rows.shape[:-1], keys) @ value
    return result.reshape(*query.shape[:-1], value.shape[-1])


def cross_entropy_loss(
    x: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int, smoothing: float
) -> Tensor:
    """Of (N, classes) and class numbers (N,); rows of the number that is ignored count nothing.

    The logarithm of each row's sum, not of each share: training SmolLM2 is a tenth faster so in MLX, and as fast as
    JAX's own in JAX.
    """
    rows, classes = x.shape
    kept = target.compare("ne", ignore_index)
    label = kept.where(target, 0)
    largest = x.reduce("amax", [1]).detach()
    total = (x - largest).unary("exp").reduce("sum", [1]).unary("log") + largest  # (N, 1)
    chosen = x.make("gather", {"self": x, "dim": 1, "index": label.reshape(rows, 1)}, (rows, 1))
    chosen = (chosen - total).reshape(rows)
    share = kept.to(x.dtype)
    if weight is not None:
        share = share * weight.reshape(classes, 1).rows(label).reshape(rows)
    losses = -(kept.where(chosen, 0.0) * share)
    if smoothing:
        logs = x - total
        every = logs if weight is None else logs * weight
        smooth = -(kept.where(every.reduce("mean", [1], keepdim=False), 0.0))
        losses = losses * (1 - smoothing) + smooth * smoothing
    if reduction == 0:
        return losses
    total = losses.reduce("sum", [0], keepdim=False)
    return total / share.reduce("sum", [0], keepdim=False) if reduction == 1 else total


def mse_loss(x: Tensor, target: Tensor, reduction: int) -> Tensor:
    """The square of each difference, their mean or their sum."""
    difference = x - target
    return reduced(difference * difference, reduction)


def reduced(losses: Tensor, reduction: int) -> Tensor:
    """As they are, their mean or their sum, by ATen's numbers 0, 1 and 2."""
    if not reduction:
        return losses
    return losses.reduce("mean" if reduction == 1 else "sum", [*range(losses.rank)], keepdim=False)


EXPANSIONS: Mapping[str, Callable[..., Tensor | tuple[Tensor, ...] | None]] = {
    "batch_norm": batch_norm,
    "cross_entropy_loss": cross_entropy_loss,
    "group_norm": group_norm,
    "layer_norm": layer_norm,
    "linear": linear,
    "mse_loss": mse_loss,
    "native_layer_norm": native_layer_norm,
    "rms_norm": rms_norm,
    "rotary_embedding": rotary_embedding,
    "scaled_dot_product_attention": attention,
}
"""Operator → a function of the node's arguments in their order."""
