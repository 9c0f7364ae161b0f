"""The real engines on the real models at tiny size: every cell is run and judged."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.in_ci import IN_CI

from pytest_inferena.commands.cli import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SLOW = {
    "sd15_unet-jax-xla",
    *(f"{model}-pytorch-inductor" for model in ("resnet50", "sd_unet", "smolvla", "whisper_tiny")),
}
"""They compile for a minute or so each: in CI only. The four minutes of the large one on inductor are not spent."""


def expected() -> list[tuple[str, str]]:
    """(target, metric) of every line of expected-cells.txt."""
    lines = (Path(__file__).parent / "expected-cells.txt").read_text().splitlines()
    pairs = [line.split(": ") for line in lines if not line.startswith("#")]
    return [(target, metric) for target, metrics in pairs for metric in metrics.split()]


def postponed(target: str) -> bool:
    """Whether a cell is left to CI."""
    return not IN_CI and (target.endswith(("-aot", "-max-cpu")) or target in SLOW)


@contextlib.contextmanager
def last_processor() -> Iterator[None]:
    """What is started inside runs there: engines of one thread take the first, where those of other tests are."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """One run of all cells, judged without figures."""
    folder = tmp_path_factory.mktemp("cells")
    chosen = [
        f"benchmarks/test_{metric}.py::test_{metric}[{target}]"
        for target, metric in expected()
        if not postponed(target)
    ]
    command = [
        sys.executable, "-m", "pytest", *chosen, "-p", "no:cacheprovider", "--inferena-size=tiny",
        "--inferena-large", "--inferena-threads=1", "--benchmark-disable",
        f"--inferena-results={folder / 'journal.jsonl'}", f"--inferena-report=json:{folder / 'cells.json'}",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with last_processor():
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (folder / "cells.json").exists(), done.stdout[-4000:] + done.stderr[-2000:]
    found = json.loads((folder / "cells.json").read_text())["records"]
    return {("-".join(r[key] for key in ("model", "framework", "backend")), r["metric"]): r for r in found}


@pytest.mark.parametrize(("target", "metric"), expected())
def test_cell(records: dict[tuple[str, str], dict[str, Any]], target: str, metric: str) -> None:
    """The engine computes what PyTorch computes; in CI it has to be installed."""
    if postponed(target):
        pytest.skip("it compiles for a minute or two; CI=1 runs it")
    record = records[target, metric]
    if record["outcome"] == "not_installed" and not IN_CI:
        pytest.skip(record["reason"])

    assert record["outcome"] in {"pass", "close"}, f"{record['outcome']}: {record['reason']}\n{record['log']}"


def test_every_backend_has_expected_cells() -> None:
    """A backend that nobody expects anything of would be one that nobody checks."""
    known = {
        f"{framework.name}-{backend.name}": backend
        for framework in registry().frameworks.values()
        for backend in framework.backends
    }
    tried = {target.partition("-")[2] for target, _ in expected()}

    assert set() == tried - known.keys()
    assert tried >= {name for name, backend in known.items() if backend.device == "cpu" and not backend.tuned}
