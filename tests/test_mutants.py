from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.in_ci import long
from tests.panels import PANEL

from pytest_inferena.prepare.reference import run, write_golden
from pytest_inferena.prepare.sources import load_case
from pytest_inferena.prepare.weights import resolve_weights
from pytest_inferena.verdict.gate import judge
from pytest_inferena.verdict.tensors import GoldenFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mutants import Mutant

    from pytest_inferena.prepare.case import Case

MODELS = Path(__file__).parents[1] / "benchmarks" / "models"


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """One thread; a mutant may change the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=sorted(PANEL))
def panel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Case, Any]:
    """A model at tiny size with seeded weights, and golden and reference for each entry."""
    case = load_case(MODELS / f"{request.param}.py", "tiny")
    resolve_weights(case, "seeded")
    folder = tmp_path_factory.mktemp(request.param)
    judges = {}
    for entry in ("inference", "training"):
        record = write_golden(case, entry, folder)
        judges[entry] = GoldenFile(folder / f"golden-{entry}.safetensors", record["none"]), record["tensors"]
    return request.param, case, judges


def test_every_model_has_a_panel() -> None:
    """A model that the gate was never tried on could be judged by it all the same."""
    models = sorted(path.stem for path in MODELS.glob("*.py"))

    assert models == sorted(PANEL)


def _outcome(case: Case, mutant: Mutant, entry: str, golden: Any, reference: dict[str, float]) -> str:
    own = dataclasses.replace(case, module=copy.deepcopy(case.module), targets=dict(case.targets))
    torch.set_num_threads(1)
    mutant.change(own)
    tensors = run(own.module, own, entry)
    result = {name: None if x is None else x.detach().float().numpy() for name, x in tensors.items()}
    return judge(golden, reference, result).outcome


@long
def test_gate_knows_wrong_models(panel: tuple[str, Case, Any], subtests: pytest.Subtests) -> None:
    """Every mutant is judged as the panel says, at every entry that it changes."""
    model, case, judges = panel
    for mutant in PANEL[model]:
        for entry in mutant.entries:
            with subtests.test(mutant=mutant.name, entry=entry):
                assert _outcome(case, mutant, entry, *judges[entry]) in mutant.expected
