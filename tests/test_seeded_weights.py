"""Tests of seeded weights: the same everywhere, and of a scale at which nothing vanishes or explodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from tests.nets import MODELS, small_case, smollm2
from torch import nn

from pytest_inferena.prepare.sources import load_case
from pytest_inferena.prepare.weights import resolve_weights, seed_weights

if TYPE_CHECKING:
    from pytest_inferena.prepare.case import Case


@pytest.fixture
def case() -> Case:
    """A small module without any published weights."""
    return small_case()


def test_seeded_weights_depend_on_seed_and_name_alone() -> None:
    """The same again, another with another seed, and none the same as another."""
    states = []
    for seed in (0, 0, 1):
        module = smollm2().module
        seed_weights(module, seed)
        states.append(module.state_dict())

    q_proj = [state["model.layers.0.self_attn.q_proj.weight"] for state in states]
    assert torch.equal(q_proj[0], q_proj[1])
    assert not torch.equal(q_proj[0], q_proj[2])
    assert not torch.equal(q_proj[0], states[0]["model.layers.1.self_attn.q_proj.weight"])


def test_seeded_weights_are_these() -> None:
    """They never change between versions or machines: results are compared across both."""
    layer = nn.Sequential(nn.Linear(4, 2))

    seed_weights(layer)

    expected = [[-0.5451, 0.6119, 0.1824, 0.0708], [-0.5126, 0.5189, -0.5162, 0.8812]]
    assert torch.allclose(torch.tensor(expected), layer[0].weight, atol=1e-4)


def test_seeded_weights_are_full_rank_and_scaled() -> None:
    """Standard deviations are 1 / sqrt(fan_in), for kernels too; norms are near one, biases near zero."""
    net = nn.Sequential(nn.Linear(256, 128), nn.Conv2d(32, 64, 3), nn.LayerNorm(512), nn.Embedding(300, 64))

    seed_weights(net.requires_grad_(requires_grad=False))

    spreads = [float(net[i].weight.std()) for i in (0, 1, 3)]
    assert [1 / 16, 1 / (32 * 9) ** 0.5, 1.5 / 8] == pytest.approx(spreads, rel=0.05)
    assert int(torch.linalg.matrix_rank(net[0].weight)) == 128
    assert [1.0, 0.1, 0.1] == pytest.approx(
        [float(net[2].weight.mean()), float(net[2].weight.std()), float(net[2].bias.std())], rel=0.2
    )


def test_seeding_leaves_eval_mode_and_requires_grad(case: Case) -> None:
    """A frozen parameter stays frozen, and a module in training does not stay so."""
    case.module.norm.weight.requires_grad_(requires_grad=False)
    case.module.train()

    assert "seeded" == resolve_weights(case, "seeded")
    assert [False, False, True] == [
        case.module.training,
        case.module.norm.weight.requires_grad,
        case.module.norm.bias.requires_grad,
    ]


def test_batch_norm_is_no_identity(case: Case) -> None:
    """Its statistics are those of noise, in float32, and there is one batch of them."""
    resolve_weights(case, "seeded")

    norm = case.module.norm
    assert not torch.allclose(norm.running_mean, torch.zeros(8), atol=1e-2)
    assert not torch.allclose(norm.running_var, torch.ones(8), atol=1e-2)
    assert (torch.float32, 1) == (norm.running_var.dtype, int(norm.num_batches_tracked))


def test_batch_norm_wants_inputs(case: Case) -> None:
    """Without them there is nothing to calibrate with."""
    with pytest.raises(ValueError, match="pass inputs"):
        seed_weights(case.module)


def test_relu_inputs_keep_off_zero() -> None:
    """No input of any ReLU of ResNet-50 is within rounding errors of the kink."""
    case = load_case(MODELS / "resnet50.py", "tiny")
    resolve_weights(case, "seeded")
    nearest: list[float] = []
    for child in case.module.modules():
        if isinstance(child, nn.ReLU):
            child.register_forward_pre_hook(lambda _, x: nearest.append(float(x[0].detach().abs().min())))

    case.module(**case.inputs)

    assert len(nearest) == 16
    assert min(nearest) > 1e-4


@pytest.mark.parametrize("name", ["smollm2", "resnet50", "whisper_tiny"])
def test_seeded_activations_have_unit_scale(name: str) -> None:
    """Outputs neither vanish nor explode, and the loss is that of a guess and a little more."""
    case = load_case(MODELS / f"{name}.py", "tiny")
    resolve_weights(case, "seeded")

    with torch.no_grad():
        output = case.module(**case.inputs)
        excess = float(case.loss(output, **case.targets)) - float(torch.tensor(output.shape[-1]).log())

    assert 0.3 < float(output.std()) < 3
    assert -0.5 < excess < 2
