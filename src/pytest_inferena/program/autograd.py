"""Gradients written by hand, for layers of which autograd's own come out long.

Autograd differentiates what a layer is made of, step by step, and repeats heads and casts on its way. The
functions here keep the layer whole in the forward part, where the Program has an operator for it, and
their backward part is the textbook's; the tests hold them against autograd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import Function

from pytest_inferena.program.fourier import GRADIENTS
from pytest_inferena.program.opaque import whole
from pytest_inferena.worker import aten as spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

aten = torch.ops.aten
ROTARY = whole("rotary_embedding(Tensor self, Tensor cos, Tensor sin) -> Tensor", spelled.rotary_embedding)
RMS_NORM = whole(
    "rms_norm(Tensor input, int[] normalized_shape, Tensor? weight, float eps) -> Tensor",
    torch.nn.functional.rms_norm,
)
BATCH_NORM = whole(
    "batch_norm(Tensor input, Tensor weight, Tensor bias, Tensor running_mean, Tensor running_var, float eps)"
    " -> Tensor",
    spelled.batch_norm,
)


class RotaryEmbedding(Function):
    """Turning back is turning by the negative angle."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(B, H, S, D) by tables (S, D / 2)."""
        ctx.save_for_backward(cos, sin)
        return ROTARY(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Of x alone; the tables are constants."""
        cos, sin = ctx.saved_tensors
        return ROTARY(grad, cos, -sin), None, None


class RMSNorm(Function):
    """y = x · r · w with r = 1 / √(mean x² + ε)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: list[int], weight: Tensor | None, eps: float) -> Tensor:
        """Over the last dimension."""
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return RMS_NORM(x, shape, weight, eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor | None, None]:
        """Of x: r · h - x · r³ · mean(h · x), with h = grad · w."""
        x, weight = ctx.saved_tensors
        root = torch.rsqrt((x * x).mean(-1, keepdim=True) + ctx.eps)
        inner = grad if weight is None else grad * weight
        pull = (inner * x).mean(-1, keepdim=True) * (root * root * root)
        grad_weight = None if weight is None else grad * (x * root)
        if grad_weight is not None and x.ndim > 1:
            grad_weight = grad_weight.sum(list(range(x.ndim - 1)))
        return inner * root - x * pull, None, grad_weight, None


class BatchNorm(Function):
    """On stored statistics it only scales and shifts, channel by channel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
        """(B, C, …)."""
        ctx.save_for_backward(x, weight, mean, var)
        ctx.eps = eps
        return BATCH_NORM(x, weight, bias, mean, var, eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Of x, weight and bias."""
        x, weight, mean, var = ctx.saved_tensors
        root = torch.rsqrt(var + ctx.eps)
        shape, dims = [1, -1, *[1] * (x.ndim - 2)], [0, *range(2, x.ndim)]
        grad_weight = (grad * (x - mean.reshape(shape))).sum(dims) * root
        return grad * (weight * root).reshape(shape), grad_weight, grad.sum(dims), None, None, None


class Attention(Function):
    """Heads that share a key are rows of one product, so that nothing is repeated nor summed."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        """(B, H, S, D), key and value (B, G, T, D); the bias is added to the scores (·, ·, S, T)."""
        batch, heads, length, width = query.shape
        groups, keys = key.shape[1:3]
        rows = (query * scale).reshape(batch * groups, heads // groups * length, width)
        flat_key, flat_value = (x.reshape(batch * groups, keys, x.shape[-1]) for x in (key, value))
        scores = aten.bmm(rows, flat_key.transpose(1, 2))
        if bias is not None:
            scores = (scores.reshape(batch, heads, length, keys) + bias).reshape(scores.shape)
        shares = aten._softmax(scores, -1, False)
        result = aten.bmm(shares, flat_value)
        ctx.save_for_backward(rows, flat_key, flat_value, shares, result)
        ctx.scale, ctx.shapes = scale, (query.shape, key.shape, value.shape)
        return result.reshape(batch, heads, length, value.shape[-1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Of the scores: shares · (grad of shares - Σ grad · result)."""
        rows, key, value, shares, result = ctx.saved_tensors
        flat = grad.reshape(result.shape)
        grad_value = aten.bmm(shares.transpose(1, 2), flat)
        grad_scores = (aten.bmm(flat, value.transpose(1, 2)) - (flat * result).sum(-1, keepdim=True)) * shares
        grad_query = aten.bmm(grad_scores, key) * ctx.scale
        grad_key = aten.bmm(grad_scores.transpose(1, 2), rows)
        grads = (grad_query, grad_key, grad_value)
        query, key, value = (x.reshape(shape) for x, shape in zip(grads, ctx.shapes, strict=True))
        return query, key, value, None, None


class CrossEntropy(Function):
    """The mean over class numbers that are not ignored."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """(N, classes) and (N,) to a scalar."""
        kept = target != ignore_index
        label = torch.where(kept, target, 0)[:, None]  # (N, 1)
        logs = aten._log_softmax(x, 1, False)
        count = kept.to(x.dtype).sum()
        ctx.save_for_backward(logs, label, torch.where(kept, 1 / count, 0))  # no 0 / 0 if all are ignored
        return -torch.where(kept, logs.gather(1, label)[:, 0], 0).sum() / count

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Softmax less one at the label, times the row's weight."""
        logs, label, weight = ctx.saved_tensors
        rows = (weight * grad)[:, None]  # (N, 1)
        return (logs.exp() * rows).scatter_add(1, label, -rows), None, None


def shorten(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Let the functions above stand for the operators of a training entry that they know."""
    for node in module.graph.nodes:
        if node.target is spelled.attention and not _has_plain_mask(module, node.args):
            continue
        node.target = SHORTER.get(node.target, node.target)
    module.recompile()
    return module


def _has_plain_mask(module: torch.fx.GraphModule, arguments: tuple[Any, ...]) -> bool:
    """Whether the mask is absent, or a constant that leaves every query something to attend to."""
    if arguments[3] is None:
        return True
    if arguments[3].op != "get_attr":
        return False
    mask = module.get_buffer(arguments[3].target)
    return bool((mask.any(-1) if mask.dtype == torch.bool else torch.isfinite(mask).any(-1)).all())


def _attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: float, enable_gqa: bool
) -> Any:
    if query.ndim != 4:
        return spelled.attention(query, key, value, mask, is_causal, scale, enable_gqa)
    if is_causal:
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.where(mask, 0.0, -torch.inf)
    return Attention.apply(query, key, value, mask, scale)


def _cross_entropy(
    x: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int, label_smoothing: float
) -> Any:
    if weight is None and reduction == 1 and not label_smoothing and x.ndim == 2 and target.ndim == 1:
        return CrossEntropy.apply(x, target, ignore_index)
    return aten.cross_entropy_loss(x, target, weight, reduction, ignore_index, label_smoothing)


def _rms_norm(x: Tensor, shape: list[int], weight: Tensor | None, eps: float) -> Any:
    return (RMSNorm.apply if len(shape) == 1 else torch.nn.functional.rms_norm)(x, shape, weight, eps)


def _rotary_embedding(x: Tensor, cos: Tensor, sin: Tensor) -> Any:
    return RotaryEmbedding.apply(x, cos, sin)


def _batch_norm(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Any:
    return BatchNorm.apply(x, weight, bias, mean, var, eps)


def _adaptive_avg_pool(x: Tensor, size: list[int]) -> Tensor:
    """A product with each cell's shares, dimension by dimension, as the expansion has it."""
    for at, cells in enumerate(size, x.ndim - len(size)):
        length, cell = x.shape[at], torch.arange(cells)
        start, end = cell * length // cells, ((cell + 1) * length + cells - 1) // cells  # (cells,)
        pixel = torch.arange(length)[:, None]  # (length, 1)
        share = ((pixel >= start) & (pixel < end)).to(x.dtype) / (end - start)
        x = (x.transpose(at, -1) @ share).transpose(at, -1)
    return x


SHORTER: Mapping[Any, Callable[..., Any]] = {
    spelled.attention: _attention,
    spelled.batch_norm: _batch_norm,
    spelled.rotary_embedding: _rotary_embedding,
    **GRADIENTS,
    torch.nn.functional.rms_norm: _rms_norm,
    aten.adaptive_avg_pool1d: _adaptive_avg_pool,
    aten.adaptive_avg_pool2d: _adaptive_avg_pool,
    aten.cross_entropy_loss: _cross_entropy,
}
"""By what a Program's operator is in a torch module."""
