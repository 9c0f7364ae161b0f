"""A capture that differs from its module is found when it is made, and named by node and line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from pytest_inferena.prepare import __main__ as preparer
from pytest_inferena.prepare.imported import Imported
from pytest_inferena.program import canonical, gradients, joint
from pytest_inferena.worker.format import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODEL = """
import torch
from torch import nn
from torch.nn import functional as F
from pytest_inferena import Case

TITLE = "Net"
UNIT = "row"
ITEMS = 4
PARAMETERS = 144


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        x = self.a(x).reshape(1, 4, 2, 4).transpose(1, 2)
        x = F.scaled_dot_product_attention(x, x, x).transpose(1, 2).reshape(4, 8)  # a view where flash attention ran
        x = F.layer_norm(x, (8,), eps=1e-3)
        x = F.softmax(x, -1) + torch.sigmoid(x)
        x = F.gelu(x).reshape(2, 2, 8)
        x = self.b(x).clamp(-1, 0.2)
        return x, x.argmax(-1)


def case(size):
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    return Case(Net(), {"x": x}, {"x": x}, {}, lambda y, i: y.square().mean(), ("y", "i"))
"""


def made(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The model's base, and what was found."""
    source = folder / "net.py"
    source.write_text(MODEL)
    base = folder / "base"
    base.mkdir(exist_ok=True)
    request = {"source": str(source), "size": "tiny", "weights": "seeded", "name": "net", "left": ()}
    return base, preparer.base(base, request, Imported())


def made_joint(base: Path, facts: dict[str, Any]) -> None:
    """The joint entry."""
    folder = base / "joint"
    folder.mkdir()
    preparer.joint_entry(folder, {"program": str(base), "golden": facts["golden"]["training"]}, Imported())


def test_right_capture_is_proven(tmp_path: Path) -> None:
    """All four entries of it."""
    base, facts = made(tmp_path)
    made_joint(base, facts)

    assert (base / "joint" / "joint.json").exists()


def changed(argument: str, value: Any) -> Callable[..., Any]:
    """The rule of an operator, with one argument wrong."""
    return lambda rule: lambda g, a, out: rule(g, a | {argument: value}, out)


FAULTS: dict[str, tuple[str, Callable[..., Any], str]] = {
    "eps": ("layer_norm", changed("eps", 2e-3), r"at node layer_norm, .*net\.py:21 \(x = F\.layer_norm"),
    "clamp": ("clamp", changed("max", 0.3), r"at node clamp, .*net\.py:24 \(x = self\.b"),
    "gelu": ("gelu", changed("approximate", "tanh"), r"at node gelu, .*net\.py:23 \(x = F\.gelu"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_rule_is_found(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names its node and the user's line, and says that no engine is judged."""
    operator, spoilt, where = FAULTS[fault]
    keep = lambda g, a, out: g.emit(operator, a, *out)  # noqa: E731 - an operator without a rule stays as it is
    monkeypatch.setattr(canonical, "RULES", {**canonical.RULES, operator: spoilt(canonical.RULES.get(operator, keep))})

    with pytest.raises(ValueError, match=f"the capture differs from the module {where}.* no engine is judged"):
        made(tmp_path)


def test_wrong_gradient_of_the_joint_graph_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its forward part is right."""
    base, facts = made(tmp_path)
    wrong = {torch.ops.aten.sigmoid_backward.default: lambda grad, y: grad * y}
    table = gradients.decompositions
    monkeypatch.setattr(joint, "decompositions", lambda **how: table(**how) | wrong)

    with pytest.raises(ValueError, match=r"the capture differs from the module .*entry joint, grad:"):
        made_joint(base, facts)


@pytest.mark.parametrize("equal", [True, False])
def test_a_choice_among_equal_numbers(equal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no fault of the capture that another one is taken than PyTorch takes."""
    numbers = "x.round()" if equal else "(x + torch.arange(8) / 50)"
    ends = f"x.gather(2, {numbers}.topk(3, 2)[1])"
    monkeypatch.setitem(globals(), "MODEL", MODEL.replace("return x, x.argmax(-1)", f"return {ends}, x.argmax(-1)"))
    if equal:
        with pytest.raises(
            Unsupported, match=r"hang on which of equal numbers is taken at node topk\.1, .*net\.py:25 "
        ):
            made(tmp_path)
    else:
        made(tmp_path)
