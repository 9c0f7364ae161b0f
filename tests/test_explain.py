"""Tests of `inferena explain`: faults are planted in copies of adapters, and it has to name them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.in_ci import long

from pytest_inferena.collect import source
from pytest_inferena.collect.registry import read
from pytest_inferena.commands.explain import find
from pytest_inferena.engines.framework import Framework, RegistryError
from pytest_inferena.explain.__main__ import main
from pytest_inferena.explain.search import first_wrong
from pytest_inferena.explain.source import NoSourceError, Source

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
NET = Path(__file__).parent / "explain_net.py"
SUB = 'for name in ("add", "sub", "mul"'
GELU = 'jax.nn.gelu(x, approximate=approximate == "tanh")'
EXPORT = "write_entries(program, folder)"
WRONG_EPS = """
        from dataclasses import replace

        class Wrong(type(program)):
            def entry(self, name):
                made = super().entry(name)
                made.nodes = tuple(
                    replace(node, arguments=node.arguments | ({"eps": 1e-2} if "norm" in node.operator else {}))
                    for node in made.nodes
                )
                return made

        write_entries(Wrong(program.folder, program.model, program.parameters, program.trainable), folder)
"""
NUMPY_OPERATORS = """
from math import erf
SLICE = lambda x, dim, start, end, step: x[:, start - 1 : end - 1] if dim == 1 else x[start:end]
OPERATORS |= {
    "slice": SLICE,
    "gelu": lambda x, approximate: x * (1 + np.vectorize(erf)(x / 2**0.5)).astype("f4") / 2,
    "sub": lambda a, b: a - b,
    "layer_norm": lambda x, shape, weight, bias, eps: (
        (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + np.float32(eps)) * weight + bias
    ),
}
CONDITIONS |= {name: {} for name in ("slice", "gelu", "sub", "layer_norm")}
"""


@pytest.fixture
def spoilt(tmp_path: Path) -> Callable[..., Path]:
    """Copies an adapter with a fault in it."""

    def spoil(name: str, *changes: tuple[str, str]) -> Path:
        folder = tmp_path / "spoilt"
        shutil.copytree(ROOT / "adapters" / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
        toml, adapter = folder / "adapter.toml", folder / "adapter.py"
        toml.write_text(toml.read_text().replace(f'name = "{name}"', 'name = "spoilt"', 1))
        text = adapter.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        adapter.write_text(text)
        return folder

    return spoil


@pytest.fixture
def explain(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Explains a cell of the net on an engine; what it says."""
    monkeypatch.setenv("INFERENA_CACHE", str(cache))

    def run(folder: Path, metric: str = "inference", backend: int = 0) -> str:
        request = {
            "name": "a cell", "model": str(NET), "adapter": str(folder), "metric": metric, "size": "tiny",
            "backend": Framework.read(folder).backends[backend].name, "weights": "seeded", "threads": 1, "path": [],
            "output": str(tmp_path / "out"),
        }  # fmt: skip
        main(json.dumps(request))
        said = capsys.readouterr()
        return said.out + said.err

    return run


def test_wrong_gelu(spoilt: Callable[..., Path], explain: Callable[..., str], tmp_path: Path) -> None:
    """A graph engine: the operator, the user's line, the errors, and a script that needs the engine alone."""
    said = explain(spoilt("jax", (GELU, "jax.nn.gelu(x, approximate=True)")))
    script = (tmp_path / "out" / "run.py").read_text()
    issue = (tmp_path / "out" / "issue.md").read_text()
    shown = subprocess.run([sys.executable, "run.py"], cwd=tmp_path / "out", capture_output=True, text=True, check=True)

    assert "JAX (xla) leaves the reference at node gelu: gelu(self=float32[4, 16], approximate='none')." in said
    assert f"{NET.name}:34 (hidden = nn.functional.gelu(self.first(x)))" in said
    assert "It makes the error itself" in said
    assert "returns this tensor, the error is still there" in said
    assert "jax.nn.gelu(x, approximate=True)" in script
    assert "pytest" not in script
    assert shown.stdout.strip() in said
    assert shown.stdout.strip() in issue
    assert script in issue
    assert "jax 0." in issue


@long
def test_wrong_gradient(spoilt: Callable[..., Path], explain: Callable[..., str]) -> None:
    """An engine's own autograd: the first operator whose gradient is wrong, although every result is right."""
    wrong = '"tanh": lambda x: jnp.tanh(0.9 * x + 0.1 * lax.stop_gradient(x)),\n    "to"'
    said = explain(spoilt("jax", ("sqrt tanh where", "sqrt where"), ('"to"', wrong)), "training")

    assert "leaves the reference at node tanh: tanh(self=float32[4, 16])." in said
    assert "from exact inputs its gradient has" in said
    assert "JAX (xla): 1.00e-01, PyTorch float32" in said


def test_wrong_eps_in_a_file(spoilt: Callable[..., Path], explain: Callable[..., str], tmp_path: Path) -> None:
    """An engine that runs files, on the graph of gradients too: the file that shows the error is there."""
    folder = spoilt("onnxruntime", (EXPORT, WRONG_EPS.strip()))
    said = explain(folder, "training")

    assert "leaves the reference at node native_layer_norm: native_layer_norm(" in said
    assert "ONNX Runtime (cpu): " in said
    assert "onnxruntime" in (tmp_path / "out" / "run.py").read_text()


@long
def test_swapped_arguments(spoilt: Callable[..., Path], explain: Callable[..., str]) -> None:
    """An engine that is PyTorch; a script that does not show the error is not handed out as if it did."""
    wrong = 'aten.to_module(entry, self.parameters, {**aten.SPELLED, "sub": lambda a, b: b - a})'
    said = explain(spoilt("pytorch", ("aten.to_module(entry, self.parameters)", wrong)), backend=2)

    assert "leaves the reference at node sub: sub(self=float32[4, 16], other=float32[4, 16])." in said
    assert "run.py does not show it" in said


@long
def test_a_step_that_spoils_the_next(spoilt: Callable[..., Path], explain: Callable[..., str]) -> None:
    """The first step is right and the second is not: a cell is judged by its last one, and so is a piece."""
    wrong = (
        "aten.to_module(entry, self.parameters, {**aten.SPELLED, "
        '"sub": lambda a, b, done=[]: done.append(0) or (a - b) * len(done)})'
    )
    said = explain(spoilt("pytorch", ("aten.to_module(entry, self.parameters)", wrong)), backend=2)

    assert "leaves the reference at node sub: sub(self=float32[4, 16], other=float32[4, 16])." in said


def test_slice_off_by_one_in_an_executable(
    explain: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine that is a program: what is left is its Program, and the command that runs it again."""
    folder = tmp_path / "program"
    folder.mkdir()
    worker = (ROOT / "docs" / "example_worker.py").read_text().replace("\nLOOP = ", f"{NUMPY_OPERATORS}\nLOOP = ")
    (folder / "worker.py").write_text(worker.replace("#!/usr/bin/env python3", f"#!{sys.executable}"))
    (folder / "worker.py").chmod(0o755)
    (folder / "adapter.toml").write_text(
        'name = "program"\ntitle = "Program"\nlanguage = "any"\nexecutable = "worker.py"\ntraining = "none"\n'
        '[[backends]]\nname = "numpy"\ndevice = "cpu"\n'
    )
    said = explain(folder)
    out = tmp_path / "out"
    again = json.loads((out / "piece.json").read_text()) | {"piece": str(out), "name": "again", "path": []}

    assert "leaves the reference at node slice_1: slice(self=float32[4, 16], dim=1, start=1, end=15, step=1)." in said
    assert f"no script for the engine alone: nothing says how its operators are called; again: inferena explain {out}" \
        in said  # fmt: skip
    assert 0 == main(json.dumps(again))
    assert "Program (numpy), slice: 1." in capsys.readouterr().out


@long
def test_fused(spoilt: Callable[..., Path], explain: Callable[..., str]) -> None:
    """An error of operators that run in one go: they are named together, for each alone is right."""
    fused = "evaluate(entry, OPERATORS | FUSED if 'matmul' in entry.operators() else OPERATORS"
    table = "FUSED = {'tanh': lambda x: jnp.tanh(1.1 * x)}\nCONDITIONS: "
    said = explain(spoilt("jax", ("evaluate(entry, OPERATORS", fused), ("CONDITIONS: ", table)))

    assert "leaves the reference at node tanh" in said
    assert "Alone it is right. Run in one go with what is before it, it is not:" in said
    assert "(matmul) → linear_1~15 (add) → tanh (tanh): " in said


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("len(entry.nodes) > 1 and '0' in entry.outputs", "leaves the reference at node gelu: gelu("),
        ("'0' in entry.outputs", "runs no part of this model, neither up to an operator nor an operator alone."),
    ],
)
def test_without_prefixes(spoilt: Callable[..., Path], explain: Callable[..., str], limit: str, expected: str) -> None:
    """An engine that runs no prefix: its operators one by one; where it runs whole models only, that is said."""
    refuse = f"if {limit}: raise __import__('pytest_inferena').Unsupported('parts')\n        constants = dict("
    said = explain(spoilt("jax", (GELU, "jax.nn.gelu(x, approximate=True)"), ("constants = dict(", refuse)))

    assert expected in said


def test_crash(spoilt: Callable[..., Path], explain: Callable[..., str]) -> None:
    """An engine that dies: the operator at which it does."""
    said = explain(spoilt("jax", (GELU, "__import__('os').abort()")))

    assert "leaves the reference at node gelu" in said
    assert "It makes the error itself: from exact inputs its result has crash: compile: killed by SIGABRT" in said


def test_right(explain: Callable[..., str]) -> None:
    """A cell that passes has nothing to explain."""
    assert "there is nothing to explain" in explain(ROOT / "adapters" / "jax", "training")


@pytest.mark.parametrize("wrong", range(12))
def test_search(wrong: int) -> None:
    """Whichever value of a graph goes wrong first, it is found; a value that cannot be seen is passed over."""
    parents = {str(n): [str(p) for p in {n // 2, n - 3} if 0 <= p < n] for n in range(12)}
    bad = {str(wrong)}
    for name, of in parents.items():
        bad |= {name} if bad.intersection(of) else set()
    looked: list[str] = []

    def look(name: str) -> bool | None:
        looked.append(name)
        return None if name == "5" and wrong != 5 else name in bad

    for start in bad:
        assert str(wrong) == first_wrong(parents, start, look) or "5" in parents[start]


def test_cell_by_its_name() -> None:
    """As pytest prints it, or by words that no other cell has; an error names the cells that it may be."""
    known = read([source.Source.parse(str(NET), None)], [ROOT / "adapters" / "jax", ROOT / "adapters" / "pytorch"])

    def named(given: str) -> str:
        target, metric = find(known, given)
        return f"{target.id}-{metric}"

    assert "explain_net-jax-xla-training" == named("benchmarks/test_training.py::test_training[explain_net-jax-xla]")
    assert "explain_net-jax-xla-latency" == named("explain_net-jax-xla-latency") == named("jax latency")
    with pytest.raises(RegistryError, match=r"names 4 cells: explain_net-jax-xla-compile, .*; say more of its name"):
        named("jax")
    with pytest.raises(RegistryError, match="no cell is called 'jaxx'"):
        named("jaxx")


def test_sources() -> None:
    """An operator's source has what it needs, from files beside it too; what cannot stand alone is refused."""
    source = Source(ROOT / "adapters" / "jax" / "adapter.py")

    assert "convolution(2)" == source.operator("conv2d")
    assert "jnp.exp" == source.operator("exp")
    assert "def convolution(rank):" in source.statements["convolution"]
    assert "from jax import lax" == source.statements["lax"]
    with pytest.raises(NoSourceError, match="written in another way for no_such"):
        source.operator("no_such")
