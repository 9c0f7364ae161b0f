"""Tests of what a module takes and returns: any structure of tensors, whose names are the paths to them."""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.prepared import Made
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from pytest_inferena import Case
from pytest_inferena.prepare.structure import replaced, tensors
from pytest_inferena.program.graph import NotExportable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALL = {"inference", "latency", "training", "joint"}
X = torch.linspace(-1, 1, 8).reshape(2, 4)
Pair = collections.namedtuple("Pair", "low high")  # noqa: PYI024 - a plain one


@dataclasses.dataclass
class Found:
    """What a model may return."""

    logits: Tensor
    hidden: list[Tensor]
    nothing: Tensor | None = None
    count: int = 3


class Net(nn.Module):
    """A layer, with what a test makes of it."""

    def __init__(self, end: Callable[..., Any]) -> None:
        super().__init__()
        self.linear, self.end = nn.Linear(4, 4), end

    def forward(self, x: Tensor, *args: Any, **others: Any) -> Any:
        """Whatever it is."""
        return self.end(self.linear(x), *args, **others)


def first(*outputs: Tensor, **_: Tensor) -> Tensor:
    """A loss of all outputs that have a gradient."""
    return torch.stack([y.pow(2).mean() for y in outputs if y.is_floating_point()]).sum()


RETURNS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "tensor": (lambda y: y, "output"),
    "tuple of one": (lambda y: (y,), "output"),
    "tuple with none": (lambda y: (y, None), "output"),
    "tuple": (lambda y: (y, y + 1), "output.0 output.1"),
    "list": (lambda y: [y, y + 1], "output.0 output.1"),
    "nested": (lambda y: (y, [y + 1, (y + 2,)]), "output.0 output.1.0 output.1.1.0"),
    "dict": (lambda y: {"logits": y, "hidden": [y + 1, y + 2]}, "logits hidden.0 hidden.1"),
    "dict of one": (lambda y: {"logits": y}, "logits"),
    "same path": (lambda y: {"a.b": y, "a": {"b": y + 1}}, "a.b a.b#2"),
    "dataclass": (lambda y: Found(y, [y + 1]), "logits hidden.0"),
    "transformers": (lambda y: BaseModelOutput(y, hidden_states=(y + 1,)), "last_hidden_state hidden_states.0"),
    "namedtuple": (lambda y: Pair(y, y + 1), "low high"),
    "numbers": (lambda y: {"y": y, "size": 4, "name": "it", "on": True}, "y"),
    "complex": (lambda y: torch.complex(y, y * 2).conj(), "output"),
}


@pytest.mark.parametrize("name", RETURNS)
def test_outputs_have_the_names_of_their_paths(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever holds them; all entries compute what the module does."""
    end, expected = RETURNS[name]
    made = Made(Case(Net(end), {"x": X}, {"x": X[:1]}, {}, first), tmp_path, monkeypatch)

    assert expected.split() == made.outputs() == made.outputs("latency")
    assert dict.fromkeys(ALL, "pass") == made.verdicts()


TAKES: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "tuple": (lambda y, past: y + past[0] * past[1], {"past": (X, X + 1)}, "past.0 past.1"),
    "dict": (lambda y, masks: y * masks["a"], {"masks": {"a": X, "unused": X + 1}}, "masks.a masks.unused"),
    "deep": (lambda y, past: y + past[0]["k"][1], {"past": [{"k": (X, X + 1)}]}, "past.0.k.0 past.0.k.1"),
    "number": (lambda y, scale: y * scale, {"scale": 2.5}, ""),
    "bool": (lambda y, twice: y * 2 if twice else y, {"twice": True}, ""),
    "string": (lambda y, mode: y.tanh() if mode == "tanh" else y, {"mode": "tanh"}, ""),
    "none": (lambda y, mask: y if mask is None else y * mask, {"mask": None}, ""),
    "dataclass": (lambda y, found: y + found.logits, {"found": Found(X, [X])}, "found.logits found.hidden.0"),
    "namedtuple": (lambda y, pair: y + pair.high, {"pair": Pair(X, X + 1)}, "pair.low pair.high"),
    "complex": (lambda y, z: y + (z * z.conj()).real, {"z": torch.complex(X, X + 1)}, "z"),
    "mixed": (lambda y, options: y * options[1] + options[0], {"options": [X, 3, "s"]}, "options.0"),
}


@pytest.mark.parametrize("name", TAKES)
def test_inputs_of_any_structure(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors in it are inputs by path; all else is part of the Program."""
    end, more, expected = TAKES[name]
    inputs = {"x": X, **more}
    made = Made(Case(Net(end), inputs, inputs, {"wanted": [X]}, first), tmp_path, monkeypatch)

    assert ["x", *expected.split()] == [spec.name for spec in made.program.entry("inference").inputs]
    assert dict.fromkeys(ALL, "pass") == made.verdicts()


def test_explicit_names_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the tensors, whatever holds them."""
    case = Case(Net(RETURNS["dict"][0]), {"x": X}, {"x": X}, {}, first, ("a", "b", "c"))

    assert ["a", "b", "c"] == Made(case, tmp_path, monkeypatch).outputs()


class ByPosition(nn.Module):
    """Arguments that nobody can give by name."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor, /, *others: Tensor, scale: float = 1.0) -> Tensor:
        """Of one tensor and any number of others."""
        return self.linear(x) * scale + sum(others)


@pytest.mark.parametrize(
    "module",
    [
        ByPosition(),
        torch.export.export(ByPosition(), (X, X, X), {"scale": 2.0}).module(),
        nn.Sequential(torch.export.export(nn.Linear(4, 4), (X,)).module(), nn.ReLU()),
    ],
    ids=["positional", "exported", "exported part"],
)
def test_modules_that_are_called_by_position(
    module: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exported program's module too, which takes arguments as it was traced and has no eval()."""
    one: dict[str, Any] = {"input": X}
    several: dict[str, Any] = {"x": X, "others": (X + 1, X + 2), "scale": 2.0}
    flat: dict[str, Any] = {"x": X, "others_0": X + 1, "others_1": X + 2, "scale": 2.0}
    inputs = one if isinstance(module, nn.Sequential) else several if isinstance(module, ByPosition) else flat
    made = Made(Case(module, inputs, inputs, {}, first), tmp_path, monkeypatch)

    assert dict.fromkeys(ALL, "pass") == made.verdicts()


def test_sparse_gradients_are_made_dense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As engines compute them."""
    case = Case(
        nn.Embedding(5, 4, sparse=True), {"input": torch.tensor([0, 3, 3])}, {"input": torch.tensor([1])}, {}, first
    )

    assert dict.fromkeys(ALL, "pass") == Made(case, tmp_path, monkeypatch).verdicts()


@pytest.mark.parametrize("value", [object(), {"a": [object()]}])
def test_what_nobody_can_look_into(value: Any) -> None:
    """One refusal that says where it is."""
    with pytest.raises(NotExportable, match=r"object.*is no tensor, and PyTorch cannot look into it"):
        tensors(value)


def test_other_tensors_in_the_same_structure() -> None:
    """What was given stays as it was."""
    value = {"a": (X, 1), "b": Found(X, [X])}
    new = replaced(value, iter([X + 1, X + 2, X + 3]))

    assert [1.0, 2.0, 3.0] == [round(float((new_ - X).mean()), 3) for new_ in tensors(new).values()]
    assert all(tensor is X for tensor in tensors(value).values())
    assert (1, 3) == (new["a"][1], new["b"].count)
