"""What a part of the cache was made from: all that the preparer really imported, and nothing else, makes it old."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_inferena.collect.model import Model
from pytest_inferena.collect.target import Target
from pytest_inferena.engines.framework import Backend, Framework
from pytest_inferena.prepare import imported
from pytest_inferena.prepare.imported import Imported
from pytest_inferena.processes.parts import Folder, Part
from pytest_inferena.processes.preparer import Preparer, still_made_of
from pytest_inferena.processes.workload import Workload
from pytest_inferena.store import origins
from pytest_inferena.store.origins import PACKAGE, Origins, content_of, name_of, place_of, version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SOURCE = Path(__file__).parent / "project" / "mlp.py"
ADAPTER = """
from pytest_inferena import Exchange
from . import ways

class Adapter(Exchange):
    @classmethod
    def prepare(cls, program, folder):
        from pytest_inferena.program.onnx import write_entries
        write_entries(program, folder, **ways.OPTIONS)
"""
PARTS = ("base", "joint", "exchange-own")


class Real(NamedTuple):
    """A model, an engine that takes ONNX, and what the real preparer has made for it."""

    target: Target
    workload: Workload
    hashes: Mapping[str, str]
    adapter: Path

    def part(self, name: str) -> Part | None:
        """As another session finds it."""
        return Folder(self.workload).part(name, self.adapter, whole=False)

    def made_from(self, name: str) -> Origins:
        """What its manifest says."""
        part = self.part(name)
        assert part is not None
        return Origins.from_json(part.manifest)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """Prepared by this package; from then on all of it is a copy, whose files may be changed."""
    pytest.importorskip("onnx")
    place = tmp_path_factory.mktemp("real")
    model = Model.from_file(Path(shutil.copy(SOURCE, place / "mlp.py")))
    adapter = place / "own"
    adapter.mkdir()
    (adapter / "adapter.py").write_text(ADAPTER)
    (adapter / "ways.py").write_text("OPTIONS = {}\n")
    (adapter / "unused.py").write_text("OPTIONS = {}\n")
    engine = Framework("own", "Own", "python", adapter, training="joint", exchange=True)
    target = Target(model, engine, Backend("cpu", "cpu"))
    workload = Workload(model, "tiny", "seeded")
    copy = Path(shutil.copytree(PACKAGE, place / "package", ignore=shutil.ignore_patterns("__pycache__", "page")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERENA_CACHE", str(place / "cache"))
        prepared = Preparer(1, 600).prepare(workload, target)
        patch.setattr(origins, "PACKAGE", copy)
        yield Real(target, workload, prepared.hashes, adapter)


@contextmanager
def changed(file: Path) -> Iterator[None]:
    """A file with one line more, for a while."""
    before = file.read_bytes()
    file.write_bytes(before + b"\n# changed\n")
    try:
        yield
    finally:
        file.write_bytes(before)


@pytest.mark.parametrize("name", PARTS)
def test_a_change_of_each_imported_module_makes_it_old(real: Real, name: str) -> None:
    """Found in the part's own manifest, one after the other; back as it was, the part counts again."""
    still = []
    for source in real.made_from(name).sources:
        place = place_of(source, real.adapter)
        assert place is not None
        with changed(place):
            still += [source] if real.part(name) else []

    assert [] == still
    assert real.part(name)


@pytest.mark.parametrize("name", PARTS)
def test_another_version_of_each_distribution_makes_it_old(
    real: Real, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another PyTorch may export another graph, another Python may run it otherwise."""
    versions, still = real.made_from(name).versions, []
    for distribution in versions:
        monkeypatch.setattr(origins, "version", lambda asked, now=distribution: "0" if asked == now else version(asked))
        still += [distribution] if real.part(name) else []

    assert [] == still
    assert {"python", "torch", "numpy"} <= versions.keys()


@pytest.mark.parametrize("name", PARTS)
def test_what_was_not_imported_changes_nothing(real: Real, name: str) -> None:
    """All other files of this package and of the adapter together."""
    made_from = {**real.made_from(name).sources, **real.made_from("base").sources}  # every part is made of the base
    others = [*origins.PACKAGE.rglob("*.py"), *real.adapter.glob("*.py")]
    others = [file for file in others if name_of(file, real.adapter) not in made_from]
    before = {file: file.read_bytes() for file in others}
    for file in others:
        file.write_text("changed")
    found = real.part(name)
    for file, content in before.items():
        file.write_bytes(content)

    assert found
    assert real.adapter / "unused.py" in others


def test_what_a_part_was_made_from(real: Real) -> None:
    """Golden data outlive changes of what engines read; what writes ONNX counts whole, the worker's part of it too."""
    base, exchange = real.made_from("base").sources.keys(), real.made_from("exchange-own").sources.keys()

    assert {str(real.workload.model.source), "{package}/program/capture.py", "{package}/prepare/__main__.py"} <= base
    assert {"{package}/program/onnx/windows.py", "{package}/worker/loading.py"} <= exchange - base
    assert "{package}/worker/windows.py" in exchange
    assert {"{adapter}/adapter.py", "{adapter}/ways.py"} == {name for name in exchange if name.startswith("{adapter}")}
    assert set() == {name for name in base if "/onnx/" in name or name.startswith("{adapter}")}


def test_a_record_counts_as_long_as_it_would_be_made_again_so(real: Real) -> None:
    """With these hashes, and until a source of one of its parts changes."""
    assert still_made_of(real.workload, real.target, real.hashes)
    assert not still_made_of(real.workload, real.target, {**real.hashes, "weights": "other"})
    with changed(origins.PACKAGE / "worker" / "windows.py"):
        assert not still_made_of(real.workload, real.target, real.hashes)


def test_names_are_those_of_places(tmp_path: Path) -> None:
    """A file of an adapter is the adapter's even where that lies in this package, as in the wheel."""
    adapter = origins.PACKAGE / "adapters" / "own"
    files = {
        adapter / "a.py": "{adapter}/a.py",
        origins.PACKAGE / "a.py": "{package}/a.py",
        tmp_path / "a.py": str(tmp_path / "a.py"),
    }

    assert files == {file: name_of(file, adapter) for file in files}
    assert list(files) == [place_of(name, adapter) for name in files.values()]
    assert None is place_of("{adapter}/a.py", None)


def test_what_is_not_there_is_another(tmp_path: Path) -> None:
    """A file that is gone and a distribution that is not installed are not what they were."""
    file = tmp_path / "a.py"
    file.touch()
    made_from = Origins({str(file): str(content_of(file))}, {"numpy": importlib.metadata.version("numpy")})

    assert made_from.are_todays()
    assert not Origins({}, {"no-such-distribution": "1.0"}).are_todays()
    file.unlink()
    assert not made_from.are_todays()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where distributions are installed, as the preparer sees it."""
    monkeypatch.setattr(imported, "_installed", lambda: (tmp_path / "site",))
    monkeypatch.setattr(imported, "_distributions", lambda: {"known": ["some-thing", "numpy"]})
    return tmp_path / "site"


def test_modules_of_all_kinds(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a distribution by its version, whatever it is called; all others by content, extensions too."""
    watching = Imported()
    before = watching.origins().sources.keys()
    files = ("site/known/deep.so", "site/stray.py", "editable/part.py", "own.so")
    for number, file in enumerate(files):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(file)
        module = ModuleType(f"module_{number}")
        module.__file__ = str(tmp_path / file)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    found = watching.origins(["pluggy"])

    assert {str(tmp_path / file) for file in files[1:]} == found.sources.keys() - before
    assert {"numpy", "pluggy", "python"} == found.versions.keys()
    assert site.is_dir()


def test_content_is_taken_when_a_module_is_first_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes while the preparer works was imported as it was before."""
    file = tmp_path / "layers.py"
    file.write_text("WIDTH = 4")
    module = ModuleType("layers_of_a_test")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    watching, first = Imported(), content_of(file)
    file.write_text("WIDTH = 16")

    assert first == watching.origins().sources[str(file)] != content_of(file)
