"""GGML and llama.cpp on Vulkan: built apart, and how exact they are."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from tests.conformance import ROOT

from pytest_inferena.engines.description import environment
from pytest_inferena.engines.framework import Framework

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project


BUILT = {name: environment(f"{name}-vulkan").parents[1] for name in ("ggml", "llamacpp")}
"""Where engines are that a user has built; tests have a cache of their own."""


def built(name: str) -> pytest.MarkDecorator:
    """Skip where an engine is not built: its shaders take half an hour."""
    engine = Framework.read(ROOT / "adapters" / name)
    missing = engine.missing(engine.backends[1])
    return pytest.mark.skipif(bool(missing), reason=missing)


def record(project: Project, cache: Path, name: str, switch: str) -> Any:
    """The record of a tiny SmolLM2's inference, with a switch in place of the one in the engine's adapter.toml."""
    (project.path / "models").mkdir()
    shutil.copy(ROOT / "benchmarks" / "models" / "smollm2.py", project.path / "models")
    (cache / "engines").mkdir(exist_ok=True)
    (cache / "engines" / BUILT[name].name).unlink(missing_ok=True)
    (cache / "engines" / BUILT[name].name).symlink_to(BUILT[name])
    toml = shutil.copytree(ROOT / "adapters" / name, project.path / name) / "adapter.toml"
    toml.write_text(toml.read_text().replace("GGML_VK_DISABLE_F16", switch))
    options = ("--inferena-size=tiny", "--inferena-weights=seeded", "--benchmark-disable", "--inferena-device=vulkan:0")
    project.run("-m", "vulkan and inference", "-k", "smollm2", "--inferena-software", *options)
    [found] = project.journal()
    return found


@built("ggml")
@pytest.mark.parametrize(("switch", "outcome"), [("GGML_VK_DISABLE_F16", "pass"), ("NO_SWITCH", "close")])
def test_ggml_is_in_float32(project: Project, cache: Path, switch: str, outcome: str) -> None:
    """It PASSes, and without the switch in its adapter.toml the gate finds products in 16 bits."""
    found = record(project, cache, "ggml", switch)

    assert (outcome, False) == (found.outcome, "fallback" in found.extra)
    assert " on vulkan: " in found.ran


@built("llamacpp")
def test_llamacpp_is_close(project: Project, cache: Path) -> None:
    """The gate finds that it copies queries to 16 bits; the embedding, which it keeps on the CPU, is told."""
    found = record(project, cache, "llamacpp", "GGML_VK_DISABLE_F16")

    assert ("close", 1) == (found.outcome, found.extra["fallback"])
    assert found.ran.startswith("llama.cpp, vulkan: ")
