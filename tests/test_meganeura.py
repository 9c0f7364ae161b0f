"""The adapter of Meganeura where Vulkan is broken: each case is a typed outcome that says what to do."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conformance import Client, Engine, captured, client, engines, prepare

from pytest_inferena.processes.client import WorkerFailed

DRIVER = """
#include <signal.h>
void *vk_icdGetInstanceProcAddr(void *instance, const char *name) { raise(SIGSEGV); return 0; }
int vk_icdNegotiateLoaderICDInterfaceVersion(unsigned *version) { raise(SIGSEGV); return 0; }
"""
LLVMPIPE = sorted(Path("/usr/share/vulkan/icd.d").glob("lvp_icd.*json"))
"""Mesa's driver for CPUs, whose buffers are of 2 GiB at most."""
ROWS = 1 << 28
"""Of 8 numbers each: 8 GiB."""


@pytest.fixture
def meganeura(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine, where it is built."""
    found = engines()["meganeura"]
    if reason := found.framework.missing(found.backend):
        pytest.skip(reason)
    monkeypatch.setenv("INFERENA_CACHE", str(cache))
    return found


def drivers(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Let Vulkan's loader, an old one too, know this driver alone."""
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES"):
        monkeypatch.setenv(name, str(file))


def failed_hello(worker: Client) -> WorkerFailed:
    """What a worker's greeting ends in."""
    with pytest.raises(WorkerFailed) as caught:
        worker.hello()
    return caught.value


def test_no_driver(meganeura: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a driver the engine is not had here, and the message names what to install."""
    drivers(monkeypatch, tmp_path / "none.json")
    with client(meganeura, captured(meganeura), tmp_path / "worker") as worker:
        failure = failed_hello(worker)

    assert "unsupported" == failure.outcome
    assert "mesa-vulkan-drivers" in str(failure)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to make a driver with: install gcc")
def test_a_driver_that_crashes(meganeura: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes its worker along, and no more."""
    (tmp_path / "driver.c").write_text(DRIVER)
    library = tmp_path / "libdriver.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "driver.c"], check=True)
    icd = {"library_path": str(library), "api_version": "1.3.0"}
    (tmp_path / "driver.json").write_text(json.dumps({"file_format_version": "1.0.0", "ICD": icd}))
    drivers(monkeypatch, tmp_path / "driver.json")
    with client(meganeura, captured(meganeura), tmp_path / "worker") as worker:
        failure = failed_hello(worker)

    assert "crash" == failure.outcome
    assert "hello: killed by SIGSEGV" in str(failure)


@pytest.mark.skipif(not LLVMPIPE, reason="no llvmpipe: install mesa-vulkan-drivers")
def test_out_of_device_memory(meganeura: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor that the device has no room for is out of memory, not an error of the engine."""
    drivers(monkeypatch, LLVMPIPE[0])

    def widen(document: bytes) -> bytes:
        entry = json.loads(document)
        shapes = {"wide": [ROWS, 8], "tanh": [ROWS, 8], "output": [8]}
        nodes = [
            ("expand", {"self": {"ref": "x"}, "size": [ROWS, 8]}, "wide"),
            ("tanh", {"self": {"ref": "wide"}}, "tanh"),
            ("sum", {"self": {"ref": "tanh"}, "dim": [0], "keepdim": False}, "output"),
        ]
        entry["nodes"] = [
            {"op": op, "args": args, "out": [{"name": name, "shape": shapes[name], "dtype": "float32"}]}
            for op, args, name in nodes
        ]
        return json.dumps(entry | {"parameters": [], "outputs": {"output": "output"}}).encode()

    with client(meganeura, prepare(meganeura), tmp_path / "worker") as worker:
        worker.hello()
        worker.load(worker.changed("latency.json", widen))
        failure = worker.refused("compile", entry="latency")

    assert "oom" == failure.outcome
    assert "OUT_OF_DEVICE_MEMORY" in str(failure)
