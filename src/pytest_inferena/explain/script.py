"""A script that shows an error with the engine alone: the operator as the adapter calls it, and its real inputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena.explain.source import NoSourceError, Source
from pytest_inferena.worker import aten
from pytest_inferena.worker.format import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_inferena.engines.framework import Backend, Framework
    from pytest_inferena.worker.format import Entry, Node

HEAD = '''\
"""{title}. It needs NumPy and the engine, nothing else."""

import numpy
{imports}

inputs = dict(numpy.load("inputs.npz"))
expected, usual = (numpy.load("expected.npz")[name] for name in ("float64", "pytorch_float32"))
{given}
{operator}
{engine}


def error(one):
    return numpy.sqrt(numpy.mean((one - expected) ** 2) / numpy.mean(expected**2))


print(f"{name}: {{error(numpy.asarray(got)):.2e}}, PyTorch float32: {{error(usual):.2e}}")
'''


def script(framework: Framework, backend: Backend, entry: Entry, tensor: str, title: str) -> str:
    """The script, or "" where adapter.toml does not say how one operator is run with the engine alone.

    Args:
        framework: the engine.
        backend: the way in which it runs.
        entry: the piece, as it was written for the engine.
        tensor: the output, or `grad:NAME`, that is compared.
        title: what it shows.
    """
    lines = {**framework.script, **backend.script}.get("training" if entry.trains else "inference", "").strip("\n")
    if not lines:
        return ""
    given = f'entry, output = "{entry.name}", "{tensor}"'
    imports, operator = "", ""
    if "compute" in lines:
        try:
            imports, operator = _operator(framework, entry, tensor)
        except NoSourceError:
            return ""
        names = list(_arguments(entry))
        given = f"inputs = {{name: inputs[name] for name in {names}}}"
        given += f"\nwrt = {names.index(tensor.removeprefix('grad:'))}" if entry.trains else ""
    engine = [line for line in lines.splitlines() if not line.startswith(("import ", "from "))]
    imports = "\n".join(
        dict.fromkeys([*imports.splitlines(), *(line for line in lines.splitlines() if line not in engine)])
    )
    made = HEAD.format(
        title=title, name=f"{framework.title} ({backend.name})", imports=imports, given=given, operator=operator,
        engine="\n".join(engine).strip("\n"),
    )  # fmt: skip
    return re.sub(r"\n{4,}", "\n\n\n", made)


def _operator(framework: Framework, entry: Entry, tensor: str) -> tuple[str, str]:
    """Imports, and the piece as a function `compute`, each node as the engine's adapter calls it."""
    source = Source(framework.adapter)
    spelled = Source(Path(aten.__file__), source.statements)
    arguments = _arguments(entry)
    lines = [f"def compute({', '.join(arguments.values())}):"]
    known = dict(arguments)
    for index, node in enumerate(entry.nodes):
        made = [f"made{index}" if at == 0 else f"made{index}_{at}" for at in range(len(node.outputs))]
        known |= dict(zip((spec.name for spec in node.outputs), made, strict=True))
        lines.append(f"    {', '.join(made)} = {_call(framework, source, spelled, node, known)}")
    lines.append(f"    return {known[entry.outputs['loss' if entry.trains else tensor]]}\n\n")
    texts = list(source.statements.values())
    imports = [text for text in texts if text.startswith(("import ", "from "))]
    return "\n".join(imports), "\n".join(["", *(text + "\n\n" for text in texts if text not in imports), *lines])


def _call(framework: Framework, source: Source, spelled: Source, node: Node, known: dict[str, str]) -> str:
    values = {name: _written(value, known) for name, value in node.arguments.items()}
    if not framework.needs_torch:
        return _applied(source.operator(node.operator), values.values())
    function = aten.operator(node)
    source.statements["torch"] = "import torch"
    if node.operator not in aten.SPELLED:
        keywords = aten.keywords_of(function)
        given = (f"{name}={value}" if name in keywords else value for name, value in values.items())
        return _applied(f"torch.ops.aten.{node.operator}", given)
    return _applied(spelled.operator(node.operator, "SPELLED"), values.values())


def _applied(function: str, arguments: Iterable[str]) -> str:
    called = f"({function})" if function.startswith("lambda") else function
    return f"{called}({', '.join(arguments)})"


def _arguments(entry: Entry) -> dict[str, str]:
    """Every tensor that is given, by the name of an argument."""
    read = {name for node in entry.nodes for name in node.inputs()}
    given = [*(spec.name for spec in entry.inputs), *entry.parameters, *(spec.name for spec in entry.constants)]
    return {name: f"x{index}" for index, name in enumerate(name for name in given if name in read)}


def _written(value: Any, known: dict[str, str]) -> str:
    if isinstance(value, Ref):
        return known[value.name]
    if isinstance(value, list):
        return f"[{', '.join(_written(item, known) for item in value)}]"
    if isinstance(value, float) and value - value != 0:
        return f'float("{value}")'
    return repr(value)
