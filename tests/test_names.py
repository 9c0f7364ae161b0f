"""Tests of names: whatever a user calls what, no two tensors of an entry are mistaken for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
import pytest
import torch
from tests.prepared import Made
from torch import Tensor, nn

from pytest_inferena import Case
from pytest_inferena.program.names import distinct
from pytest_inferena.program.onnx import to_onnx
from pytest_inferena.worker import Unsupported

if TYPE_CHECKING:
    from pathlib import Path

ALL = {"inference", "latency", "training", "joint"}
X = torch.linspace(-1, 1, 8).reshape(2, 4)


class Net(nn.Module):
    """Parameters of some names, each multiplied in, and inputs of any names."""

    def __init__(self, *parameters: str) -> None:
        super().__init__()
        for name in parameters:
            self.register_parameter(name, nn.Parameter(torch.ones(4)))
        self.linear = nn.Linear(4, 4)
        self.split = nn.ParameterList([torch.ones(4), torch.ones(4)])
        self.const = nn.Module()
        self.const.lift_fresh_copy = nn.Parameter(torch.ones(4))

    def forward(self, *args: Tensor, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        """All of it."""
        y = sum(args) + sum(inputs.values())
        for name, parameter in self.named_parameters():
            if "linear" not in name:
                y = y * parameter + 0.1
        first, second = (self.linear(y) * torch.tensor([1.0, 2, 3, 4])).split(2, -1)
        return torch.cat([second, first], -1), first.exp()


NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "one for all": (("x",), ("x",), ("x",), ("x", "y")),
    "the loss": (("loss",), ("loss",), ("loss",), ("loss", "output")),
    "python": (("input", "id"), ("input", "type", "lambda"), ("id",), ("print", "class")),
    "operators": (("mul", "mul_1", "add"), ("mul", "split"), ("linear",), ("exp", "cat")),
    "dots": ((), ("linear.weight", "split.1", "a.b"), ("const.lift_fresh_copy",), ("linear.bias", "a.b")),
    "gradients": (("grad:x",), ("grad:linear.weight",), ("grad:y",), ("grad:linear.weight", "grad:x")),
    "roles": (("input:x",), ("x", "input:x"), ("x", "target:x"), ("x", "output:x")),
    "numbers": (("0",), ("0", "1"), ("2",), ("0", "1")),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_collide_nowhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters, inputs, targets and outputs of these names: all entries compute what the module does."""
    parameters, inputs, targets, outputs = NAMES[name]

    def loss(*results: Tensor, **wanted: Tensor) -> Tensor:
        return sum((results[0] - y).pow(2).mean() for y in wanted.values()) + results[1].mean()

    given: dict[str, Any] = {key: X + at for at, key in enumerate(inputs)}
    wanted = {key: X * 2 + at for at, key in enumerate(targets)}
    made = Made(Case(Net(*parameters), given, given, wanted, loss, outputs), tmp_path, monkeypatch)

    assert dict.fromkeys(ALL, "pass") == made.verdicts()
    for entry in ALL:
        names = made.tensor_names(entry)
        assert len({*names}) == len(names)
    for entry in ALL - {"training"}:
        path = to_onnx(made.program.entry(entry), made.program, tmp_path)
        onnx.checker.check_model(path)


def test_what_nobody_else_has_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name changes only where another tensor has it, and then says what it is."""
    case = Case(
        Net("scale"), {"x": X, "scale": X}, {"x": X, "scale": X}, {"x": X}, lambda a, b, x: (a - x + b.mean()).sum()
    )
    made = Made(case, tmp_path, monkeypatch)

    assert ["x", "input:scale", "target:x"] == [spec.name for spec in made.program.entry("training").inputs]
    assert ["output.0", "output.1"] == made.outputs()
    assert "scale" in made.program.parameters


def test_argument_called_self(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can give it by its name."""

    class Other(nn.Module):
        """Its own `self` is called otherwise."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(this, self: Tensor, other: Tensor) -> Tensor:  # noqa: N805 - that is the point
            """Of two inputs."""
            return this.linear(self) - other

    inputs = {"self": X, "other": X + 1}
    made = Made(Case(Other(), inputs, inputs, {}, lambda y: y.mean()), tmp_path, monkeypatch)

    assert dict.fromkeys(ALL, "pass") == made.verdicts()


def test_distinct_names() -> None:
    """What is taken says what it is, as often as it takes."""
    assert ["a", "target:b", "target:b_"] == distinct(["a", "b", "b"], {"b"}, "target")


def test_onnx_without_an_entry_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that has failed is no entry of the Program."""
    net = Net().requires_grad_(requires_grad=False)
    made = Made(Case(net, {"x": X}, {"x": X}, {}, lambda a, b: a.mean() + b.mean()), tmp_path, monkeypatch)

    with pytest.raises(Unsupported, match="no entry training"):
        made.program.entry("training")
