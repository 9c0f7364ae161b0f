"""What is prepared once and kept: Programs, weights, golden data and exchange files, by content hash.

A folder of the cache holds parts, each with a manifest that is written last: `base` (Program, weights,
golden), `joint`, and one for each engine's exchange files. A part counts only while its manifest's files,
the sources and the Program that it was made from are what the manifest says.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pytest_inferena.store.cache import root
from pytest_inferena.store.disk import CacheError
from pytest_inferena.store.hashes import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_inferena.processes.workload import Workload


class Folder:
    """One workload's place in the cache."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.path = root() / "programs" / workload.key()
        self.notes: list[str] = []
        """What the user should be told: which files were damaged."""
        self._valid: dict[str, dict[str, Any]] = {}

    def lock(self) -> FileLock:
        """Held while a part is made, by whichever process comes first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.path.with_suffix(".lock"))

    def manifest(self, part: str) -> dict[str, Any] | None:
        """The manifest of a part that is whole and made from what there is today; else None."""
        if part in self._valid:
            return self._valid[part]
        file = self.path / f"{part}.manifest.json"
        if not file.exists():
            return None
        try:
            manifest: dict[str, Any] = json.loads(file.read_text())
            damaged = [name for name, kept in manifest["files"].items() if not _is(self.path / name, kept)]
            fresh = all(_is(Path(path), {"sha256": kept}) for path, kept in manifest["sources"].items())
            fresh = fresh and manifest["program"] == self._program(part)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            manifest, damaged, fresh = {}, [file.name], False
        if damaged:
            self.notes.append(f"{self.path / damaged[0]} was damaged, so {part} was prepared again")
        if damaged or not fresh:
            return None
        self._valid[part] = manifest
        return manifest

    def _program(self, part: str) -> str:
        """A hash of the Program and weights that a part is made from; "" for `base` itself."""
        base = None if part == "base" else self.manifest("base")
        files = {} if base is None else base["files"]
        made_from = sorted((name, kept["sha256"]) for name, kept in files.items() if not name.startswith("golden"))
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest() if files else ""

    @contextlib.contextmanager
    def making(self) -> Iterator[Path]:
        """An empty folder beside this one; what an earlier process left there when it was killed is removed."""
        for left in self.path.parent.glob(f"{self.path.name}-making-*"):
            shutil.rmtree(left, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=f"{self.path.name}-making-", dir=self.path.parent))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def publish(self, part: str, made: Path, facts: dict[str, Any], sources: Iterable[Path]) -> None:
        """Move what was made in `made` into place, the manifest last, so that a part is whole or absent."""
        files = {
            str(path.relative_to(made)): {"size": path.stat().st_size, "sha256": sha256(path)}
            for path in sorted(made.rglob("*")) if path.is_file()
        }  # fmt: skip
        manifest = {"files": files, "sources": {str(path): sha256(path) for path in sources}, **facts}
        manifest["program"] = self._program(part)
        draft, final = made / "manifest.json", self.path / f"{part}.manifest.json"
        draft.write_text(json.dumps(manifest))
        _remove_folder(final)
        final.unlink(missing_ok=True)
        for child in made.iterdir():  # a folder is an engine's own, with what an older adapter left there, or damage
            _remove_folder(self.path / child.name)
        for name in files:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).replace(self.path / name)
        self.path.mkdir(parents=True, exist_ok=True)
        draft.replace(final)

    def require_space(self) -> None:
        """Raise CacheError if the disk has less than the workload will take."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.path.parent).free < self.workload.estimate():
            raise self.no_space()

    def no_space(self) -> CacheError:
        """What to say where the disk is full."""
        free = shutil.disk_usage(self.path.parent).free
        return CacheError(
            f"{self.path.parent} has no room: {free >> 20} MiB left, {self.workload.model.title} takes "
            f"{self.workload.estimate() >> 20} MiB; 'inferena cache clear', or INFERENA_CACHE=FOLDER on another disk"
        )


def _is(path: Path, kept: dict[str, Any]) -> bool:
    """Whether a file has the size and the hash that a manifest names."""
    if not path.is_file() or path.stat().st_size != kept.get("size", path.stat().st_size):
        return False
    return sha256(path) == str(kept["sha256"])


def _remove_folder(path: Path) -> None:
    """Remove a folder; a file stays until another replaces it, so that who reads it always finds one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
