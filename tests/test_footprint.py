"""Tests of the footprint: what has to be installed to run an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec import structs
from tests.records import make_record, make_results

from pytest_inferena.engines import footprint
from pytest_inferena.engines.framework import Framework
from pytest_inferena.report import render

if TYPE_CHECKING:
    from collections.abc import Mapping

FAKE = Framework.read(Path(__file__).parent / "project" / "fake")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, int]:
    """Distributions of known sizes that require each other, in a circle too."""
    asked = {
        "engine-a": ["engine-b>=1", "engine-d; extra == 'gpu'", "engine-none; sys_platform == 'nowhere'", "not-here"],
        "engine-b": ["engine-a[gpu]", "engine-c"],
        "engine-c": [],
        "engine-d": [],
        "engine-e": ["engine-d"],
    }
    sizes = {name: 1000 * 10**place for place, name in enumerate(asked)}
    for name, needed in asked.items():
        metadata = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {one}" for one in needed)]
        (metadata / "METADATA").write_text("\n".join(lines))
        (tmp_path / f"{name}.so").write_bytes(bytes(sizes[name]))
        (metadata / "RECORD").write_text(f"{name}.so,,\ngone.so,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    footprint._size.cache_clear()
    return sizes


def test_distributions_are_followed(packages: Mapping[str, int]) -> None:
    """Each counts once; an extra that is asked for counts, one for another platform does not."""
    engine = replace(FAKE, requires=("engine-a",))
    wanted = sum(packages[name] for name in ("engine-a", "engine-b", "engine-c", "engine-d"))

    assert wanted / 2**20 == engine.footprint(FAKE.backends[0])


def test_what_is_used_alone(packages: Mapping[str, int]) -> None:
    """What it would bring along is not needed, so it does not count."""
    engine = replace(FAKE, requires=("engine-e", "engine-c"), alone=("engine-e",))

    assert (packages["engine-e"] + packages["engine-c"]) / 2**20 == engine.footprint(FAKE.backends[0])


def test_an_executable(tmp_path: Path) -> None:
    """It is its own size; one that is not there has none, nor has what another interpreter holds."""
    engine = replace(FAKE, folder=tmp_path, executable="worker")
    before = engine.footprint(FAKE.backends[0])
    (tmp_path / "worker").write_bytes(bytes(3 << 20))

    assert (None, 3.0) == (before, engine.footprint(FAKE.backends[0]))
    assert replace(FAKE, python="/usr/bin/other").footprint(FAKE.backends[0]) is None


def test_tables_show_it() -> None:
    """In the lines below a table, the smallest first; what a file holds in its place shows nothing."""
    sizes = {"alpha": 5.04, "beta": 4600, "gamma": "huge", "delta": float("nan")}
    records = [
        structs.replace(make_record(framework=name), extra={"footprint_mib": size}) for name, size in sizes.items()
    ]
    page = render(make_results(records), "md")

    assert "alpha 5.04 MiB; beta 4.49 GiB" in page.lower().replace("mib", "MiB").replace("gib", "GiB")
    assert "huge" not in page
