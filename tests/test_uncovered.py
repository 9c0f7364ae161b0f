"""Parameters that nothing depends on are named, and no others; layers far from unit size are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from tests.prepared import Made
from tests.records import make_record, make_results
from torch import Tensor, nn

from pytest_inferena.prepare.case import Case
from pytest_inferena.report.table import tables

if TYPE_CHECKING:
    from pathlib import Path

X = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """An attention whose key bias softmax takes away, and parameters that are idle in three ways."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))
        self.unused, self.times_zero, self.overwritten = (nn.Parameter(torch.ones(8)) for _ in range(3))
        self.frozen = nn.Parameter(torch.ones(8), requires_grad=False)
        self.chosen = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(4, 8) to (4, 8) and indices (4,)."""
        y = torch.softmax(self.q(x) @ self.k(x).T, -1) @ self.v(x)
        y = torch.where(x.abs() < 100, y, self.overwritten) + 0 * self.times_zero
        return y * self.frozen, (x.detach() * self.chosen).argmax(-1)


class Frozen(nn.Module):
    """Nothing of it is to be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(8, 8), nn.Linear(8, 8)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(4, 8) to (4, 8)."""
        return self.used(x)


class Loud(nn.Linear):
    """A layer whose activations are large whatever the scale of its weights is."""

    def forward(self, x: Tensor) -> Tensor:
        """(4, 8) to (4, 8)."""
        return 1000 * super().forward(x) / self.weight.norm()


class Choice(nn.Module):
    """Its only output is a choice, and has no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = Loud(8, 8, bias=False), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        """(4, 8) to (4,)."""
        return self.used(x).argmax(-1)


IDLE = {"unused.weight", "unused.bias"}
NETS: dict[str, tuple[type[nn.Module], set[str], set[str]]] = {
    "idle": (Net, {"k.bias", "unused", "times_zero", "overwritten"}, set()),
    "frozen": (Frozen, IDLE, set()),
    "choice": (Choice, IDLE, {"used"}),
}


@pytest.mark.parametrize("name", NETS)
def test_what_nothing_depends_on_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is frozen, or shows in a choice alone, is covered all the same; layers far from unit size are told too."""
    kind, uncovered, uneven = NETS[name]
    case = Case(kind(), {"x": X}, {"x": X}, {}, lambda *outputs: outputs[0].float().square().mean())
    golden = Made(case, tmp_path, monkeypatch).facts["golden"]

    assert dict.fromkeys(golden, (uncovered, uneven)) == {
        entry: ({*facts["uncovered"]}, {*facts["uneven"]}) for entry, facts in golden.items()
    }


def test_table_names_what_is_not_covered() -> None:
    """Once, whichever of the cells tell it; a table without such a parameter has no such line."""
    records = [make_record(extra={"uncovered": ["a", "b"]}), make_record("training", extra={"uncovered": ["a", "b"]})]
    (table,), (other,) = tables(make_results(records)), tables(make_results([make_record()]))

    assert (
        "a, b: no verdict says anything of their values, for nothing that is judged depends on them"
        == dict(table.facts)["Not covered"]
    )
    assert "Not covered" not in dict(other.facts)


@pytest.mark.parametrize("weights", ["seeded", "package: llm 1"])
def test_table_tells_layers_far_from_unit_size(weights: str) -> None:
    """The farthest first, and only where this project made the weights."""
    sizes = {"a": 5.0, "b": 0.001, "c": 6.0, "d": 7.0}
    (table,) = tables(make_results([make_record(weights=weights, extra={"uneven": sizes})]))
    told = "; layers whose activations are more than 4 times from unit size: b 0.001, d 7, c 6 and 1 more"

    assert weights + (told if weights == "seeded" else "") == dict(table.facts)["Weights"]
