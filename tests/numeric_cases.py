"""Functions at whose edges an expansion may compute 0 · ∞ where PyTorch does not."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Function = Callable[[Tensor], Tensor]

EDGES = [0.0, 1e-30, -1e-30, 0.5, -0.5, 3.0, -3.0, 100.0, -100.0, 1e30, -1e30, inf, -inf, nan]
POINTS = torch.tensor(EDGES)
ROWS = torch.tensor([
    [0.0, 0.0, 0.0], [1e-30, -1e-30, 0.0], [1.0, 0.0, -2.0], [100.0, -100.0, 0.0], [1e30, 1.0, -1e30],
    [inf, 1.0, 0.0], [-inf, 1.0, 0.0], [-inf, 2.0, -inf], [-inf, -inf, -inf], [3.0, 3.0, 3.0], [0.0, 0.0, 5.0],
    [inf, -inf, 1.0], [inf, inf, 0.0],
])  # fmt: skip
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 1, 1, 0, 2, -100, 0, 1])
LOST = torch.full_like(LABELS, -100)

SINGLE: dict[str, Function] = {
    "abs": torch.abs,
    "atan": torch.atan,
    "celu": lambda x: F.celu(x, 0.7),
    "clamp": lambda x: x.clamp(-1.0, 2.0),
    "cosh": torch.cosh,
    "elu": lambda x: F.elu(x, 0.3),
    "erf": torch.erf,
    "erfc": torch.erfc,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "gelu": F.gelu,
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardshrink": F.hardshrink,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "hardtanh": F.hardtanh,
    "leaky_relu": F.leaky_relu,
    "log": torch.log,
    "log-safe": lambda x: torch.where(x > 0, torch.where(x > 0, x, 1.0).log(), 0.0),
    "log10": torch.log10,
    "log1p": torch.log1p,
    "log1p-exp": lambda x: torch.log1p(torch.exp(-x.abs())),
    "log2": torch.log2,
    "logaddexp": lambda x: torch.logaddexp(x, x.detach() * 0.5),
    "logsigmoid": F.logsigmoid,
    "mish": F.mish,
    "pow-2": lambda x: x**2,
    "pow-3": lambda x: x**3,
    "pow-0": lambda x: x**0,
    "pow-1": lambda x: x**1,
    "pow-half": lambda x: x**0.5,
    "pow-minus": lambda x: x**-1,
    "pow-minus-2": lambda x: x**-2,
    "pow-minus-half": lambda x: x**-0.5,
    "pow-other": lambda x: x**1.7,
    "pow-of-2": lambda x: 2.0**x,
    "pow-tensors": lambda x: x ** torch.full_like(POINTS, 2.0),
    "reciprocal": torch.reciprocal,
    "relu": torch.relu,
    "relu6": F.relu6,
    "rsqrt": torch.rsqrt,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "sinc": torch.sinc,
    "sinh": torch.sinh,
    "softplus": F.softplus,
    "softplus-beta": lambda x: F.softplus(x, 3.0, 5.0),
    "softshrink": F.softshrink,
    "softsign": F.softsign,
    "sqrt": torch.sqrt,
    "sqrt-relu": lambda x: torch.sqrt(torch.relu(x)),
    "square": torch.square,
    "tanh": torch.tanh,
    "tanhshrink": F.tanhshrink,
    "threshold": lambda x: F.threshold(x, 0.1, 20.0),
    "where-exp": lambda x: torch.where(x > 10, x, x.exp().log1p()),
    "where-overflow": lambda x: torch.where(x > 50, x, torch.exp(x)),
    "where-safe": lambda x: torch.where(x > 50, x, torch.exp(x.clamp(max=50))),
    "xlogy": lambda x: torch.xlogy(x, x),
    "xlogy-other": lambda x: torch.xlogy(x, x.detach().abs() + 1),
    "huber": lambda x: F.huber_loss(x, torch.zeros_like(x), reduction="none"),
    "huber-delta": lambda x: F.huber_loss(x, torch.ones_like(x), reduction="none", delta=0.3),
    "smooth_l1": lambda x: F.smooth_l1_loss(x, torch.zeros_like(x), reduction="none"),
    "smooth_l1-beta": lambda x: F.smooth_l1_loss(x, torch.ones_like(x), reduction="none", beta=0.3),
    "l1": lambda x: F.l1_loss(x, torch.zeros_like(x), reduction="none"),
    "bce_with_logits": lambda x: F.binary_cross_entropy_with_logits(x, torch.ones_like(x) * 0.3, reduction="none"),
    "bce_with_logits-0": lambda x: F.binary_cross_entropy_with_logits(x, torch.zeros_like(x), reduction="none"),
    "bce_with_logits-weight": lambda x: F.binary_cross_entropy_with_logits(
        x, torch.ones_like(x), reduction="none", pos_weight=torch.tensor(2.0)
    ),
    "kl_div": lambda x: F.kl_div(x, torch.tensor([0.0, 0.5, 1.0])[torch.arange(len(EDGES)) % 3], reduction="none"),
    "kl_div-log": lambda x: F.kl_div(x, torch.full_like(x, -1.0), reduction="none", log_target=True),
    "soft_margin": lambda x: F.soft_margin_loss(x, torch.ones_like(x), reduction="none"),
    "hinge": lambda x: F.hinge_embedding_loss(x, torch.ones_like(x), reduction="none"),
    "hypot": lambda x: torch.hypot(x, torch.zeros_like(x)),
    "atan2": lambda x: torch.atan2(x, x.detach() * 0 + 1),
    "asinh": torch.asinh,
    "div-by": lambda x: 1.0 / x,
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "minimum": lambda x: torch.minimum(x, torch.zeros_like(x)),
}
ROWWISE: dict[str, Function] = {
    "amax": lambda x: x.amax(1),
    "amin": lambda x: x.amin(1),
    "aminmax": lambda x: torch.aminmax(x, dim=1)[1],
    "cosine_similarity": lambda x: F.cosine_similarity(x, x.detach().flip(1), dim=1),
    "cosine_similarity-ones": lambda x: F.cosine_similarity(x, torch.ones_like(x), dim=1),
    "cross_entropy": lambda x: F.cross_entropy(x, LABELS, reduction="none"),
    "cross_entropy-ignored": lambda x: F.cross_entropy(x[:5], LOST[:5], reduction="sum"),
    "cross_entropy-all-ignored": lambda x: F.cross_entropy(x[:5], LOST[:5]),
    "cross_entropy-smooth": lambda x: F.cross_entropy(x, LABELS, reduction="none", label_smoothing=0.1),
    "dist": lambda x: torch.dist(x[:5], x[:5].detach()),
    "glu": lambda x: F.glu(torch.cat([x, x], 1), 1),
    "layer_norm": lambda x: F.layer_norm(x, [3]),
    "log_softmax": lambda x: x.log_softmax(1),
    "logsumexp": lambda x: x.logsumexp(1),
    "logsumexp-all": lambda x: x[:5].logsumexp((0, 1)),
    "logsumexp-both": lambda x: x[None].logsumexp((0, 2)),
    "max": lambda x: x.max(1)[0],
    "mean": lambda x: x.mean(1),
    "min": lambda x: x.min(1)[0],
    "nll": lambda x: F.nll_loss(x, LABELS, reduction="none"),
    "norm": lambda x: x.norm(dim=1),
    "norm-1": lambda x: x.norm(1, 1),
    "norm-3": lambda x: x.norm(3, 1),
    "norm-half": lambda x: x.norm(0.5, 1),
    "norm-inf": lambda x: x.norm(inf, 1),
    "norm-minus-inf": lambda x: x.norm(-inf, 1),
    "norm-all": lambda x: x[:4].norm(),
    "norm-two-dims": lambda x: torch.stack([x, x], 1).norm(dim=(1, 2)),
    "norm-two-dims-1": lambda x: torch.linalg.vector_norm(torch.stack([x, x], 1), 1, dim=(1, 2)),
    "norm-two-dims-inf": lambda x: torch.linalg.vector_norm(torch.stack([x, x * 2], 1), inf, dim=(1, 2)),
    "matrix_norm": lambda x: torch.linalg.matrix_norm(torch.stack([x, x], 1)),
    "normalize": lambda x: F.normalize(x, dim=1),
    "normalize-1": lambda x: F.normalize(x, p=1, dim=1),
    "pairwise_distance": lambda x: F.pairwise_distance(x, torch.zeros_like(x)),
    "pairwise_distance-same": lambda x: F.pairwise_distance(x, x.detach()),
    "prod": lambda x: x.prod(1),
    "prod-all": lambda x: x[:2].prod(),
    "rms_norm": lambda x: F.rms_norm(x, [3], torch.ones(3), 1e-6),
    "safe_norm": lambda x: x / (x.norm(dim=1, keepdim=True) + 1e-6),
    "softmax": lambda x: x.softmax(1),
    "softmin": lambda x: F.softmin(x, 1),
    "std": lambda x: x.std(1),
    "std-all": lambda x: x[9:10].std(),
    "std-biased": lambda x: x.std(1, unbiased=False),
    "std_mean": lambda x: torch.std_mean(x, 1)[0],
    "sum": lambda x: x.sum(1),
    "var": lambda x: x.var(1),
    "var-biased": lambda x: x.var(1, correction=0),
    "triplet": lambda x: F.triplet_margin_loss(x, x.detach(), torch.zeros_like(x), reduction="none"),
    "group_norm": lambda x: F.group_norm(x[:, :, None], 1),
    "masked_softmax": lambda x: x.masked_fill(x == 0, -inf).softmax(1),
    "masked_mean": lambda x: torch.where(x > 0, x, 0.0).sum(1) / (x > 0).sum(1).clamp(min=1),
}
ELSEWHERE = {
    "pow-minus-half": [-inf],
    "pow-other": [1e30, inf, -inf],
    **{name: [1e-30, 1e30] for name in ("std", "std-biased", "std_mean")},
}
"""Points, or beginnings of rows, at which a function is not held against PyTorch's.

These are C's powers of -∞, a power that overflows, and squares beyond float32, which PyTorch has in float64.
"""
