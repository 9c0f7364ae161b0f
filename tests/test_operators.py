"""Tests of `inferena operators`: what engines have, and what of a model stands in the way where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from pytest_inferena.commands import cli

Asks: TypeAlias = Callable[..., tuple[int, str, str]]
NET = """
import torch
from pytest_inferena import Case


@torch.library.custom_op("mine::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@twice.register_fake
def _(x):
    return torch.empty_like(x)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 4)

    def forward(self, x):
        return BODY


def case(size="full"):
    return Case(Net(), {"x": torch.ones(2, 4)})
"""


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Asks:
    """Runs the command in a folder with a model of this body."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path / "cache"))

    def run(body: str, *words: str) -> tuple[int, str, str]:
        Path("net.py").write_text(NET.replace("BODY", body))
        code = cli.main(["operators", *words])
        return code, *capfd.readouterr()

    return run


def test_a_table_of_engines(ask: Asks) -> None:
    """Each operator is a row; an engine has it, has it under conditions, or gets it expanded."""
    code, said, _ = ask("x", "--engine", "jax", "--engine", "onnxruntime", "--engine", "pytorch")
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line}

    assert (0, ["jax", "onnxruntime"]) == (code, rows["operator"])
    assert (["✓", "✓"], ["(✓)", "(✓)"], ["○", "○"]) == (rows["add"], rows["avg_pool2d"], rows["any"])


def test_what_is_expanded_for_a_model(ask: Asks) -> None:
    """It is named with its number of nodes, for each of the two entries."""
    code, said, _ = ask("torch.nn.functional.silu(self.first(x))", "net.py", "--engine", "onnxruntime")

    assert 0 == code
    assert [
        "ONNX Runtime",
        "  inference: expanded for it, nodes of each: silu 1",
        "  training: expanded for it, nodes of each: silu 1",
    ] == said.splitlines()


def test_what_no_engine_has(ask: Asks) -> None:
    """An operator of the user's own stands in the way of each, by its name and node; PyTorch runs it."""
    _, said, _ = ask("twice(self.first(x))", "net.py", "--engine", "jax", "--engine", "pytorch")

    assert "JAX\n  inference: unsupported operator mine::twice, node twice\n" in said
    assert said.count("no autograd formula was registered. Please use register_autograd to add one.") == 2
    assert "PyTorch\n  inference: it takes PyTorch's own operators, or whole architectures; a run tells\n" in said


@pytest.mark.parametrize(
    ("body", "words", "told"),
    [
        ("x", ("net.py", "--engine", "jaxx"), "jaxx is no engine; there are "),
        ("x", ("nothing.py",), "MODEL: "),
        ("self.second(x)", ("net.py", "--engine", "onnxruntime", "--engine", "jax"), ""),
    ],
)
def test_what_cannot_be_told(ask: Asks, body: str, words: tuple[str, ...], told: str) -> None:
    """One line says why, also where the model itself does not run."""
    code, said, error = ask(body, *words)

    assert (1, "", 1) == (code, said, error.count("\n"))
    assert error.startswith(f"inferena: {told}")
