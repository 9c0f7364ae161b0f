"""Golden is float64 whatever the module's code says, and by kernels without fast paths."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_inferena.prepare import reference
from pytest_inferena.prepare.case import Case
from pytest_inferena.prepare.exact import grouped_mm
from pytest_inferena.worker.format import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IMAGE = torch.arange(48).reshape(2, 24).to(torch.uint8)
TABLE = torch.tensor([0.1, 0.7, -0.3])
EPS32 = 2.0**-23


def normal(*shape: int) -> Tensor:
    """Seeded numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


class Net(nn.Module):
    """A function of one tensor, with a parameter that everything is multiplied by."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.3))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return self.function(x) * self.scale


def net(function: Callable[[Tensor], Tensor], x: Tensor) -> Case:
    """A case of it."""
    return Case(Net(function), {"x": x}, {"x": x}, {}, lambda y: y.square().mean())


def written(x: Tensor) -> Tensor:
    """In place, into a table that is no buffer."""
    table = torch.zeros(2, 3, dtype=torch.float32)
    table[:, 1:] = x[:, :2]
    table += TABLE
    return table


def rms_norm(x: Tensor) -> Tensor:
    """It casts up and down again."""
    wide = x.to(torch.float32)
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


def branches(x: Tensor) -> Tensor:
    """It asks for the type."""
    return x.sin() if x.dtype == torch.float32 else x * 0


x64, small = normal(2, 3).double(), normal(2, 3) * 1e-4
FORMS: dict[str, tuple[Callable[[Tensor], Tensor], Tensor, Tensor]] = {
    "bytes": (lambda x: x.float() / 255 - 0.5, IMAGE, IMAGE.double() / 255 - 0.5),
    "half": (lambda x: (x.half() / 255).float(), IMAGE, IMAGE.double() / 255),
    "type": (lambda x: x.type(torch.FloatTensor) / 7, IMAGE, IMAGE.double() / 7),
    "type_as": (lambda x: x.type_as(TABLE) / 7, IMAGE, IMAGE.double() / 7),
    "quotient": (lambda x: x / 7, IMAGE, IMAGE.double() / 7),
    "large": (lambda x: x.float() / 3, torch.tensor([2**24 + 1]), torch.tensor([2**24]).double() / 3),
    "zeros": (lambda x: torch.addmm(torch.zeros(2, 3), x, x[:, :3].T @ x), normal(2, 3), x64 @ (x64.T @ x64)),
    "arange": (lambda x: x * torch.exp(torch.arange(3, dtype=torch.float32) * -0.5), normal(2, 3),
               x64 * torch.exp(torch.arange(3).double() * -0.5)),
    "linspace": (lambda x: x * torch.linspace(0, 1, 3).sin(), normal(2, 3),
                 x64 * torch.linspace(0, 1, 3).double().sin()),
    "attribute": (lambda x: F.linear(x, TABLE[None]), normal(2, 3), x64 @ TABLE.double()[:, None]),
    "constant": (lambda x: x * torch.tensor(0.1), normal(2, 3), x64 * float(torch.tensor(0.1))),
    "to": (lambda x: (x.to(torch.float32) @ TABLE.to(x)).sigmoid(), normal(2, 3), (x64 @ TABLE.double()).sigmoid()),
    "bfloat16": (lambda x: x.bfloat16().exp().to(torch.float32), normal(2, 3), x64.exp()),
    "softmax": (lambda x: x.softmax(-1, dtype=torch.float32), normal(2, 3), x64.softmax(-1)),
    "norm": (rms_norm, normal(2, 3), x64 * (x64.pow(2).mean(-1, keepdim=True) + 1e-6).rsqrt()),
    "RMSNorm": (nn.RMSNorm(3), small, small.double() * (small.double().pow(2).mean(-1, keepdim=True) + EPS32).rsqrt()),
    "finfo": (lambda x: x.clamp(min=torch.finfo(x.dtype).eps).log(), -normal(2, 3).abs(),
              torch.full((2, 3), EPS32).double().log()),
    "branches": (branches, normal(2, 3), x64.sin()),
    "written": (written, normal(2, 3),
                torch.cat([torch.zeros(2, 1), normal(2, 3)[:, :2]], 1).double() + TABLE.double()),
    "overload": (lambda x: torch.ops.aten._to_copy.default(x, dtype=torch.float32) / 7, IMAGE, IMAGE.double() / 7),
    "complex": (lambda x: torch.fft.fft(x).abs(), normal(2, 3), torch.fft.fft(x64).abs()),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_computes_in_float64_what_says_float32(form: str) -> None:
    """What it starts from is rounded to float32, what it computes is not."""
    function, x, right = FORMS[form]

    found = reference.golden(net(function, x), "inference")["output"]

    assert found is not None
    assert torch.float64 == found.dtype
    torch.testing.assert_close(found.detach(), right * float(torch.tensor(0.3)), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("form", ["bytes", "norm", "written", "attribute"])
def test_gradients_are_float64_too(form: str) -> None:
    """Of a module whose forward casts."""
    function, x, right = FORMS[form]

    found = reference.golden(net(function, x), "training")["grad:scale"]

    torch.testing.assert_close(found, (2 * float(torch.tensor(0.3)) * right.square()).mean(), rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    ("x", "y", "ends"),
    [
        ((6, 8), (2, 8, 16), (2, 5)),
        ((2, 3, 8), (8, 16), (8, 16)),
        ((8, 16), (16, 8), (8, 16)),
        ((2, 3, 8), (2, 8, 16), ()),
    ],
)
def test_grouped_products_are_those_of_pytorch(x: tuple[int, ...], y: tuple[int, ...], ends: tuple[int, ...]) -> None:
    """All ways to group them, as in mixtures of experts."""
    one, other, offsets = normal(*x), normal(*y), torch.tensor(ends, dtype=torch.int32) if ends else None

    right = F.grouped_mm(one.bfloat16(), other.bfloat16(), offs=offsets)
    found = grouped_mm(one.bfloat16().double(), other.bfloat16().double(), offsets)

    rows = ends[-1] if ends and len(x) == 2 < len(y) else None
    torch.testing.assert_close(right[:rows].double(), found[:rows], rtol=2e-2, atol=2e-2)


def test_grouped_products_have_a_golden() -> None:
    """PyTorch has no kernel of them for float64."""
    weights, ends = normal(2, 16, 16), torch.tensor([3, 8], dtype=torch.int32)

    found = reference.golden(net(lambda x: F.grouped_mm(x, weights, offs=ends), normal(8, 16)), "inference")["output"]

    x = normal(8, 16).double()
    right = torch.cat([x[:3] @ weights[0].double(), x[3:] @ weights[1].double()]) * float(torch.tensor(0.3))
    torch.testing.assert_close(found, right, rtol=1e-13, atol=1e-13, check_dtype=True)


class Encoder(nn.Module):
    """Layers that have a fast path."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)

    def forward(self, x: Tensor, pad: Tensor) -> Tensor:
        """(B, S, 8) and (B, S)."""
        return self.layers(x, src_key_padding_mask=pad)


def test_padded_rows_are_computed_like_all_others() -> None:
    """A fast path fills them with zeros; the graph that engines get does not."""
    inputs = {"x": normal(2, 5, 8), "pad": torch.tensor([[False] * 5, [False] * 3 + [True] * 2])}
    case = Case(Encoder().eval(), inputs, inputs, {}, lambda y: y.mean())
    wide = copy.deepcopy(case.module).double()
    right = wide(inputs["x"].double().requires_grad_(), inputs["pad"])  # no fast path where gradients are asked for

    found = reference.golden(case, "inference")["output"]

    assert bool((right[1, 3:] != 0).all())
    torch.testing.assert_close(found, right.detach(), rtol=1e-12, atol=1e-12)


def test_masks_of_whole_rows_have_the_gradient_of_their_definition() -> None:
    """PyTorch's fused attention has another one where all scores of a row vanish in the mask."""
    keep = torch.tensor([[1.0] * 5, [0.0] * 5])[:, None, None]
    mask = (1 - keep) * torch.finfo(torch.float32).min
    x = normal(2, 1, 5, 8)

    found = reference.golden(net(lambda q: F.scaled_dot_product_attention(q, q, q, mask), x), "training")["grad:scale"]

    scores = (x.double() @ x.double().mT) / 8**0.5 + mask.double()
    right = scores.softmax(-1) @ x.double()
    torch.testing.assert_close(found, (2 * float(torch.tensor(0.3)) * right.square()).mean(), rtol=1e-12, atol=0)


def test_rows_that_may_attend_to_nothing_give_zero() -> None:
    """That is the rule for every engine."""
    mask = torch.tensor([True, False])[:, None].expand(2, 2)

    found = reference.golden(
        net(lambda q: F.scaled_dot_product_attention(q, q, q, mask), normal(1, 1, 2, 4)), "inference"
    )

    output: Any = found["output"]
    assert [True, False] == (output[0, 0] != 0).any(-1).tolist()


def settings() -> tuple[bool, bool]:
    """What golden changes for all of PyTorch."""
    return torch.backends.mha.get_fastpath_enabled(), torch.are_deterministic_algorithms_enabled()


def test_settings_of_pytorch_are_put_back() -> None:
    """Also where a module raises something."""
    found = []

    def broken(_: Tensor) -> Tensor:
        found.append(settings())
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        reference.golden(net(broken, normal(2, 3)), "inference")

    assert [(False, True)] == found
    assert (True, False) == settings()


def test_what_float64_cannot_run_is_run_in_float32(tmp_path: Path) -> None:
    """The record says so, and why."""
    case = net(lambda x: x * (x.view(torch.int32) > 0), normal(2, 3))

    facts = reference.write_golden(case, "inference", tmp_path)

    assert "float32" == facts["dtype"]
    assert "golden is float32, run twice, and not float64, which PyTorch cannot run here: the bits" in facts["notes"][0]


def test_errors_of_a_module_are_its_own(tmp_path: Path) -> None:
    """They are not taken for something that float64 lacks."""
    with pytest.raises(IndexError, match="out of range"):
        reference.write_golden(net(lambda x: x.sum(5), normal(2, 3)), "inference", tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_outputs_in_other_types_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    """No engine could pass with them."""
    case = net(lambda x: x, normal(2, 3))
    case.module.forward = lambda x: x.to(dtype)

    with pytest.raises(Unsupported, match=r"outputs in \w+: output; .* cast them with .float\(\)"):
        reference.write_golden(case, "inference", tmp_path)
