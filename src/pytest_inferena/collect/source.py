"""Where a model comes from, as a user says it: `hf:./my-bert`, `timm:resnet18`, `net.pt2`, `my_package.nets:make`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferena.store.hashes import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = ("hf", "diffusers")
"""Kinds of which a folder is named: its config.json says what the model is."""
NAMES = ("timm", "torchvision")
"""Kinds of which a name is: the library makes the model, its weights are seeded."""
FILES = {".py": "file", ".pt2": "pt2"}
KINDS = "hf:FOLDER_OR_ID, diffusers:FOLDER, timm:NAME, torchvision:NAME, NET.pt2, MY_NET.py, MY_PACKAGE.MODULE:CALLABLE"
_CALLABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_NAMED = re.compile(r"([a-z0-9_]+)=(.+)")


@dataclass(frozen=True)
class Source:
    """Where a model comes from. Only the preparer opens it."""

    kind: str
    """file, pt2, hf, diffusers, timm, torchvision, or python: a callable."""
    place: str
    """An absolute path, an id of the hub, a name in a library, or `module:callable`."""
    name: str
    """The model's name."""

    @classmethod
    def parse(cls, text: str, base: Path | None) -> Source:
        """Read what a user says. `NAME=` before it gives the model another name.

        Args:
            text: one of `KINDS`, or what `str` made of a source.
            base: where relative paths begin; None: paths are absolute.

        Raises:
            ValueError: it is none of them, or names a file or a folder that is not there.
        """
        named = _NAMED.fullmatch(text)
        own, said = named.groups() if named else ("", text)
        kind, colon, place = said.partition(":")
        if colon and kind in {*FOLDERS, *NAMES}:
            if not place:
                raise ValueError(f"{text}: nothing is named after {kind}:; there are {KINDS}")
        elif suffix := FILES.get(Path(said).suffix):
            kind, place = suffix, said
        elif _CALLABLE.fullmatch(said):
            kind, place = "python", said
        else:
            raise ValueError(f"{text} is no source of a model; there are {KINDS}")
        if kind in {*FILES.values(), *FOLDERS} and not (kind == "hf" and _is_id(place, base)):
            place = str(_path(place, base))
        found = own or _name(kind, place)
        if not re.fullmatch(r"[a-z0-9_]+", found):
            remedy = "a model's file is named in [a-z0-9_]; rename it." if kind == "file" else f"write NAME={text}"
            raise ValueError(f"{place}: {remedy}")
        return cls(kind, place, found)

    def __str__(self) -> str:
        said = f"{self.kind}:{self.place}" if self.kind in {*FOLDERS, *NAMES} else self.place
        return said if _name(self.kind, self.place) == self.name else f"{self.name}={said}"

    @property
    def title(self) -> str:
        """How its model is shown, if nobody says it."""
        if self.kind == "file":
            return self.name.replace("_", " ").capitalize()
        return self.path.name if self.path else self.place

    @property
    def path(self) -> Path | None:
        """The file or the folder, where it is one."""
        local = self.kind in {*FILES.values(), *FOLDERS} and Path(self.place).is_absolute()
        return Path(self.place) if local else None

    @property
    def seeded(self) -> bool:
        """Whether it has no weights of its own, so that seeded ones are the usual ones. A file says it itself."""
        return self.kind in NAMES or (self.kind in FOLDERS and self.path is not None and not any(_weights(self.path)))

    def content(self) -> list[tuple[str, str]]:
        """Names and hashes of the files that are no Python; what the preparer imports counts by itself."""
        path = self.path
        if path is None or self.kind == "file":
            return []
        files = [path] if path.is_file() else [*path.glob("*.json"), *_weights(path)]
        return [(file.name, sha256_of(file)) for file in sorted(files)]

    def weigh(self) -> int:
        """Bytes of its weights, as far as files say it; 0 where they do not."""
        path = self.path
        files = [path] if self.kind == "pt2" and path else _weights(path) if path and self.kind in FOLDERS else ()
        return sum(file.stat().st_size for file in files)


def not_absolute(path: str) -> ValueError:
    """The error for a relative path in what a hook or an entry point gives."""
    return ValueError(f"{path!r} is no absolute path; write Path(__file__).parent / {path!r}")


def _weights(folder: Path) -> Iterator[Path]:
    """Files of weights, those that will be refused too."""
    return (file for file in folder.glob("*") if file.suffix in {".safetensors", ".bin"})


def _is_id(place: str, base: Path | None) -> bool:
    """Whether an `hf:` place is an id of the hub, `ID` or `ID@REVISION`, and no folder has that name."""
    looks = re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?(@[\w./-]+)?", place) is not None
    return looks and not (base is not None and (base / place).exists())


def _path(place: str, base: Path | None) -> Path:
    path = Path(place).expanduser()
    if base is None and not path.is_absolute():
        raise not_absolute(place)
    path = ((base or path) / path).resolve()
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    return path


def _name(kind: str, place: str) -> str:
    """A valid name: that of a file or a folder, of what the library calls it, of the callable."""
    if kind == "file":
        return Path(place).stem
    last = Path(place).stem if kind == "pt2" else re.split(r"[/\\:]", place.rstrip("/\\"))[-1]
    if kind == "hf" and not Path(place).is_absolute():
        last = place.partition("@")[0].rpartition("/")[2]
    if kind == "python":
        last = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", last)
    return re.sub(r"[^a-z0-9]+", "_", last.lower()).strip("_")
