"""Tests of what a user reads who made one of the mistakes in `messages`: word for word, apart from paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_inferena.prepare.__main__ import main
from pytest_inferena.prepare.imported import Imported

HERE = Path(__file__).parent / "messages"
MISTAKES = sorted(file.stem for file in HERE.glob("*.py"))


def said(source: Path, folder: Path) -> str:
    """What becomes of a model: a line for the model, or for each entry that it does not have."""
    request: dict[str, Any] = {
        "part": "base", "folder": str(folder), "source": str(source), "size": "tiny", "left": [], "largest": None,
        "name": source.stem, "weights": "seeded",
    }  # fmt: skip
    (folder / "request.json").write_text(json.dumps(request))
    main(Imported(), str(folder / "request.json"))
    if (file := folder / "error.json").exists():
        error = json.loads(file.read_text())
        return f"{error['outcome']}: {error['message']}\n"
    failed = json.loads((folder / "facts.json").read_text())["failed"]
    return "".join(f"{entry}: {error['outcome']}: {error['message']}\n" for entry, error in sorted(failed.items()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MISTAKES)
def test_message_of_a_mistake(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the line, the cause and the way out; only the entries that the mistake concerns have it."""
    monkeypatch.chdir(HERE)
    message = said(HERE / f"{name}.py", tmp_path).replace(f"{HERE}/", "").replace(f"{tmp_path}/", "")

    assert (HERE / f"{name}.txt").read_text() == message


def test_there_are_thirty() -> None:
    """And each has its text."""
    assert len(MISTAKES) >= 30
    assert MISTAKES == sorted(file.stem for file in HERE.glob("*.txt"))
