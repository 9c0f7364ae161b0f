"""What the plugin costs: time to collect, and the parent's memory while it judges."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
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


def collect(folder: Path, *plugins: str) -> tuple[float, int]:
    """Processor seconds that collecting a project takes, and the most memory it held, in MiB."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-qq"]
    command += [argument for plugin in plugins for argument in ("-p", plugin)]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read().decode()
    assert f"test_inference.py: {MODELS * ENGINES * BACKENDS}" in said, said[-2000:]
    return used.ru_utime + used.ru_stime, used.ru_maxrss >> 10


def test_collecting_12000_cells(ours: Path, plain: Path) -> None:
    """The plugin's cells take at most half as much again, in time and memory, as tests parametrised by hand.

    Others on the machine only ever add to a figure, so the least of several runs counts; runs take turns.
    """
    plugins = ("pytest_benchmark.plugin", "pytest_inferena.plugin")
    pairs: list[tuple[tuple[float, int], tuple[float, int]]] = []
    seconds, plain_seconds = math.inf, 0.0
    while len(pairs) < 5 or (seconds > 1.5 * plain_seconds and len(pairs) < 12):
        pairs.append((collect(ours, *plugins), collect(plain)))
        seconds, plain_seconds = (min(time for time, _ in runs) for runs in zip(*pairs, strict=True))
    memory, plain_memory = (min(held for _, held in runs) for runs in zip(*pairs, strict=True))
    print(f"12,000 cells: {seconds:.2f} s, {memory} MiB; as plain tests {plain_seconds:.2f} s, {plain_memory} MiB")

    assert seconds <= 1.5 * plain_seconds
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
