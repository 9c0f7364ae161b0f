"""Tests of the numbers at which an expansion could compute 0 · ∞ or ∞ - ∞, and PyTorch does not.

Every function stands alone in one large module, with a parameter of its own, so that one export serves them all.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import pytest
import torch
from tests.numeric_cases import ELSEWHERE, POINTS, ROWS, ROWWISE, SINGLE
from tests.programs import entry_of
from tests.test_expand import SMALLEST
from torch import Tensor, nn

from pytest_inferena.program.capture import export, parameter_names
from pytest_inferena.program.expand import expand
from pytest_inferena.program.joint import joint
from pytest_inferena.worker.aten import to_module

if TYPE_CHECKING:
    from pytest_inferena.program.graph import Graph
    from pytest_inferena.worker.capabilities import Operators
    from pytest_inferena.worker.format import Entry

GROUPS = {"single": (SINGLE, POINTS), "rows": (ROWWISE, ROWS)}
CHOOSES: Operators = {**SMALLEST, "where": {}}
ENGINES: dict[str, Operators | None] = {"all": None, "chooses": CHOOSES, "smallest": SMALLEST}
"""With every operator; the smallest with `where`, and without it: then what is not chosen has to be finite."""
ZERO = {"zero": torch.zeros(())}


class Functions(nn.Module):
    """Functions at the same points, each with these as a parameter of its own; and a loss, of which gradients are."""

    def __init__(self, group: str) -> None:
        super().__init__()
        self.functions, points = GROUPS[group]
        self.points = nn.ParameterList([points.clone() for _ in self.functions])

    def forward(self, zero: Tensor) -> tuple[Tensor, ...]:
        """The loss, in which each element has a weight of its own, and what the functions make."""
        found = [function(x + zero) for function, x in zip(self.functions.values(), self.points, strict=True)]
        return torch.stack([(y * torch.linspace(1, 2, y.numel()).reshape(y.shape)).sum() for y in found]).sum(), *found


@functools.cache
def module(group: str) -> Functions:
    """All functions of a group."""
    return Functions(group)


@functools.cache
def entries(group: str) -> dict[str, Entry]:
    """Its inference, training and joint entries."""
    made, names = module(group), [*GROUPS[group][0]]
    whole = export(made, ZERO, parameter_names(made), trains=True)
    training = _entry(whole.graph(ZERO, {"loss": 0}, trains=True))
    return {
        "inference": _entry(whole.graph(ZERO, {name: at for at, name in enumerate(names, 1)})),
        "training": training,
        "joint": _entry(joint(training, dict(made.named_parameters()), ZERO)),
    }


def _entry(graph: Graph) -> Entry:
    made = entry_of(graph, "training" if graph.trains else "inference")
    made._arrays["inputs"] = {name: value.numpy() for name, value in ZERO.items()}
    return made


@functools.cache
def results(group: str, kind: str, engine: str) -> dict[str, Tensor]:
    """What PyTorch ("right"), or an entry as an engine has it, makes of each function: results or gradients."""
    parameters, operators = dict(module(group).named_parameters()), ENGINES[engine]
    if kind.startswith("right"):
        loss, *values = module(group)(**ZERO)
        values = values if kind == "right inference" else _gradients(loss, parameters)
        return dict(zip(GROUPS[group][0], values, strict=True))
    entry = entries(group)[kind]
    entry = _entry(expand(entry, operators)[0]) if operators else entry
    values = to_module(entry, parameters)(*ZERO.values())
    if kind == "training":
        values = _gradients(values[0], parameters)
    if kind == "joint":
        by_name = dict(zip(entry.outputs, values, strict=True))
        values = [by_name.get(f"grad:{name}") for name in parameters]
    return dict(zip(GROUPS[group][0], values, strict=True))


def _gradients(loss: Tensor, parameters: dict[str, Tensor]) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, retain_graph=True))


def differs(group: str, name: str, kind: str, engine: str) -> list[str]:
    """Where something is not what PyTorch has, if PyTorch has a number there."""
    points = GROUPS[group][1]
    value = results(group, "right inference", "all")[name].detach()
    right = value if kind == "inference" else results(group, "right gradients", "all")[name]
    actual = results(group, kind, engine)[name]
    right, actual = (torch.zeros_like(points) if x is None else x.detach() for x in (right, actual))
    known = ~right.isnan()
    near = ~torch.isin(points, torch.tensor(ELSEWHERE.get(name, [])))
    if group == "rows" and value.ndim:  # a loss that is not finite has no gradients
        finite = value.reshape(len(points), -1).isfinite().all(1) & near[:, 0]
        known &= finite.reshape(-1, *[1] * (right.ndim - 1))
    if group == "single":
        known &= near
        known &= points.isfinite() | torch.tensor(engine != "smallest")
        known[-1] = (kind, engine) == ("inference", "all")  # NaN
    close = torch.isclose(actual, right, rtol=1e-5, atol=1e-6 if kind == "inference" else 1e-4, equal_nan=True)
    wrong = [tuple(at) for at in (known & ~close).nonzero().tolist()]
    place = f"{kind} of an engine with {engine}, at"
    return [
        f"{place} {points[at[:1] if right.ndim else ...].tolist()}: {actual[at]:.6g}, not {right[at]:.6g}"
        for at in wrong
    ]


KINDS = [*itertools.product(["inference", "training", "joint"], ENGINES)]


@pytest.mark.parametrize("name", SINGLE)
def test_functions_of_numbers(name: str) -> None:
    """They have PyTorch's values and gradients at zero, next to it, far from it, and at the infinities."""
    assert [] == [wrong for kind in KINDS for wrong in differs("single", name, *kind)]


@pytest.mark.parametrize("name", ROWWISE)
def test_functions_of_rows(name: str) -> None:
    """So do functions of rows that are zero, equal, tiny, huge, or hold infinities."""
    assert [] == [wrong for kind in KINDS for wrong in differs("rows", name, *kind)]
