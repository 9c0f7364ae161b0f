"""What a verdict stands on: an engine that writes where it must not is told so, and nobody else is judged by it."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from pytest_inferena.store import hashes

if TYPE_CHECKING:
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
    [manifest] = own_cache.glob("programs/mlp-*/*/base.manifest.json")
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
