"""`inferena cache prune` and `clear`: what was unused for longest goes first, and nothing that somebody uses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_inferena.collect.model import Model
from pytest_inferena.commands.cli import main
from pytest_inferena.processes.parts import Folder
from pytest_inferena.processes.workload import Workload
from pytest_inferena.store import pruning
from pytest_inferena.store.kernels import Kernels
from pytest_inferena.store.origins import Origins

MIB = 1 << 20
MODEL = Model.from_file(Path(__file__).parent / "project" / "mlp.py")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def prepared(size: str, mib: int = 1, age: int = 0) -> Folder:
    """A workload's folder with a Program of some size that was used some seconds ago."""
    folder = Folder(Workload(MODEL, size, "seeded"))
    folder.path.parent.mkdir(parents=True, exist_ok=True)
    with folder.lock(), folder.making() as made:
        (made / "weights.safetensors").write_bytes(bytes(mib * MIB))
        folder.publish("base", made, {}, Origins({}, {}))
    assert folder.part("base") is not None
    [mark] = folder.path.glob(f"*/{pruning.USED}")
    os.utime(mark, (mark.stat().st_mtime - age,) * 2)
    return folder


def kernels(name: str, mib: int, age: int) -> Path:
    """Kernels of an engine that were used some seconds ago."""
    kept = Kernels(name, ["1"])
    folder = kept.take()
    assert folder is not None
    (folder / "kernel").write_bytes(bytes(mib * MIB))
    kept.give_back(whole=True)
    os.utime(folder, (folder.stat().st_mtime - age,) * 2)
    return folder


def test_the_longest_unused_goes_first(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Until the rest is as small as was asked for; a cache that is small enough already is left alone."""
    old, new = prepared("full", 3, 50), prepared("tiny", 3, 10)
    oldest, newest = kernels("one", 3, 90), kernels("two", 3, 0)
    for folder in (old, new):
        folder.close()

    assert 0 == main(["cache", "prune", "--keep", "20MiB"])
    assert [True] * 4 == [path.exists() for path in (oldest, old.path, new.path, newest)]
    assert 0 == main(["cache", "prune", "--keep", "7MiB"])
    assert [False, False, True, True] == [path.exists() for path in (oldest, old.path, new.path, newest)]
    assert "0 MiB freed, 12 MiB stay\n6 MiB freed, 6 MiB stay\n" == capsys.readouterr().out
    assert new.part("base") is not None
    assert 0 == main(["cache", "clear"])
    assert [] == [path for path in cache.rglob("*") if path.suffix != ".lock" and path.parent != cache]


def test_what_is_in_use_stays(capsys: pytest.CaptureFixture[str]) -> None:
    """A session's Programs stay until it ends, and a worker's kernels; the next session prepares what has gone."""
    folder = prepared("tiny")
    taken = Kernels("fake", ["1"])
    assert taken.take() is not None
    main(["cache", "clear"])
    assert "0 MiB freed, 1 MiB stay, because it is in use\n" == capsys.readouterr().out
    assert folder.part("base") is not None

    folder.close()
    taken.give_back(whole=True)
    main(["cache", "clear"])
    assert "1 MiB freed, 0 MiB stay\n" == capsys.readouterr().out
    assert Folder(folder.workload).part("base") is None


def test_what_is_being_made_stays() -> None:
    """Whoever prepares holds the workload's lock; what a killed one has left is removed."""
    folder = Folder(Workload(MODEL, "tiny", "seeded"))
    left = folder.path.with_name(f"{folder.path.name}-making-1")
    left.mkdir(parents=True)
    (left / "half").write_bytes(bytes(MIB))
    with folder.lock():
        assert (0, MIB) == pruning.prune(0)
    assert (MIB, 0) == pruning.prune(0)
    assert not left.exists()


def test_what_another_process_uses_stays() -> None:
    """Also where it was killed: then it is in use no more."""
    folder = prepared("tiny")
    folder.close()
    [mark] = folder.path.glob(f"*/{pruning.USED}")
    program = (
        "from pathlib import Path; from pytest_inferena.store.pruning import use;"
        f"use(Path({str(mark.parent)!r})); print(flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        removed, _ = pruning.prune(0)
        assert 0 == removed
        other.kill()
    assert 0 < pruning.prune(0)[0]


def test_links_are_not_followed(cache: Path, tmp_path: Path) -> None:
    """What a link in the cache leads to is somebody else's."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("mine")
    (cache / "programs").mkdir(parents=True)
    (cache / "programs" / "link").symlink_to(tmp_path / "elsewhere")
    folder = prepared("tiny")
    folder.close()
    [program] = [path for path in folder.path.iterdir() if path.is_dir()]
    (program / "link").symlink_to(tmp_path / "elsewhere")
    pruning.prune(0)

    assert not program.exists()
    assert (tmp_path / "elsewhere" / "file").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prune"], "'inferena cache prune --keep SIZE' says how much may stay"),
        (["clear", "--keep", "1GiB"], "'inferena cache clear' keeps nothing"),
        (["prune", "--keep", "20GB"], "--keep=20GB: a size over 0 is expected, such as 8GiB or 512MiB"),
    ],
)
def test_what_to_keep_is_said(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without it nothing is removed."""
    assert 1 == main(["cache", *arguments])
    assert said in capsys.readouterr().err
