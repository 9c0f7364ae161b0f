"""What a verdict stands on: an engine that writes where it must not is told so, and nobody else is judged by it."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save_file

from pytest_inferena.cell import Cell, Outcome
from pytest_inferena.processes.client import WorkerFailed
from pytest_inferena.processes.parts import BASE, Part
from pytest_inferena.processes.preparer import Prepared
from pytest_inferena.session.judging import judged
from pytest_inferena.store import hashes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.projects import Project


@pytest.fixture
def own_cache(project: Project, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the cache that may be harmed, filled."""
    project.run("-m", "latency", "--benchmark-disable", fast=False)
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path / "cache"))
    return shutil.copytree(cache, tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "result"), [("golden-latency.safetensors", "zeros"), ("latency.inputs.safetensors", "")]
)
@pytest.mark.usefixtures("own_cache")
def test_an_engine_that_overwrites(project: Project, name: str, result: str) -> None:
    """Zeros in golden and zeros as the answer are no PASS. The engine is named, and the next one is judged rightly."""
    project.fault(zeroed=name, result=result, entry="latency")
    project.run("-m", "latency")
    record = project.records()["latency"]
    project.fault()
    project.run("-m", "latency").assert_outcomes(passed=1)

    assert "error" == record["outcome"]
    assert record["reason"].endswith(f"{name} was changed while this engine ran; it will be prepared again")


def test_a_changed_limit(project: Project, own_cache: Path) -> None:
    """One digit of a manifest widens no limit: what it describes is prepared again, and a note says so."""
    [manifest] = own_cache.glob(f"programs/{project.records()['latency']['extra']['workload']}/*/base.manifest.json")
    document = json.loads(manifest.read_text())
    tensors = document["golden"]["latency"]["tensors"]
    right = tensors["output"]
    tensors["output"] = 4.0
    manifest.chmod(0o644)
    manifest.write_text(json.dumps(document))
    project.fault(result="wrong")
    result = project.run("-m", "latency")

    assert "fail" == project.records()["latency"]["outcome"]
    result.stdout.fnmatch_lines([f"inferena: {manifest} was damaged, so base was prepared again"])
    assert right == json.loads(manifest.read_text())["golden"]["latency"]["tensors"]["output"]


def test_a_hash_is_of_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the same size and time is read again; one that nobody has touched is not."""
    file = tmp_path / "file"
    file.write_text("1234")
    status = file.stat()
    monkeypatch.setattr(hashes, "SETTLED", -(10**9))
    before = hashes.sha256_of(file)
    file.write_text("4321")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = hashes.sha256_of(file)
    monkeypatch.setattr(hashes, "sha256", lambda _: "read again")

    assert before != after
    assert after == hashes.sha256_of(file)


def test_an_executable_is_hashed(tmp_path: Path) -> None:
    """A program without versions, replaced by another, makes other results; other files in its folder do not."""
    program = tmp_path / "engine"
    program.write_bytes(b"\x7fELF one")
    before = hashes.digest([tmp_path, program])
    program.write_bytes(b"\x7fELF two")

    assert before != hashes.digest([tmp_path, program])
    assert hashes.digest([tmp_path]) == hashes.digest([tmp_path / "nothing"])


CELL = Cell(model="mlp", framework="fake", backend="cpu", device="cpu", metric="latency", threads=1)
ANSWERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "absent": (lambda _: None, "No such file"),
    "pipe": (os.mkfifo, "is no plain file"),
    "folder": (os.mkdir, "is no plain file"),
    "huge": (lambda file: _write(file, 10 << 30), "has 10737418240 bytes, and what is asked for takes"),
    "cut": (lambda file: _write(file, 7), "is cut off"),
}


def _write(file: Path, size: int) -> None:
    """Zeros, which take no room."""
    file.touch()
    os.truncate(file, size)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """A Program's folder with golden, weights and inputs."""
    array = np.linspace(1, 2, 6, dtype=np.float32)
    for name in ("golden-latency", "weights", "latency.inputs"):
        save_file({"output": array}, tmp_path / f"{name}.safetensors")
    files = {
        file.name: {"sha256": hashes.sha256(file), "size": file.stat().st_size}
        for file in tmp_path.glob("*.safetensors")
    }
    parts = {BASE: Part(tmp_path, BASE, {"files": files})}
    golden = {"latency": {"tensors": {"output": 1e-7}, "none": [], "notes": []}}
    return Prepared(tmp_path, None, "seeded", golden, {}, parts, (tmp_path / "forgotten").touch)


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_that_is_no_such_file(prepared: Prepared, tmp_path: Path, kind: str) -> None:
    """It is that cell's error at once, whatever it is, and none of it is read."""
    file = tmp_path / "outputs.safetensors"
    make, message = ANSWERS[kind]
    make(file)
    with pytest.raises(WorkerFailed, match=message) as caught:
        judged(prepared, CELL, file)

    assert Outcome.ERROR is caught.value.outcome
    assert not (tmp_path / "forgotten").exists()


@pytest.mark.parametrize("name", ["golden-latency", "weights", "latency.inputs"])
def test_what_was_prepared_is_checked_at_the_verdict(prepared: Prepared, tmp_path: Path, name: str) -> None:
    """A change of any file is an error that names it, also of the same size and time, and all is compared anew."""
    file, answer = tmp_path / f"{name}.safetensors", tmp_path / "outputs.safetensors"
    save_file({"output": np.linspace(1, 2, 6, dtype=np.float32)}, answer)
    before = judged(prepared, CELL, answer)
    content, status = file.read_bytes(), file.stat()
    file.write_bytes(content[:-4] + bytes(4))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(WorkerFailed, match=f"{name}.safetensors was changed while this engine ran"):
        judged(prepared, CELL, answer)

    assert Outcome.PASS is before.outcome
    assert (tmp_path / "forgotten").exists()
