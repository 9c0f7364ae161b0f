"""A model as collection knows it. Its file is read, and not run; other sources are not even opened."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pytest_inferena import machine
from pytest_inferena.collect.source import Source
from pytest_inferena.files import read_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONSTANTS: dict[str, type] = {
    "TITLE": str, "UNIT": str, "ITEMS": int, "PARAMETERS": int,
    "LARGE": bool, "SEEDED": bool, "NEEDS_GIB": dict, "PACKAGES": list, "ARENA": str,
}  # fmt: skip
_NEEDS = ("inference", "latency", "training")


LARGEST = 4 << 20
"""Bytes that a model's file has at most."""


@dataclass(frozen=True)
class Model:
    """What collection knows of a model."""

    name: str  # part of test ids: [a-z0-9_]+
    title: str  # how it is shown
    source: Source
    unit: str = ""  # what a step processes: "token", "image"; "" where the preparer finds it out, as with what is 0
    items: int = 0  # how many of them in one step of entry `inference`, at full size
    parameters: int = 0  # at full size
    large: bool = False
    seeded: bool = False  # whether its weights are seeded unless others are asked for
    needs_gib: Mapping[str, int] = field(default_factory=dict, hash=False)  # entry -> memory, at full size
    packages: tuple[str, ...] = ()  # distributions that the weights `package` come from
    arena: str = ""  # what Inference Arena's published tables call it

    @classmethod
    def of(cls, source: Source) -> Self:
        """What can be known of a source before it is opened. Of a file that is what its constants say.

        Raises:
            ValueError: a file's syntax or a constant is wrong.
        """
        values: dict[str, Any] = {"title": source.title, "seeded": source.seeded}
        if source.kind == "file":
            path = Path(source.place)
            constants = _literals(path)
            values |= {name.lower(): _constant(path, name, value) for name, value in constants.items()}
            values["packages"] = tuple(values.get("packages", ()))
        return cls(name=source.name, source=source, **values)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """The same of a model's file."""
        return cls.of(Source.parse(str(path), Path.cwd()))

    @property
    def usual_weights(self) -> str:
        """Its weights unless others are asked for: seeded, or its own."""
        return "seeded" if self.seeded else "own"

    def too_big(self, entry: str, size: str) -> str:
        """Why this machine has too little memory for an entry; "" if it has enough. `joint` counts as training."""
        needs = self.needs_gib.get("training" if entry == "joint" else entry, 0) if size == "full" else 0
        has = machine.memory_gib()
        return f"needs {needs} GiB of memory, this machine has {has}" if has is not None and has < needs else ""


def _literals(path: Path) -> dict[str, Any]:
    try:
        tree = ast.parse(read_plain(path, LARGEST).decode())
    except SyntaxError as error:
        raise ValueError(f"{path}:{error.lineno}: {error.msg}; a model's file has to be Python.") from error
    except (ValueError, RecursionError, MemoryError) as error:  # no text, or nested too deep
        raise ValueError(f"{path}: {error or 'nested too deep'}; a model's file has to be Python.") from error
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        names = [target.id for target in targets if isinstance(target, ast.Name) and target.id in _CONSTANTS]
        if names and node.value is not None:
            found |= dict.fromkeys(names, _literal(node.value))
    return found


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return node  # an expression; its type will be found wrong, and named


def _constant(path: Path, name: str, value: Any) -> Any:
    kind: Any = _CONSTANTS[name]
    if type(value) is not kind:
        shown = "an expression" if isinstance(value, ast.expr) else repr(value)
        raise ValueError(f"{path}: {name} is {shown}; write a literal {kind.__name__}.")
    if value == "" or (kind is int and not 0 < value < 2**63):
        raise ValueError(f"{path}: {name} is {value!r}; it has to be {'positive' if kind is int else 'some text'}.")
    if kind is dict and not all(key in _NEEDS and type(gib) is int and gib > 0 for key, gib in value.items()):
        raise ValueError(f"{path}: {name} is {value!r}; it maps entries ({', '.join(_NEEDS)}) to whole GiB.")
    if kind is list and not all(isinstance(item, str) and item for item in value):
        raise ValueError(f"{path}: {name} is {value!r}; it lists names of distributions.")
    return value
