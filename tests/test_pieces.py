"""What a killed preparer has finished is taken over, as long as it is what would be made today."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.projects import MODEL

from pytest_inferena.collect.model import Model
from pytest_inferena.prepare.pieces import Pieces
from pytest_inferena.processes.parts import Folder
from pytest_inferena.processes.workload import Workload
from pytest_inferena.store.origins import Origins, content_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Preparers:
    """Folders, and how often something was made in them."""

    def __init__(self, path: Path) -> None:
        self.path, self.made = path, 0
        self.source = path / "model.py"
        self.source.write_text("one")

    def prepare(self, name: str, *left: str, weights: str = "1234") -> dict[str, Any]:
        """One preparer: its folder, and the facts about golden."""
        folder = self.path / name
        folder.mkdir()
        (folder / "weights.safetensors").write_text(weights)
        (folder / "request.json").write_text(name)
        places = [str(self.path / one) for one in left]
        origins = Origins({str(self.source): str(content_of(self.source))}, {})
        return Pieces(folder, places, lambda: origins).keep("golden-x", lambda: self.golden(folder))

    def golden(self, folder: Path) -> dict[str, Any]:
        """Some golden."""
        self.made += 1
        (folder / "golden-x.safetensors").write_text("5")
        return {"tensors": {"output": 1e-7}}


@pytest.fixture
def preparers(tmp_path: Path) -> Preparers:
    """None has run yet."""
    return Preparers(tmp_path)


def test_a_piece_is_taken_over(preparers: Preparers) -> None:
    """Its files, its facts, and the piece itself: the next preparer may be killed too."""
    facts = [preparers.prepare("one"), preparers.prepare("two", "one"), preparers.prepare("three", "gone", "two")]

    assert [{"tensors": {"output": 1e-7}}] * 3 == facts
    assert 1 == preparers.made
    assert "5" == (preparers.path / "three" / "golden-x.safetensors").read_text()


def _elsewhere(folder: Path) -> None:
    document = json.loads((folder / "golden-x.piece.json").read_text())
    (folder / "golden-x.piece.json").write_text(json.dumps({**document, "files": {"../model.py": ""}}))


SPOILED: dict[str, Callable[[Path], Any]] = {
    "golden": lambda folder: (folder / "golden-x.safetensors").write_text("6"),
    "no golden": lambda folder: (folder / "golden-x.safetensors").unlink(),
    "half a note": lambda folder: (folder / "golden-x.piece.json").write_text('{"facts"'),
    "no note": lambda folder: (folder / "golden-x.piece.json").unlink(),
    "elsewhere": _elsewhere,
    "source": lambda folder: (folder.parent / "model.py").write_text("two"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_what_is_not_today_s_is_made_again(preparers: Preparers, how: str) -> None:
    """A piece that is torn, or was made by other code, counts no more."""
    preparers.prepare("one")
    SPOILED[how](preparers.path / "one")
    preparers.prepare("two", "one")

    assert 2 == preparers.made
    assert "5" == (preparers.path / "two" / "golden-x.safetensors").read_text()


def test_other_weights_have_other_golden(preparers: Preparers) -> None:
    """A piece belongs to the Program and the weights that it was made with."""
    preparers.prepare("one")
    preparers.prepare("two", "one", weights="4321")

    assert 2 == preparers.made


def test_finished_pieces_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a part is not finished its pieces are given to the next preparer, and go when that has finished."""
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path))
    folder = Folder(Workload(Model.from_file(MODEL), "tiny", "seeded"))
    folder.require_space()
    with pytest.raises(KeyboardInterrupt):
        _killed(folder)
    with folder.making():
        left = folder.left

    assert [1, False] == [len(left), left[0].exists()]


def _killed(folder: Folder) -> None:
    with folder.making() as made:
        (made / "golden-x.piece.json").touch()
        raise KeyboardInterrupt
