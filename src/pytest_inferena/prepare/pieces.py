"""What the preparer has finished stays where it is killed, and the next one takes it over.

A piece is a few files and the facts about them. It counts for a Program of the same content, made by the same code.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.files import read_plain
from pytest_inferena.store.hashes import sha256
from pytest_inferena.store.origins import Origins
from pytest_inferena.worker.strict import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SUFFIX = ".piece.json"
LIMIT = 64 << 20


class Pieces:
    """The pieces of a Program whose other files are all in its folder."""

    def __init__(self, folder: Path, left: Iterable[str], origins: Callable[[], Origins]) -> None:
        self.folder, self.left, self.origins = folder, [*map(Path, left)], origins
        made = sorted((path.name, sha256(path)) for path in folder.iterdir() if path.suffix == ".safetensors")
        made += sorted((path.name, sha256(path)) for path in folder.glob("*.json") if path.name != "request.json")
        self.basis = hashlib.sha256(json.dumps(made).encode()).hexdigest()

    def keep(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The facts about a piece: of the one that was left, or else of the one that is made now."""
        for place in self.left:
            if (found := self._taken_over(place, name)) is not None:
                return found
        before = {*self.folder.iterdir()}
        facts = make()
        files = {path.name: sha256(path) for path in {*self.folder.iterdir()} - before}
        document = {"facts": facts, "files": files, "basis": self.basis, **self.origins().to_json()}
        draft = self.folder / f"{name}.draft"
        draft.write_text(json.dumps(document))
        draft.replace(self.folder / f"{name}{SUFFIX}")
        return facts

    def _taken_over(self, place: Path, name: str) -> dict[str, Any] | None:
        """The facts, and the files moved here, if all of it is what would be made today."""
        note = place / f"{name}{SUFFIX}"
        try:
            document = parse(read_plain(note, LIMIT))
            files: dict[str, str] = document["files"]
            if document["basis"] != self.basis or not Origins.from_json(document).are_todays():
                return None
            if any(Path(file).name != file or sha256(place / file) != kept for file, kept in files.items()):
                return None
            for file in (*files, note.name):
                (place / file).replace(self.folder / file)
            facts: dict[str, Any] = document["facts"]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None
        return facts
