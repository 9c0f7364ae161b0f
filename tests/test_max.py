"""The adapter of MAX: what becomes of results where images and kernels lie in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from tests.conformance import ROOT
from tests.small_entries import Small, spec

from pytest_inferena.worker import Program, Setup
from pytest_inferena.worker.format import Ref
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("max.graph", reason="the extra 'max' is not installed")


def test_gradients_of_kernels_lie_as_the_program_has_them(tmp_path: Path) -> None:
    """A joint entry computes them like any other result, whichever way the convolution reads its kernel."""
    torch.manual_seed(0)
    small = Small("joint", {"x": torch.randn(2, 3, 8, 8)}, {"weight": torch.randn(4, 3, 3, 3)})
    window = {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1}
    image = small.add("conv2d", {"input": Ref("x"), "weight": Ref("weight"), "bias": None, **window})[0]
    gradient = small.add("relu", {"self": torch.randn(4, 3, 3, 3)})[0]
    entry = small.entry({"image": image, "grad:weight": gradient})
    specs = {name: spec(name, value) for name, value in small.parameters.items()}
    adapter = load_adapter("max", ROOT / "adapters" / "max" / "adapter.py").Adapter(Setup("cpu", "cpu", 1, tmp_path))
    weights = {name: value.detach().numpy() for name, value in small.parameters.items()}
    adapter.load(Program(tmp_path, "small", specs, frozenset(specs)), weights)
    step = adapter.compile(entry)
    step()
    step.synchronize()
    found = step.outputs()

    for name, made in entry.outputs.items():
        np.testing.assert_allclose(small.made[made].detach().numpy(), found[name], rtol=0, atol=1e-5)
