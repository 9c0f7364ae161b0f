"""What is prepared once and kept: Programs, weights, golden data and exchange files.

A workload's folder holds a folder for each Program that was made of it. Another PyTorch, or other sources, make another
Program, and whoever runs the old one is not disturbed. A Program's folder holds parts: `base` (Program, weights,
golden), `joint`, and folders such as `exchange-ENGINE-…`, one for each way in which they were made. A part's manifest
is written last. The part counts only as long as the manifest is right about its files, about what they were made from,
and about the Program that they were made of.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pytest_inferena.engines.limits import written
from pytest_inferena.files import read_plain, release
from pytest_inferena.store import pruning
from pytest_inferena.store.cache import root
from pytest_inferena.store.disk import CacheError
from pytest_inferena.store.hashes import sha256, sha256_of
from pytest_inferena.store.origins import Origins
from pytest_inferena.worker.strict import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_inferena.processes.workload import Workload

BASE = "base"
IN_PROGRAM = frozenset({BASE, "joint"})
"""Parts whose files are in the Program's own folder: the same code makes `joint` and `base`."""
SUFFIX = ".manifest.json"
PIECES = "*.piece.json"
"""What a preparer that was killed has finished."""
CHECK = "sha256"
"""The field of a manifest that has a hash of all others."""
MANIFEST = 64 << 20
"""Bytes that a manifest has at most."""
DIGEST = "[0-9a-f]" * 16
"""What follows a folder's name, as a pattern."""


@dataclass(frozen=True)
class Part:
    """A part that is there, and was made from what is there today."""

    program: Path
    """The Program's folder."""
    name: str
    """The name of its manifest: `base`, `exchange-ENGINE-0123456789abcdef`."""
    manifest: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """The folder of its files, if it has one of its own."""
        return self.program / self.name

    def changed(self) -> Path | None:
        """The first file that is not what the manifest says; None if all are. A file is read where it has changed."""
        files = ((self.program / path, kept) for path, kept in self.manifest["files"].items())
        return next((path for path, kept in files if not _is(path, kept)), None)


class Folder:
    """One workload's place in the cache."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.path = root() / "programs" / workload.key()
        self.notes: list[str] = []
        """What the user should be told: which files were damaged."""
        self.left: list[Path] = []
        self._whole: dict[str, Part] = {}
        self._used: dict[Path, int] = {}

    def lock(self) -> FileLock:
        """Held while a part is made, by whichever process comes first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.path.with_name(f"{self.path.name}.lock"))

    def part(self, name: str, adapter: Path | None = None, *, whole: bool = True) -> Part | None:
        """The part that was made from what is there today, or None.

        Args:
            name: `base`, `joint`, or the beginning of a folder's name.
            adapter: the folder of the adapter that makes it.
            whole: whether to read and compare all its files, once a session; otherwise only its manifest is read.
        """
        if name in self._whole:
            return self._whole[name]
        damaged: list[Path] = []
        for file in self._manifests(name, whole=whole):
            part, broken = self._read(file, name, adapter, whole=whole)
            damaged += broken
            if part is not None and not broken:
                if whole:
                    self._whole[name] = part
                    self._use(part.program)
                return part
        note = f"{damaged[0]} was damaged, so {name} was prepared again" if whole and damaged else ""
        self.notes += [note] if note and note not in self.notes else []
        return None

    def _use(self, program: Path) -> None:
        """Keep a Program from being pruned while this is open."""
        if program not in self._used and (file := pruning.use(program)) is not None:
            self._used[program] = file

    def close(self) -> None:
        """Let others remove what was used."""
        while self._used:
            release(self._used.popitem()[1])

    def _manifests(self, name: str, *, whole: bool) -> list[Path]:
        if name == BASE:
            return sorted(self.path.glob(f"*/{BASE}{SUFFIX}"))
        base = self.part(BASE, whole=whole)
        pattern = name if name in IN_PROGRAM else f"{name}-{DIGEST}"
        return sorted(base.program.glob(pattern + SUFFIX)) if base else []

    def _read(self, file: Path, name: str, adapter: Path | None, *, whole: bool) -> tuple[Part | None, list[Path]]:
        """A part by its manifest, None if it is old; and its files that are damaged."""
        try:
            manifest: dict[str, Any] = parse(read_plain(file, MANIFEST))
            if not Origins.from_json(manifest).are_todays(adapter) or manifest["program"] != self._program(name):
                return None, []
            if manifest.pop(CHECK) != _check(manifest):
                return None, [file]
            part = Part(file.parent, file.name.removesuffix(SUFFIX), manifest)
            damaged = part.changed() if whole else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None, [file]
        return part, [damaged] if damaged else []

    def forget(self) -> None:
        """Read and compare all files again when they are asked for next: one of them has changed."""
        self._whole.clear()

    def _program(self, part: str) -> str:
        """A hash of the Program and weights that a part is made from; "" for `base` itself."""
        base = None if part == BASE else self.part(BASE, whole=False)
        files = {} if base is None else base.manifest["files"]
        made_from = sorted((name, kept["sha256"]) for name, kept in files.items() if not name.startswith("golden"))
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest() if files else ""

    @contextlib.contextmanager
    def making(self) -> Iterator[Path]:
        """An empty folder beside this one. What others left there is in `left` meanwhile, if it has finished pieces.

        Then it is removed. If this one is not finished either, its pieces stay.
        """
        before = [*self.path.parent.glob(f"{self.path.name}-making-*")]
        self.left = [folder for folder in before if any(folder.glob(PIECES))]
        made = Path(tempfile.mkdtemp(prefix=f"{self.path.name}-making-", dir=self.path.parent))
        gone = [made]
        try:
            yield made
        except BaseException:
            gone = [] if any(made.glob(PIECES)) else gone
            raise
        finally:
            for folder in (*before, *gone):
                shutil.rmtree(folder, ignore_errors=True)

    def publish(self, name: str, made: Path, facts: dict[str, Any], origins: Origins) -> None:
        """Move the files in `made` into place, the manifest last, so that a part is whole or absent."""
        kept = name if name in IN_PROGRAM else f"{name}-{origins.digest()}"
        if (made / name).is_dir():
            (made / name).rename(made / kept)
        files = {
            str(path.relative_to(made)): {"size": path.stat().st_size, "sha256": sha256(path)}
            for path in sorted(made.rglob("*")) if path.is_file()
        }  # fmt: skip
        manifest = {"files": files, **facts, **origins.to_json(), "program": self._program(name)}
        target = self._target(name, origins)
        draft, final = made / "manifest.json", target / f"{kept}{SUFFIX}"
        draft.write_text(json.dumps({**manifest, CHECK: _check(manifest)}))
        _remove_folder(final)
        final.unlink(missing_ok=True)
        for child in made.iterdir():  # an engine's folder goes as a whole, and damaged files with it
            _remove_folder(target / child.name)
        for file in files:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            (made / file).chmod(0o444)  # an engine that writes in the wrong place is stopped, if it does not insist
            (made / file).replace(target / file)
        target.mkdir(parents=True, exist_ok=True)
        draft.replace(final)

    def _target(self, name: str, origins: Origins) -> Path:
        """The folder of the Program that a part belongs to."""
        if name == BASE:
            return self.path / origins.digest()
        if (base := self.part(BASE, whole=False)) is None:
            raise CacheError(f"{self.path} changed while {name} was made of it; run again")
        return base.program

    def require_space(self) -> None:
        """Raise CacheError if the disk has less than the workload will take."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.path.parent).free < self.workload.estimate():
            raise self.no_space()

    def too_large(self, limit: int) -> CacheError:
        """The error for a file that is over a limit in bytes."""
        title = self.workload.model.title
        return CacheError(f"{title} makes a file of over {written(limit)}, the most for its number of parameters")

    def no_space(self) -> CacheError:
        """The error for a full disk."""
        free = shutil.disk_usage(self.path.parent).free
        return CacheError(
            f"{self.path.parent} has no room: {free >> 20} MiB left, {self.workload.model.title} takes "
            f"{self.workload.estimate() >> 20} MiB; 'inferena cache clear', or INFERENA_CACHE=FOLDER on another disk"
        )


def _check(manifest: Mapping[str, Any]) -> str:
    """A hash of all that a manifest says: a changed limit would be a wrong verdict."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _is(path: Path, kept: dict[str, Any]) -> bool:
    """Whether a file has the size and the hash that a manifest names."""
    if not path.is_file() or path.stat().st_size != kept.get("size", path.stat().st_size):
        return False
    return sha256_of(path) == str(kept["sha256"])


def _remove_folder(path: Path) -> None:
    """Remove a folder. A file stays until another replaces it, so that readers always find one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
