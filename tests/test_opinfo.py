"""Operators by PyTorch's own samples: those at which `make opinfo` found something, so that it stays found."""

from __future__ import annotations

import pytest
import torch
from tests.opinfo import outcome
from tests.opinfo.samples import title
from torch.testing._internal.common_methods_invocations import op_db

INFOS = {title(info): info for info in op_db}
NAMES = (
    *("addbmm", "cdist", "cummax", "cumsum", "div.trunc_rounding", "index_put", "index_select", "logcumsumexp"),
    *("masked_scatter", "max.reduction_with_dim", "median", "prod", "roll", "scatter", "scatter_reduce.amax", "sort"),
    *("nn.functional.max_pool3d", "nn.functional.pad.replicate", "nn.functional.rms_norm"),
    *("nn.functional.upsample_nearest", "nn.functional.adaptive_avg_pool2d", "nn.functional.adaptive_max_pool2d"),
    *("nn.functional.avg_pool2d", "nn.functional.avg_pool3d", "nn.functional.conv2d"),
    *("nn.functional.conv_transpose2d", "nn.functional.cosine_similarity", "nn.functional.cross_entropy"),
)


@pytest.mark.parametrize("name", NAMES)
def test_operator(name: str) -> None:
    """Its results and gradients are PyTorch's in float64, also with the fewest operators, and in one graph."""
    row = outcome.of(INFOS[name], torch.float32)

    assert {} == row["said"]
    assert row["counts"]["right"]
