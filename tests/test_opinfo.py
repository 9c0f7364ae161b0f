"""Operators by PyTorch's own samples: those at which `make opinfo` found something, so that it stays found.

They run in a process of their own: what has the samples changes settings of PyTorch when it is imported.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.in_ci import long

NAMES = (
    *("addbmm", "cdist", "cummax", "cumsum", "div.trunc_rounding", "index_put", "index_select", "logcumsumexp"),
    *("masked_scatter", "max.reduction_with_dim", "median", "prod", "roll", "scatter", "scatter_reduce.amax", "sort"),
    *("nn.functional.max_pool3d", "nn.functional.pad.replicate", "nn.functional.rms_norm"),
    *("nn.functional.upsample_nearest", "nn.functional.adaptive_avg_pool2d", "nn.functional.adaptive_max_pool2d"),
    *("nn.functional.avg_pool2d", "nn.functional.avg_pool3d", "nn.functional.conv2d"),
    *("nn.functional.conv_transpose2d", "nn.functional.cosine_similarity", "nn.functional.cross_entropy"),
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came of each operator in float32."""
    file = tmp_path_factory.mktemp("opinfo") / "rows.jsonl"
    command = [sys.executable, "-m", "tests.opinfo", "--dtype", "float32", "--results", str(file), *NAMES]
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True)
    found = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {row["operator"]: row for row in found}


@long
@pytest.mark.parametrize("name", NAMES)
def test_operator(rows: dict[str, dict[str, Any]], name: str) -> None:
    """Its results and gradients are PyTorch's in float64, also with the fewest operators, and in one graph."""
    assert {} == rows[name]["said"]
    assert rows[name]["counts"]["right"]
