"""Walls: what may import what, and who may know whom by name."""

from __future__ import annotations

import ast
import builtins
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "pytest_inferena"
WORKER = sorted(SOURCE.glob("worker/*.py"))
BASELINE = frozenset({"torch", "pytorch"})
"""PyTorch as what everything is measured against, not as an engine."""
ALLOWED = {
    "program": BASELINE,
    "program/onnx": BASELINE | {"onnx"},  # an exchange format of many engines
    "prepare": BASELINE,
    "explain": BASELINE,
    "worker/aten.py": BASELINE,
    "verdict/gate.py": {"pytorch"},  # messages that show the baseline's figures
    "engines/description.py": {"torch"},  # adapter.toml's field needs_torch
    "processes/preparing.py": {"torch"},  # the variable TORCH_HOME, which a model may need
}
"""Which names may stand in the code of which file or folder."""


def imports(file: Path, *, only_top: bool = False) -> set[str]:
    """The modules a file imports, those for the type checker left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    checked = {node for block in ast.walk(tree) if _for_types(block) for node in ast.walk(block)}
    found = set()
    for node in tree.body if only_top else ast.walk(tree):
        if node in checked:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name} imports relatively"
            found.add(node.module or "")
    return found


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def words(text: str) -> set[str]:
    """Identifiers and words of a text, in small letters."""
    return {word.lower() for word in re.findall(r"[A-Za-z0-9_.]+", text)} | set(re.findall(r"[a-z0-9]+", text.lower()))


def spoken(file: Path) -> set[str]:
    """Words of a file's code: names, attributes, imports and strings, docstrings and comments left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    prose = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            found |= words(node.value)
        for field in ("id", "attr", "name", "module", "arg"):
            value = getattr(node, field, None)
            found |= words(value) if isinstance(value, str) else set()
    return found


def names() -> dict[str, str]:
    """Names of the repository's frameworks, their distributions, and models → where they come from."""
    found = {}
    for file in sorted(ROOT.glob("adapters/*/adapter.toml")):
        document = tomllib.loads(file.read_text(encoding="utf-8"))
        for name in (document["name"], *(Requirement(text).name for text in document.get("requires", ()))):
            found[name.lower()] = file.parent.name
    found = {name: place for name, place in found.items() if not hasattr(builtins, name)}  # an engine is called max
    return found | {file.stem: "models" for file in ROOT.glob("benchmarks/models/[a-z]*.py")}


@pytest.mark.parametrize("file", WORKER, ids=lambda file: file.name)
def test_worker_imports_little(file: Path) -> None:
    """A worker's files need the standard library, NumPy and safetensors; aten.py PyTorch as well."""
    allowed = {"numpy", "safetensors", *sys.stdlib_module_names} | ({"torch"} if file.name == "aten.py" else set())
    found = imports(file)
    strange = {name for name in found if name.split(".")[0] not in allowed}

    assert set() == {name for name in strange if not f"{name}.".startswith("pytest_inferena.worker.")}


def test_nothing_of_the_worker_imports_aten() -> None:
    """The one module that needs PyTorch is imported by adapters that ask for it."""
    importing = {file.name for file in WORKER if any(name.endswith(".aten") for name in imports(file))}

    assert set() == importing


def test_plugin_imports_nothing_heavy() -> None:
    """A run of `pytest --help` pays for the standard library's typing and pytest alone."""
    assert {"__future__", "typing", "pytest"} == imports(SOURCE / "plugin.py", only_top=True)


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_mechanism_knows_no_framework_and_no_model(file: Path) -> None:
    """No code of the package names an engine or a model; PyTorch is the baseline where golden is made."""
    relative = file.relative_to(SOURCE)
    if "benchmarks" in relative.parts or "adapters" in relative.parts:
        return  # what the wheel maps into the package
    places = [str(relative), *map(str, relative.parents)]
    forbidden = set(names()).difference(*(ALLOWED.get(place, ()) for place in places))

    assert set() == forbidden & spoken(file)


@pytest.mark.parametrize("code", ["x = 'jax'", "import jax.numpy", "smollm2 = 1", "if a.resnet50: pass", "f(jax=1)"])
def test_wall_has_no_hole(tmp_path: Path, code: str) -> None:
    """A name in a string, an import, a variable, an attribute or an argument is seen."""
    file = tmp_path / "code.py"
    file.write_text(code)

    assert names().keys() & spoken(file) | (names().keys() & words(" ".join(imports(file))))


def test_one_file_knows_the_kinds_of_launch() -> None:
    """Whether an engine is Python, an executable or a package of cargo is asked where the three classes are."""
    asking = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in {"cargo", "executable"} and "sys" != _name(node.value):
                asking.add(str(file.relative_to(SOURCE)))

    assert {"engines/kinds.py"} == asking
