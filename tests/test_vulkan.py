"""GGML on Vulkan: built apart, and exact."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.conformance import ROOT

from pytest_inferena.engines.description import environment
from pytest_inferena.engines.framework import Framework

if TYPE_CHECKING:
    from pathlib import Path

    from tests.projects import Project

BUILT = {
    name: environment(f"{name}-vulkan").parents[1]
    for name in ("ggml",)
    if not (engine := Framework.read(ROOT / "adapters" / name)).missing(engine.backends[1])
}
"""Engines that are built for Vulkan, and where."""


@pytest.mark.skipif(not BUILT, reason="built for Vulkan by 'inferena setup ggml --backend vulkan', in half an hour")
@pytest.mark.parametrize(("switch", "outcome"), [("GGML_VK_DISABLE_F16", "pass"), ("NO_SWITCH", "close")])
def test_products_are_in_float32(project: Project, cache: Path, switch: str, outcome: str) -> None:
    """Each engine PASSes, and without the switch in its adapter.toml the gate finds products in 16 bits."""
    (project.path / "models").mkdir()
    shutil.copy(ROOT / "benchmarks" / "models" / "smollm2.py", project.path / "models")
    (cache / "engines").mkdir(exist_ok=True)
    for name, built in BUILT.items():
        (cache / "engines" / built.name).unlink(missing_ok=True)
        (cache / "engines" / built.name).symlink_to(built)  # the tests have a cache of their own
        shutil.copytree(ROOT / "adapters" / name, project.path / name)
        toml = project.path / name / "adapter.toml"
        toml.write_text(toml.read_text().replace("GGML_VK_DISABLE_F16", switch))
    options = ("--inferena-size=tiny", "--inferena-weights=seeded", "--benchmark-disable", "--inferena-device=vulkan:0")
    project.run("-m", "vulkan and inference", "-k", "smollm2", "--inferena-software", *options)
    found = {record.framework: record for record in project.journal()}

    assert dict.fromkeys(BUILT, outcome) == {name: record.outcome for name, record in found.items()}
    assert all("vulkan: " in record.ran for record in found.values())
