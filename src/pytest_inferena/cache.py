"""What is prepared once and kept: Programs, weights, golden data and exchange files, by content hash.

A folder of the cache holds parts, each with a manifest that is written last: `base` (Program, weights,
golden), `joint`, and one for each engine's exchange files. A part counts only while its manifest's files,
the sources and the Program that it was made from are what the manifest says.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from pytest_inferena.platform import instruction_sets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_inferena.model import Model

HERE = Path(__file__).parent
SOURCES = (
    "program/*.py",
    "worker/program.py",
    "worker/aten.py",
    "model.py",
    "weights.py",
    "reference.py",
    "gate.py",
    "tensors.py",
    "preparer.py",
)
"""What of this package decides the content of a Program and of golden data."""
EXCHANGE_SOURCES = ("program/*/*.py",)
"""What of it writes exchange files, beside an engine's adapter."""
DISTRIBUTIONS = ("torch", "transformers", "numpy", "safetensors", "gguf")


FULL = 28
"""The preparer's exit status where the disk is full: there may be no room for a message."""


class CacheError(Exception):
    """The cache cannot be used; the message names the remedy."""


def root() -> Path:
    """The user's cache folder: INFERENA_CACHE, or `pytest-inferena` where the system keeps caches."""
    if chosen := os.environ.get("INFERENA_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pytest-inferena"


def lock_folder() -> Path:
    """Where the locks of devices lie: one place per user, whatever the cache is."""
    return Path.home() / ".cache" / "pytest-inferena" / "locks"


@dataclass(frozen=True)
class Workload:
    """What is prepared: a model at a size with weights."""

    model: Model
    size: str
    weights: str
    """As asked for: seeded, package, hub or a path."""

    def key(self) -> str:
        """A name for the folder: the model's, and a hash of all that decides its content."""
        parts: list[Any] = [self.model.name, self.size, self.weights, digest([self.model.source])]
        parts += [own(SOURCES)]
        parts += [(name, version(name)) for name in DISTRIBUTIONS]
        if self.weights not in {"seeded", "package", "hub"}:
            parts += [_stamp(path) for path in sorted(_files(Path(self.weights)))]
        if self.weights == "package":
            parts += [(name, version(name)) for name in self.model.packages]
        return f"{self.model.name}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"

    def estimate(self) -> int:
        """Bytes it will take: weights and gradients in fp32, and some for outputs; tiny models take next to nothing."""
        return 9 * self.model.parameters + (64 << 20) if self.size == "full" else 16 << 20


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


class Kernels:
    """What these versions of a framework compiled for cells that were judged and not measured.

    Engines compile for the processor that they run on, and not all of them look at it again, so each kind has its own:
    a cache that machines share would end in an illegal instruction. One worker has them at a time, and what one leaves
    that was ended is not kept: inductor takes half a library for a whole one.
    """

    def __init__(self, framework: str, versions: Iterable[str]) -> None:
        processor = hashlib.sha256(instruction_sets().encode()).hexdigest()[:8]
        self.folder = root() / "kernels" / "-".join([framework, *versions, processor])
        self._taken = self.folder / "taken"
        self._lock = FileLock(f"{self.folder}.lock")

    def take(self) -> Path | None:
        """The folder; None while another worker has it."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return None
        if self._taken.exists():  # whoever took it never gave it back
            shutil.rmtree(self.folder)
        self.folder.mkdir(exist_ok=True)
        self._taken.touch()
        return self.folder

    def give_back(self, *, whole: bool) -> None:
        """Let the next worker have it, and what is in it if the last one ended of its own accord."""
        if self._lock.is_locked:
            if whole:
                self._taken.unlink(missing_ok=True)
            self._lock.release()


def size() -> int:
    """Bytes that the cache takes."""
    total = 0
    for path in root().rglob("*"):
        with contextlib.suppress(OSError):  # another process may be done with it
            total += path.stat().st_size if path.is_file() else 0
    return total


def clear() -> int:
    """Remove everything that can be made again; the bytes it took."""
    taken = size()
    for made in ("programs", "kernels"):
        shutil.rmtree(root() / made, ignore_errors=True)
    return taken - size()


def is_full(error: BaseException) -> bool:
    """Whether the disk has no room; safetensors' own error has the system's number in its text."""
    codes = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    named = re.search(r"os error (\d+)", str(error))
    return getattr(error, "errno", None) in codes or (named is not None and int(named[1]) in codes)


def sha256(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(paths: Iterable[Path]) -> str:
    """Of the Python, TOML and Rust sources among files and folders, by name and content."""
    total = hashlib.sha256()
    for path in paths:
        files = sorted(_files(path)) if path.is_dir() else [path]
        for file in files:
            if file.suffix in {".py", ".toml", ".rs"}:
                total.update(file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:16]


def own(patterns: Iterable[str]) -> str:
    """The digest of files of this package."""
    return digest(path for pattern in patterns for path in sorted(HERE.glob(pattern)))


def _is(path: Path, kept: dict[str, Any]) -> bool:
    """Whether a file has the size and the hash that a manifest names."""
    if not path.is_file() or path.stat().st_size != kept.get("size", path.stat().st_size):
        return False
    return sha256(path) == str(kept["sha256"])


def _remove_folder(path: Path) -> None:
    """Remove a folder; a file stays until another replaces it, so that who reads it always finds one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return path.name, status.st_size, status.st_mtime_ns


def version(name: str) -> str | None:
    """Of an installed distribution."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
