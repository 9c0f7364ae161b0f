"""The adapter of MAX: what becomes of results where images and kernels lie in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from tests.conformance import ROOT
from tests.operator_cases import CASES
from tests.programs import entry_of
from tests.small_entries import Small, forward, spec

from pytest_inferena.program.expand import expand
from pytest_inferena.worker import Program, Setup, Unsupported
from pytest_inferena.worker.capabilities import require
from pytest_inferena.worker.format import Ref
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("max.graph", reason="the extra 'max' is not installed")
ADAPTER = ROOT / "adapters" / "max" / "adapter.py"
LACKS = {"bitwise_and-integers", "bitwise_not-integers", "bitwise_or-integers"}


@pytest.mark.parametrize("name", CASES)
def test_every_case_becomes_a_graph(name: str) -> None:
    """What MAX lacks is expanded, and MAX takes each node of it; compiling them all would take an hour."""
    module = load_adapter("max", ADAPTER)
    small, entry, _ = forward({name: CASES[name]})
    inputs, entry = entry.arrays("inputs"), entry_of(expand(entry, module.Adapter.operators)[0], entry.name)
    if name in LACKS:
        with pytest.raises(Unsupported, match=f"unsupported operator aten.{CASES[name][0]}, node"):
            require(module.Adapter.operators, entry)
        return
    require(module.Adapter.operators, entry)
    entry._arrays["inputs"] = inputs
    made = module.channels_last(entry, module.kernels_last, module.ANCHORS - {"group_norm"})
    weights = {key: made.permute(key, value.detach().numpy()) for key, value in small.parameters.items()}
    graph = module.built(made.entry, inputs, weights)

    assert [list(spec.shape) for spec in map(entry.specs.get, entry.outputs.values()) if spec] == [
        [int(size) for size in made.shape] for made in graph.output_types
    ]


def test_gradients_of_kernels_lie_as_the_program_has_them(tmp_path: Path) -> None:
    """A joint entry computes them like any other result, whichever way the convolution reads its kernel."""
    torch.manual_seed(0)
    small = Small("joint", {"x": torch.randn(2, 3, 8, 8)}, {"weight": torch.randn(4, 3, 3, 3)})
    window = {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1}
    image = small.add("conv2d", {"input": Ref("x"), "weight": Ref("weight"), "bias": None, **window})[0]
    gradient = small.add("relu", {"self": torch.randn(4, 3, 3, 3)})[0]
    entry = small.entry({"image": image, "grad:weight": gradient})
    specs = {name: spec(name, value) for name, value in small.parameters.items()}
    adapter = load_adapter("max", ADAPTER).Adapter(Setup("cpu", "cpu", 1, tmp_path))
    weights = {name: value.detach().numpy() for name, value in small.parameters.items()}
    adapter.load(Program(tmp_path, "small", specs, frozenset(specs)), weights)
    step = adapter.compile(entry)
    step()
    step.synchronize()
    found = step.outputs()

    for name, made in entry.outputs.items():
        np.testing.assert_allclose(small.made[made].detach().numpy(), found[name], rtol=0, atol=1e-5)
