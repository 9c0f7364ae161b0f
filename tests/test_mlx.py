"""Tests of what is special to the MLX adapter: which BLAS it runs, and devices that are not there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.test_attention_masks import MASKS, call

from pytest_inferena.worker import Setup, Unsupported
from pytest_inferena.worker.aten import attention
from pytest_inferena.worker.loading import load_adapter

mlx = pytest.importorskip("mlx.core", reason="mlx not installed: inferena setup mlx")
FILE = Path(__file__).parents[1] / "adapters" / "mlx" / "adapter.py"
PRODUCT = """
import sys
from pathlib import Path
from pytest_inferena.worker import Setup
from pytest_inferena.worker.loading import load_adapter
made = load_adapter("mlx", Path(sys.argv[1])).Adapter(Setup("cpu", "cpu", 1, Path()))
import mlx.core as mx
mx.eval(mx.ones((64, 64)) @ mx.ones((64, 64)))
print(made.describe())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MLX has Accelerate")
def test_it_says_whose_product_it_runs(tmp_path: Path) -> None:
    """The dynamic linker binds MLX's products to the library that the adapter names."""
    environment = os.environ | {"LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": str(tmp_path / "bindings")}
    command = [sys.executable, "-c", PRODUCT, str(FILE)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    log = "".join(file.read_text() for file in tmp_path.glob("bindings*"))
    bound = re.findall(r"binding file \S*/libmlx\.so \[0\] to (\S+) \[0\]: normal symbol `cblas_sgemm'", log)
    library = Path(bound[-1]).name

    named = "OpenBLAS" if "openblas" in library else "libmkl" if "mkl" in library else "the reference BLAS"
    assert named in said


@pytest.mark.skipif(mlx.metal.is_available(), reason="this machine has Metal")
def test_metal_that_is_not_there(tmp_path: Path) -> None:
    """The reason names what is missing."""
    module = load_adapter("mlx", FILE)

    with pytest.raises(Unsupported, match="no Metal on this machine: it needs a Mac with an Apple GPU"):
        module.Adapter(Setup("metal", "metal", 1, tmp_path))


@pytest.mark.parametrize("mask", ["keys", "keys-bias", "nothing", "nothing-bias"])
def test_query_that_may_attend_to_nothing_gets_zeros(mask: str) -> None:
    """As in PyTorch, with a mask or with numbers that are added."""
    given = call(MASKS[mask])
    arrays = [mlx.array(value.numpy()) if isinstance(value, torch.Tensor) else value for value in given.values()]

    found = load_adapter("mlx", FILE).attention(*arrays)

    np.testing.assert_allclose(np.array(found), attention(*given.values()).numpy(), atol=1e-5)
