from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

from pytest_inferena.prepare import reference
from pytest_inferena.prepare.case import Case
from pytest_inferena.verdict.gate import judge

if TYPE_CHECKING:
    from pathlib import Path


class _Net(nn.Module):
    """A tied pair of matrices, a parameter that is not used, a frozen one, and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.unused = nn.Parameter(torch.ones(2))
        self.frozen = nn.Parameter(torch.ones(4), requires_grad=False)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4) to (B, 4)."""
        return self.second(self.dropout(self.first(x))) * self.frozen


@pytest.fixture
def case() -> Case:
    """A small module with everything that a gradient can be."""
    torch.manual_seed(0)
    x = torch.randn(3, 4)
    return Case(
        module=_Net(),
        inputs={"x": x},
        latency={"x": x[:1]},
        targets={"y": torch.randn(3, 4)},
        loss=lambda output, y: (output - y).pow(2).mean(),
    )


def test_training_has_loss_and_gradients(case: Case) -> None:
    """Tied ones once under their first name, frozen ones not at all, unused ones as None, no outputs."""
    found = reference.golden(case, "training")

    assert ["loss", "grad:unused", "grad:first.weight", "grad:first.bias"] == list(found)
    assert found["grad:unused"] is None


@pytest.mark.parametrize(("entry", "rows"), [("inference", 3), ("latency", 1)])
def test_entries_have_their_own_inputs(case: Case, entry: str, rows: int) -> None:
    """Each is run in float64, with the outputs by name."""
    case = dataclasses.replace(case, outputs=("logits",))

    output = reference.golden(case, entry)["logits"]

    assert output is not None
    assert ((rows, 4), torch.float64, False) == (tuple(output.shape), output.dtype, output.requires_grad)


def test_module_stays_as_it_is(case: Case) -> None:
    """Neither its dtype nor its gradients are touched, and dropout is off."""
    before = {name: tensor.clone() for name, tensor in case.module.state_dict().items()}

    first, second = (reference.golden(case, "inference")["output"] for _ in range(2))

    assert torch.equal(first, second)
    for name, tensor in case.module.state_dict().items():
        assert torch.equal(before[name], tensor)
    assert all(parameter.grad is None for parameter in case.module.parameters())


def test_gradients_are_the_derivative_of_the_loss(case: Case) -> None:
    """A small step along one element changes the loss as its gradient says."""
    gradient = reference.golden(case, "training")["grad:first.weight"]
    losses = []
    for step in (-1e-6, 1e-6):
        module = _Net().double()
        module.load_state_dict(case.module.state_dict())
        with torch.no_grad():
            module.first.weight[1, 2] += step
        losses.append(float(reference.run(module, case, "training", torch.float64)["loss"]))  # type: ignore[arg-type]

    assert gradient is not None
    assert (losses[1] - losses[0]) / 2e-6 == pytest.approx(float(gradient[1, 2]), rel=1e-6)


def test_written_golden_is_what_the_gate_wants(case: Case, tmp_path: Path) -> None:
    """float32, scalars as scalars; the figures beside it are small, and PyTorch itself passes."""
    record = reference.write_golden(case, "training", tmp_path)

    written: dict[str, Any] = load_file(tmp_path / "golden-training.safetensors")
    assert ["grad:unused"] == record["none"]
    assert written.keys() == record["tensors"].keys()
    assert {np.dtype(np.float32)} == {tensor.dtype for tensor in written.values()}
    assert () == written["loss"].shape
    assert max(record["tensors"].values()) < 1e-5
    tensors = reference.run(case.module, case, "training")
    result = {name: None if x is None else x.numpy() for name, x in tensors.items()}
    verdict = judge(written | dict.fromkeys(record["none"]), record["tensors"], result)
    assert ("pass", 4) == (verdict.outcome, verdict.tensors)


def test_integer_outputs_stay_integers(case: Case, tmp_path: Path) -> None:
    """Token ids are no measurement."""
    case.module.forward = lambda x: x.argmax(-1)

    reference.write_golden(case, "inference", tmp_path)

    assert np.int64 == load_file(tmp_path / "golden-inference.safetensors")["output"].dtype


def test_reference_that_does_not_repeat_is_refused(case: Case) -> None:
    """The message names the tensor, and what may be the matter."""
    right = reference.golden(case, "inference")["output"]
    forward = case.module.forward
    case.module.forward = lambda x: forward(x) * (1 + 1e-4 * torch.rand(1))

    with pytest.raises(RuntimeError, match=r"output: two runs .* differ by NRMSE .* nondeterministic"):
        reference.reference_errors(case, "inference", {"output": right.float().numpy()})  # type: ignore[union-attr]


@pytest.mark.parametrize("entry", ["inference", "training"])
def test_what_is_not_finite_is_refused(case: Case, entry: str) -> None:
    """With the tensor, and where to look."""
    with torch.no_grad():
        case.module.first.bias.fill_(torch.inf)

    with pytest.raises(ValueError, match=r"(output|loss) is not finite in float64: .*check the"):
        reference.golden(case, entry)


def test_loss_has_to_be_a_scalar(case: Case) -> None:
    """A loss for each element has no gradient."""
    case = dataclasses.replace(case, loss=lambda output, y: output - y)

    with pytest.raises(ValueError, match=r"loss has shape \(3, 4\); reduce it"):
        reference.golden(case, "training")


def test_outputs_have_to_be_named(case: Case) -> None:
    """One name for each of them."""
    case = dataclasses.replace(case, outputs=("a", "b"))

    with pytest.raises(ValueError, match=r"returns 1 tensor \(output\) and `outputs` names 2: a, b; name each"):
        reference.golden(case, "inference")
