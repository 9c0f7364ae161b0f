"""One preparer a session: models follow each other in it, and none knows of the one before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.test_prepare import SOURCE, ask, fake, refused, target

from pytest_inferena.processes import preparer as preparer_module
from pytest_inferena.processes import preparing
from pytest_inferena.processes.preparer import Preparer
from pytest_inferena.processes.workload import Workload

if TYPE_CHECKING:
    import subprocess

    from pytest_inferena.processes.preparer import Prepared

pytestmark = pytest.mark.skipif(not preparing.FORKS, reason="only where the preparer forks")
__all__ = ["fake"]
SPOILER = """
import layers, torch
torch.relu = torch.nn.functional.relu = lambda x: x * 0
torch.set_default_dtype(torch.float64)
torch.manual_seed(7)
torch.set_default_dtype(torch.float32)
"""


def server(preparer: Preparer) -> subprocess.Popen[bytes]:
    """The process that forks."""
    assert preparer._server is not None
    return preparer._server._process.process


def prepared(preparer: Preparer, source: Path) -> Prepared:
    """A model, prepared."""
    engine = target(source)
    return preparer.prepare(Workload(engine.model, "tiny", "seeded"), engine)


def test_models_do_not_know_of_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one that has changed torch, a model with a helper of the same name has the files of a fresh process."""
    text, made = SOURCE.read_text(), []
    for name, spoilt in (("first", SPOILER), ("second", "import layers\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "layers.py").write_text(f"OF = {name!r}\n")
        place = f"import sys\nsys.path.insert(0, {str(tmp_path / name)!r})\n{spoilt}assert layers.OF == {name!r}\n"
        (tmp_path / name / f"{name}.py").write_text(text.replace("import torch\n", f"{place}import torch\n", 1))
    second = tmp_path / "second" / "second.py"
    for forks in (True, False):
        monkeypatch.setenv("INFERENA_CACHE", str(tmp_path / f"cache-{forks}"))
        monkeypatch.setattr(preparer_module, "FORKS", forks)
        preparer, others = Preparer(1, 300), []
        if forks:
            prepared(preparer, tmp_path / "first" / "first.py")
            tasks = Path(f"/proc/{server(preparer).pid}/task")
            others = [server(preparer), len([*tasks.iterdir()])]
        made.append(prepared(preparer, second).parts["base"].manifest)
        assert others == ([server(preparer), 1] if forks else [])
        preparer.close()

    assert made[0]["files"] == made[1]["files"]
    assert made[0]["sources"] == made[1]["sources"]
    assert made[0]["versions"] == made[1]["versions"]
    assert {str(second), str(second.parent / "layers.py")} == {
        name for name in made[0]["sources"] if not name.startswith("{package}")
    }


@pytest.mark.parametrize("fake", [True], indirect=True)
def test_what_a_model_has_started_ends_with_it(fake: Path) -> None:
    """Also in a session of its own; the preparer lives on."""
    (fake / "fault").write_text(
        "if os.fork() == 0:\n    os.setsid()\n    answer(str(here / 'left'), str(os.getpid()))\n    time.sleep(600)\n"
        "while not (here / 'left').exists() or not (here / 'left').read_text(): time.sleep(0.01)"
    )
    preparer = Preparer(1, 60)
    ask(preparer)
    before, left = server(preparer), int((fake / "left").read_text())
    (fake / "fault").write_text("pass")
    ask(preparer, "joint")

    assert before == server(preparer)
    assert not Path(f"/proc/{left}/environ").exists() or not Path(f"/proc/{left}/cmdline").read_bytes()  # or a zombie


@pytest.mark.parametrize("fake", [True], indirect=True)
def test_an_ended_preparer_is_replaced(fake: Path) -> None:
    """By one that is killed between two models nobody loses anything; what kills it while it works is that model's."""
    preparer = Preparer(1, 60)
    ask(preparer)
    first = server(preparer)
    first.kill()
    first.wait()
    joint = ask(preparer, "joint")
    (fake / "fault").write_text("sys.stdout.flush(); os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)")
    with pytest.raises(Exception, match="the preparer was killed by SIGKILL: the log of exchange"):
        ask(preparer, exchange=True)

    assert ({}, True) == (joint.absent, first.returncode < 0)


@pytest.mark.parametrize("fake", [True], indirect=True)
def test_preparer_starts_again_where_its_environment_is_another(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test sets for its own model holds, as with a process for each."""
    (fake / "fault").write_text("facts['weights'] = os.environ.get('HF_HOME', '')")
    preparer = Preparer(1, 60)
    ask(preparer)
    monkeypatch.setenv("HF_HOME", "elsewhere")
    (fake / "fault").write_text(
        "answer('error.json', dict(outcome='error', message=os.environ['HF_HOME'])); sys.exit()"
    )
    preparer._folders.clear()
    monkeypatch.setenv("INFERENA_CACHE", str(fake / "other"))

    assert ("error", "prepare: elsewhere") == refused(preparer)
