"""Functions of PyTorch whose operators are beyond the closed set, by example."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.zeros(2, 8, 8, dtype=torch.long)

ROW = torch.tensor([0, 2, 0])
PLACES = torch.tensor([3, 0, 3, 7, 1, 3, 0, 5]).expand(2, 3, 8, 8)
"""Numbers along the last dimension, some more than once."""
ENDS = torch.tensor([3, 3, 8], dtype=torch.int32)
"""Of groups of rows; one is empty."""


def transformers_grouped_mm() -> Callable[..., Tensor]:
    """What mixtures of experts of transformers call while they are exported."""
    import transformers.integrations.moe  # noqa: F401 - registers it

    found: Callable[..., Tensor] = torch.ops.transformers.grouped_mm_fallback
    return found


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "acos": lambda x: torch.acos(x * 0.2),
    "acosh": lambda x: torch.acosh(x.abs() + 1.1),
    "asin": lambda x: torch.asin(x * 0.2),
    "asinh": lambda x: torch.asinh(x * 3),
    "atan": lambda x: torch.atan(x * 3),
    "atan2": lambda x: torch.atan2(x, x.flip(1)),
    "atanh": lambda x: torch.atanh(x * 0.2),
    "celu": F.celu,
    "copysign": lambda x: torch.copysign(x, -x),
    "cosh": torch.cosh,
    "elu": F.elu,
    "erfc": torch.erfc,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "frac": torch.frac,
    "fmod": lambda x: torch.fmod(x, 0.7),
    "hardshrink": F.hardshrink,
    "hypot": lambda x: torch.hypot(x, x + 1),
    "leaky_relu": F.leaky_relu,
    "lerp": lambda x: torch.lerp(x, x * 2, 0.3),
    "log10": lambda x: torch.log10(x.abs() + 0.1),
    "log2": lambda x: torch.log2(x.abs() + 0.1),
    "logsigmoid": F.logsigmoid,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.1])),
    "remainder": lambda x: torch.remainder(x, 0.7),
    "selu": F.selu,
    "sinc": torch.sinc,
    "sinh": torch.sinh,
    "softshrink": F.softshrink,
    "softsign": F.softsign,
    "tan": torch.tan,
    "threshold": lambda x: F.threshold(x, 0.1, 20),
    "xlogy": lambda x: torch.xlogy(x, x.abs() + 1),
}
"""Of single numbers."""
WHOLE: dict[str, Callable[[Tensor], Tensor]] = {
    "adaptive_avg_pool3d": lambda x: F.adaptive_avg_pool3d(x[:, None], (2, 5, 3)),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, (3, 5)),
    "addbmm": lambda x: torch.addbmm(x[0, 0], x[1], x[0], beta=0.5),
    "amin": lambda x: x.amin(1),
    "avg_pool3d": lambda x: F.avg_pool3d(x[:, None], 2),
    "avg_pool3d-padded": lambda x: F.avg_pool3d(x[:, None], 3, 2, 1, ceil_mode=True),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "avg_pool2d-alone": lambda x: F.avg_pool2d(x[0], 3, 2, 1, count_include_pad=False),
    "avg_pool2d-inside": lambda x: F.avg_pool2d(x, (3, 2), 2, (1, 0), ceil_mode=True, count_include_pad=False),
    "max_pool2d-alone": lambda x: F.max_pool2d(x[0], 3, 2, 1),
    "bicubic": lambda x: F.interpolate(x, size=(5, 11), mode="bicubic"),
    "bilinear-layer": lambda x: F.bilinear(x[0, :, 0], x[1, :, 1], x[0, :2]),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "bilinear-aligned": lambda x: F.interpolate(x, size=(5, 11), mode="bilinear", align_corners=True),
    "bilinear-scales": lambda x: F.interpolate(x, scale_factor=(1.3, 0.7), mode="bilinear"),
    "cdist": lambda x: torch.cdist(x[0], x[1]),
    "clamp-tensor": lambda x: x.clamp(min=x.mean()),
    "conv2d-image": lambda x: F.conv2d(x[0], torch.ones(2, 3, 2, 4)),
    "cosine_similarity": lambda x: F.cosine_similarity(x[0], x[1]),
    "cross_entropy-images": lambda x: F.cross_entropy(x, LABELS),
    "cross_entropy-shares": lambda x: F.cross_entropy(x, x.softmax(1)),
    "cummax": lambda x: x.cummax(1)[0],
    "cumprod": lambda x: x.cumprod(1),
    "diag_embed": lambda x: torch.diag_embed(x[0]),
    "einsum": lambda x: torch.einsum("bchw,bdhw->bcd", x, x),
    "fold": lambda x: F.fold(x.reshape(2, 12, 16), (5, 5), 2),
    "grid_sample": lambda x: F.grid_sample(x, torch.tanh(x.permute(0, 2, 3, 1)[..., :2]), align_corners=False),
    "grouped_mm": lambda x: torch._grouped_mm(x[0, 0], x[1], offs=ENDS),
    "grouped_mm-columns": lambda x: torch._grouped_mm(x[0], x[1, 1], offs=ENDS),
    "grouped_mm-sums": lambda x: torch._grouped_mm(x[0, 0], x[1, 1], offs=ENDS),
    "grouped_mm-of-transformers": lambda x: transformers_grouped_mm()(x[0, 0], x[1], ENDS),
    "huber_loss": lambda x: F.huber_loss(x, x * 2),
    "index-mask": lambda x: x.index_put((torch.tensor([True, False]),), torch.ones(8), accumulate=True),
    "index_put-in-place": lambda x: torch.ops.aten.index_put(x[0, 0], [ROW[:2] - 2], x[1, 0, :2] * 2),
    "index_put-last": lambda x: torch.ops.aten.index_put(x, [None, ROW, None, ROW + 1], x[0, 0, 0], True),
    "index_add": lambda x: torch.index_add(x, 1, torch.tensor([0, 2]), x[:, :2]),
    "kthvalue": lambda x: x.kthvalue(2, 2)[0],
    "linear": lambda x: F.interpolate(x[0], size=13, mode="linear"),
    "local_response_norm": lambda x: F.local_response_norm(x, 2),
    "logcumsumexp": lambda x: x.logcumsumexp(2),
    "logsumexp": lambda x: torch.logsumexp(x, 1),
    "lp_pool2d": lambda x: F.lp_pool2d(x.abs() + 0.1, 2, 2),
    "masked_scatter": lambda x: x.masked_scatter(IMAGE > 0, x.flip(0)),
    "max": lambda x: x.max(2)[0],
    "max-all": lambda x: x.max().reshape(1),
    "max_pool1d": lambda x: F.max_pool1d(x[0], 2),
    "max_pool3d": lambda x: F.max_pool3d(x[:, None], 2),
    "max_pool3d-over": lambda x: F.max_pool3d(x[:, None], 3, 2, 1, ceil_mode=True, return_indices=True)[0],
    "median": lambda x: x.median(2)[0],
    "min": lambda x: x.min(1, keepdim=True)[0],
    "nearest-exact": lambda x: F.interpolate(x, size=(5, 11), mode="nearest-exact"),
    "nearest-fraction": lambda x: F.interpolate(x, size=(5, 11)),
    "nearest-scale": lambda x: F.interpolate(x, scale_factor=(1.7, 0.6)),
    "nearest-rows": lambda x: F.interpolate(x[0], size=13),
    "nll_loss": lambda x: F.nll_loss(x.log_softmax(1), LABELS),
    "norm": lambda x: torch.linalg.vector_norm(x, dim=1),
    "norm-1": lambda x: torch.linalg.vector_norm(x, 1, dim=(1, 2)),
    "norm-3": lambda x: torch.linalg.vector_norm(x, 3, dim=-1, keepdim=True),
    "norm-largest": lambda x: torch.linalg.vector_norm(x, float("inf")),
    "normalize": lambda x: F.normalize(x, dim=1),
    "pad-replicate": lambda x: F.pad(x, (1, 2, 0, 1), mode="replicate"),
    "pairwise_distance": lambda x: F.pairwise_distance(x[0], x[1]),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "prod": lambda x: x.prod(1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "rms_norm": lambda x: F.rms_norm(x, (8,)),
    "roll-flat": lambda x: x.roll(5),
    "scatter": lambda x: x.scatter(3, IMAGE.argsort(3), x * 2),
    "scatter_reduce": lambda x: x.scatter_reduce(3, PLACES, x * 2, "amax"),
    "scatter_reduce-mean": lambda x: x.scatter_reduce(3, PLACES, x * 2, "mean", include_self=False),
    "smooth_l1_loss": lambda x: F.smooth_l1_loss(x, x * 2),
    "sort": lambda x: x.sort(2, descending=True)[0],
    "topk": lambda x: x.topk(2, 1)[0],
    "trilinear": lambda x: F.interpolate(x[:, None], size=(2, 5, 11), mode="trilinear"),
    "tril": torch.tril,
    "unfold": lambda x: F.unfold(x, 3),
}
"""Of whole tensors."""
STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "argmax": lambda x: x.argmax(1),
    "argmin-all": lambda x: x.argmin(),
    "cummax-places": lambda x: torch.round(x).cummax(3)[1],
    "div-trunc": lambda x: torch.div(x * 9, 2, rounding_mode="trunc"),
    "max_pool3d-places": lambda x: F.max_pool3d(x[:, None], 3, 2, 1, ceil_mode=True, return_indices=True)[1],
    "histc": lambda x: x.histc(5, -1, 2),
    "histc-of-integers": lambda x: (x * 3).long().clamp(0, 7).float().histc(8, 0, 7),
    "histc-whole": lambda x: x.histc(4),
    "inverse-permutation": lambda x: torch.ops.aten.index_put(
        torch.zeros(8, dtype=torch.long), [x[0, 0, 0].argsort()], torch.arange(8)
    ),
    "sort-places": lambda x: torch.round(x).sort(dim=3, stable=True)[1],
    "topk-places": lambda x: x.topk(3, 2, largest=False)[1],
    "ceil": lambda x: torch.ceil(x * 3),
    "floor": lambda x: torch.floor(x * 3),
    "isnan": lambda x: torch.isnan(x.log()),
    "max-place": lambda x: x.max(2)[1],
    "remainder-integers": lambda x: torch.remainder((x * 9).long(), 4),
    "round": lambda x: torch.round(torch.round(x * 4) / 2),
    "sign": torch.sign,
    "trunc": lambda x: torch.trunc(x * 3),
}
"""Of which no gradient is asked."""
MODULES: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "conv3d": (lambda: nn.Conv3d(1, 2, 3, padding=1), IMAGE[:, :1, None].expand(2, 1, 5, 8, 8).contiguous()),
    "conv_transpose1d": (lambda: nn.ConvTranspose1d(3, 4, 3, stride=2, output_padding=1), IMAGE[:, :, 0]),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(3, 6, 3, stride=2, padding=1, groups=3), IMAGE),
    "conv_transpose3d": (lambda: nn.ConvTranspose3d(3, 2, 2, stride=2), IMAGE[..., None]),
    "embedding_bag": (lambda: nn.EmbeddingBag(10, 4), torch.arange(15).reshape(3, 5) % 10),
    "embedding_bag-sum": (lambda: nn.EmbeddingBag(10, 4, mode="sum"), torch.arange(15).reshape(3, 5) % 7),
    "gru": (lambda: nn.GRU(8, 5, batch_first=True), IMAGE[0]),
    "lstm": (lambda: nn.LSTM(8, 5, num_layers=2, batch_first=True, bidirectional=True), IMAGE[0]),
    "rnn": (lambda: nn.RNN(8, 5, batch_first=True), IMAGE[0]),
}
"""Modules with an input each."""
