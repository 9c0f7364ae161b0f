"""What the plugin costs: calls to collect, and the parent's memory while it judges."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save_file

from pytest_inferena.cell import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MODELS, ENGINES, BACKENDS = 100, 15, 2
"""Each engine has as many backends: with four metrics 12,000 cells."""
CONFTEST = '''\
"""Registers many models and engines."""

from pathlib import Path

HERE = Path(__file__).parent


def pytest_inferena_models():
    return sorted(HERE.glob("models/*.py"))


def pytest_inferena_adapters():
    return sorted(HERE.glob("adapters/*"))
'''
CELL = '''\
"""A metric."""
import pytest

pytestmark = pytest.mark.{metric}


def test_{metric}(cell):
    pass
'''
PLAIN = '''\
"""The same parametrisation, written by hand, as well as can be."""
from functools import cache

import pytest

pytestmark = pytest.mark.{metric}


@cache
def mark(name):
    return getattr(pytest.mark, name)


TARGETS = [
    pytest.param((m, f, b), id=f"m{{m}}-f{{f}}-b{{b}}", marks=[
        mark(name) for name in (f"m{{m}}", f"f{{f}}", f"b{{b}}", "cpu", "python")
    ])
    for m in range({MODELS}) for f in range({ENGINES}) for b in range({BACKENDS})
]


@pytest.mark.parametrize("target", TARGETS)
def test_{metric}(target):
    pass
'''
MODEL = 'TITLE = "M"\nUNIT = "row"\nITEMS = 1\nPARAMETERS = 1\n'
ADAPTER = """\
name = "f{index}"
title = "F"
language = "python"
"""
BACKEND = """\
[[backends]]
name = "b{index}"
device = "cpu"
"""
COLLECT = """\
import cProfile
import sys

import pytest

profile = cProfile.Profile(builtins=False)
profile.enable()
status = pytest.main(sys.argv[1:])
profile.disable()
calls = sum(entry.callcount for entry in profile.getstats())
print(calls, open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
sys.exit(status)
"""
JUDGE = """\
import sys
import threading
import time
from pathlib import Path

from pytest_inferena import judge
from pytest_inferena.verdict.tensors import GoldenFile

peak = 0


def watch():
    global peak
    while True:
        status = open("/proc/self/status").read()
        peak = max(peak, int(status.split("RssAnon:")[1].split()[0]))
        time.sleep(0.002)


threading.Thread(target=watch, daemon=True).start()
golden, result = (GoldenFile(Path(file)) for file in sys.argv[1:3])
print(judge(golden, dict.fromkeys(golden, 1e-6), result).outcome, peak // 1024)
"""


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A project whose cells come from the plugin."""
    folder = tmp_path / "ours"
    for name in ("models", "adapters"):
        (folder / name).mkdir(parents=True)
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\nstrict = true\n")
    for metric in METRICS:
        (folder / f"test_{metric}.py").write_text(CELL.format(metric=metric))
    for index in range(MODELS):
        (folder / "models" / f"m{index}.py").write_text(MODEL)
    backends = "".join(BACKEND.format(index=index) for index in range(BACKENDS))
    for index in range(ENGINES):
        engine = folder / "adapters" / f"f{index}"
        engine.mkdir()
        (engine / "adapter.toml").write_text(ADAPTER.format(index=index) + backends)
        (engine / "adapter.py").touch()
    return folder


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A project with as many parametrised tests and marks, and no plugin."""
    folder = tmp_path / "plain"
    folder.mkdir()
    kinds = {"m": MODELS, "f": ENGINES, "b": BACKENDS}
    names = [*METRICS, "cpu", "python", *(f"{kind}{index}" for kind, count in kinds.items() for index in range(count))]
    markers = "".join(f"    {name}: a marker\n" for name in names)
    (folder / "pytest.ini").write_text(f"[pytest]\nstrict = true\nmarkers =\n{markers}")
    for metric in METRICS:
        (folder / f"test_{metric}.py").write_text(PLAIN.format(metric=metric, **globals()))
    return folder


def collect(folder: Path, *plugins: str) -> tuple[int, int]:
    """Calls of Python functions that collecting a project takes, and the most memory it held, in KiB."""
    options = ["-p", "no:cacheprovider", "--collect-only", "-qq"]
    options += [argument for plugin in plugins for argument in ("-p", plugin)]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-c", COLLECT, *options]
    said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
    assert f"test_inference.py: {MODELS * ENGINES * BACKENDS}" in said, said[-2000:]
    calls, memory = said.split()[-2:]
    return int(calls), int(memory)


def test_collecting_12000_cells(ours: Path, plain: Path) -> None:
    """The plugin's cells take at most half as much again, in calls and memory, as tests parametrised by hand.

    Calls stand for time: they are the same in every run, on any machine, whatever else runs there.
    """
    calls, memory = collect(ours, "pytest_benchmark.plugin", "pytest_inferena.plugin")
    plain_calls, plain_memory = collect(plain)
    print(f"12,000 cells: {calls} calls, {memory} KiB; as plain tests {plain_calls} calls, {plain_memory} KiB")

    assert calls <= 1.5 * plain_calls
    assert memory <= 1.5 * plain_memory


def test_judging_holds_one_tensor(tmp_path: Path) -> None:
    """Of 538 MB of gradients, SmolLM2's shapes, under 500 MiB are private to the process that judges them."""
    layer: Sequence[tuple[int, ...]] = [(576, 576)] * 2 + [(192, 576)] * 2 + [(1536, 576)] * 3 + [(576,)] * 2
    shapes = [(49152, 576), (576,), *(shape for _ in range(30) for shape in layer)]
    tensors = {f"grad:{index}": np.ones(shape, np.float32) for index, shape in enumerate(shapes)}
    assert sum(array.nbytes for array in tensors.values()) > 538e6
    for name in ("golden", "result"):
        save_file(tensors, tmp_path / name)
    command = [sys.executable, "-c", JUDGE, str(tmp_path / "golden"), str(tmp_path / "result")]
    outcome, mebibytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    print(f"{mebibytes} MiB")

    assert "pass" == outcome
    assert 20 < int(mebibytes) < 500
