"""Tests of joint graphs: loss and gradients are autograd's, and so is every gradient written by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.programs import captured, entry_of, golden, gradients, run, training
from tests.zoo import MODELS, model
from torch import Tensor, nn

from pytest_inferena.program import autograd
from pytest_inferena.program.convolution import convolution_backward
from pytest_inferena.program.graph import NotExportable
from pytest_inferena.program.joint import joint
from pytest_inferena.worker import aten as spelled

DRAW = torch.Generator().manual_seed(0)


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random ones that need a gradient."""
    return torch.randn(shape, generator=DRAW, dtype=dtype).requires_grad_()


@pytest.mark.parametrize("name", MODELS)
def test_joint_entry_gives_loss_and_gradients(name: str) -> None:
    """Every gradient there is, and no other, within rounding of the largest value of it (or of 1e-4 of all)."""
    module, inputs = model(name)
    right, found = golden(module, inputs), run(gradients(name), module, inputs)
    largest = max(float(x.abs().max()) for x in right.values())

    assert set(right) == set(found)
    for key, tensor in right.items():
        scale = max(float(tensor.abs().max()), 1e-4 * largest)
        difference = float((found[key] - tensor).detach().abs().max()) / scale
        assert difference <= 2e-5, key


@pytest.mark.parametrize("name", MODELS)
def test_training_entry_can_be_differentiated(name: str) -> None:
    """An engine's own autograd finds the same loss and gradients in the training entry."""
    module, inputs = model(name)
    right, (loss,) = golden(module, inputs), run(training(name), module, inputs).values()
    trained = {key[5:]: module.get_parameter(key[5:]) for key in right if key != "loss"}
    found = torch.autograd.grad(loss, list(trained.values()))

    torch.testing.assert_close(loss, right["loss"], rtol=1e-6, atol=1e-6)
    for key, grad in zip(trained, found, strict=True):
        torch.testing.assert_close(grad, right[f"grad:{key}"], rtol=1e-4, atol=1e-6)


def test_which_gradients_there_are() -> None:
    """Tied parameters have one, the frozen and the unused none."""
    assert ["loss", "grad:first.bias", "grad:first.weight", "grad:second.bias"] == list(gradients("mlp").outputs)


@torch.library.custom_op("joint_test::weighed", mutates_args=())  # type: ignore[untyped-decorator]
def weighed(x: Tensor) -> Tensor:
    """Twice its argument."""
    return x * 2


weighed.register_fake(torch.empty_like)
weighed.register_autograd(lambda _, grad: grad * float(grad.sum()))


class Step(nn.Module):
    """A loss by name, of one parameter (6, 4)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.w, self.way = nn.Parameter(numbers(6, 4, dtype=torch.float32).detach()), getattr(self, name)

    def forward(self, **inputs: Tensor) -> Tensor:
        """What `way` does."""
        return self.way(**inputs)

    def labels(self, t: Tensor) -> Tensor:
        """Of (6, 4) by labels, one of them ignored."""
        return F.cross_entropy(self.w, t, ignore_index=2)

    def weighted(self, t: Tensor) -> Tensor:
        """Classes weighted."""
        return F.cross_entropy(self.w, t, weight=torch.tensor([1.0, 2, 3, 4]))

    def smoothed(self, t: Tensor) -> Tensor:
        """Labels smoothed, and a sum."""
        return F.cross_entropy(self.w, t, label_smoothing=0.1, reduction="sum")

    def attend(self, mask: Tensor) -> Tensor:
        """Attention under a mask that may leave a query nothing."""
        x = self.w[None, None]
        return F.scaled_dot_product_attention(x, x, x, attn_mask=mask).square().sum()

    def attend_floats(self, mask: Tensor) -> Tensor:
        """Numbers added to the scores."""
        x = self.w[None, None]
        return F.scaled_dot_product_attention(x, x * 2, x, attn_mask=mask.float()).square().sum()

    def weighed(self, t: Tensor) -> Tensor:
        """An operator whose gradient asks for a value."""
        return (weighed(self.w) * t[0]).sum()

    def frequent(self, t: Tensor) -> Tensor:
        """A gradient that depends on how often a row is read."""
        return F.embedding(t, self.w, scale_grad_by_freq=True).square().sum()


LABELS = torch.tensor([0, 2, 1, 3, 2, 1])
BLIND = torch.ones(6, 6, dtype=torch.bool).tril().logical_and(torch.arange(6)[:, None] != 3)  # the fourth sees nothing


def _joint(module: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    entry = captured(module, inputs, "loss", trains=True)
    return run(entry_of(joint(entry, dict(module.named_parameters()), inputs)), module, inputs)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("labels", {"t": LABELS}),
        ("weighted", {"t": LABELS}),
        ("smoothed", {"t": LABELS}),
        ("attend", {"mask": BLIND}),
        ("attend_floats", {"mask": BLIND}),
        ("frequent", {"t": LABELS}),
    ],
)
def test_losses_and_masks(name: str, inputs: dict[str, Tensor]) -> None:
    """Ignored labels, weights, a query that may attend to nothing (zeros, not NaN), rows that are read often."""
    torch.set_num_threads(1)
    module = Step(name)
    loss = module(**inputs)
    found = _joint(module, inputs)

    torch.testing.assert_close(found["loss"], loss.detach())
    torch.testing.assert_close(found["grad:w"], torch.autograd.grad(loss, module.w)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_what_has_no_joint_graph_says_so() -> None:
    """The message says why, and that other engines are not concerned."""
    message = "cannot trace the gradients of this model: .*Could not guard on data-dependent.*entry is absent"
    with pytest.raises(NotExportable, match=message):
        _joint(Step("weighed"), {"t": LABELS})


def test_rotary_embedding() -> None:
    """Backwards is forwards by the negative angle."""
    angles = numbers(4, 3).detach()
    arguments = (numbers(2, 2, 4, 6), angles.cos(), angles.sin())

    assert torch.autograd.gradcheck(autograd.RotaryEmbedding.apply, arguments)
    torch.testing.assert_close(autograd.RotaryEmbedding.apply(*arguments), spelled.rotary_embedding(*arguments))


def test_rms_norm() -> None:
    """Of x and the weight."""
    arguments: tuple[Any, ...] = (numbers(2, 3, 4), [4], numbers(4), 1e-3)

    assert torch.autograd.gradcheck(autograd.RMSNorm.apply, arguments)
    torch.testing.assert_close(autograd.RMSNorm.apply(*arguments), F.rms_norm(*arguments))


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 2, 2)])
def test_batch_norm(shape: tuple[int, ...]) -> None:
    """Of x, weight and bias, with any number of dimensions."""
    fixed = (numbers(3).detach(), numbers(3).detach().square() + 0.5, 1e-3)
    arguments = (numbers(*shape), numbers(3), numbers(3), *fixed)

    assert torch.autograd.gradcheck(autograd.BatchNorm.apply, arguments)
    torch.testing.assert_close(autograd.BatchNorm.apply(*arguments), spelled.batch_norm(*arguments))


FLOATS = torch.linspace(-1, 1, 20, dtype=torch.float64).reshape(1, 1, 4, 5)
TRUE = torch.ones(4, 5, dtype=torch.bool).tril()


@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize(("mask", "causal"), [(None, False), (None, True), (TRUE, False), (FLOATS, False)])
def test_attention(groups: int, mask: Tensor | None, *, causal: bool) -> None:
    """Of query, key and value: heads that share keys, either kind of mask, and causal."""
    query, key, value = numbers(2, 4, 4, 3), numbers(2, groups, 5, 3), numbers(2, groups, 5, 2)

    def ours(query: Tensor, key: Tensor, value: Tensor) -> Any:
        return autograd._attention(query, key, value, mask, causal, 0.7, groups < 4)

    assert torch.autograd.gradcheck(ours, (query, key, value))
    right = spelled.attention(query, key, value, mask, causal, 0.7, groups < 4)
    torch.testing.assert_close(ours(query, key, value), right)


@pytest.mark.parametrize("ignored", [-100, 2])
def test_cross_entropy(ignored: int) -> None:
    """Of the logits; rows whose label is ignored count for nothing."""
    arguments = (numbers(6, 4), LABELS, ignored)

    assert torch.autograd.gradcheck(autograd.CrossEntropy.apply, arguments)
    right = F.cross_entropy(arguments[0], LABELS, ignore_index=ignored)
    torch.testing.assert_close(autograd.CrossEntropy.apply(*arguments), right)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), list(itertools.product([1, 2, 3], [0, 1, 3], [1, 2], [1, 2]))
)
@pytest.mark.parametrize("rank", [1, 2])
def test_convolution(rank: int, stride: int, padding: int, dilation: int, groups: int) -> None:
    """Of input, weight and bias, for strides that do not divide, padding beyond the kernel, holes and groups."""
    x, weight = numbers(2, 4, *(8, 7)[:rank]).detach(), numbers(6, 4 // groups, *(3, 2)[:rank]).detach()
    lists = [[number] * rank for number in (stride, padding, dilation)]
    y = torch.ops.aten.convolution(x, weight, None, *lists, False, [0] * rank, groups)
    arguments = (numbers(*y.shape).detach(), x, weight, [6], *lists, False, [0] * rank, groups, [True] * 3)

    for ours, right in zip(
        convolution_backward(*arguments), torch.ops.aten.convolution_backward(*arguments), strict=True
    ):
        torch.testing.assert_close(ours, right)
