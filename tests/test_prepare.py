"""Tests of preparing: once for all, whatever the preparer does, and whoever asks at the same time."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_inferena.collect.model import Model
from pytest_inferena.collect.target import Target
from pytest_inferena.engines.framework import Backend, Framework
from pytest_inferena.processes import preparer as preparer_module
from pytest_inferena.processes import preparing
from pytest_inferena.processes.client import WorkerFailed
from pytest_inferena.processes.parts import Folder
from pytest_inferena.processes.preparer import Prepared, Preparer
from pytest_inferena.processes.workload import Workload
from pytest_inferena.store import origins

SOURCE = Path(__file__).parent / "project" / "mlp.py"
FAKE = f"""#!{sys.executable}
import hashlib, json, os, signal, sys, time
from pathlib import Path
here, request = Path(__file__).parent, {{}}
def take(file):
    request.update(json.loads(Path(file).read_text()))
if sys.argv[3:]:
    take(sys.argv[3])
else:
    from pytest_inferena.prepare.forks import serve
    serve(take)
    if not request:
        sys.exit()
folder, part = Path(request["folder"]), request["part"]
with (here / "runs").open("a") as runs:
    runs.write(part + "\\n")
print("the log of", part)
def answer(name, what):
    (folder / name).write_text(what if isinstance(what, str) else json.dumps(what))
for file in {{"base": ["program.json", "weights.safetensors"], "joint": ["joint.json"]}}.get(part, []):
    answer(file, part)
if part == "exchange":
    (folder / request["part_folder"]).mkdir()
    answer(request["part_folder"] + "/model.onnx", "onnx")
def content(file):
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
made_from = {{request["source"]: content(request["source"])}}
if part == "exchange":
    made_from["{{adapter}}/adapter.py"] = content(request["adapter"])
golden = {{"training": {{}}}}
facts = {{"sources": made_from, "versions": {{}}, "weights": "seeded", "golden": golden, "expanded": {{}}}}
fault = (here / "fault").read_text() if (here / "fault").exists() else "pass"
exec(fault)
answer("facts.json", facts)
"""
RACER = """
import sys
from types import SimpleNamespace
from typing import Any
from tests.test_prepare import ask
from pytest_inferena.processes import preparing
from pytest_inferena.processes.preparer import Preparer
preparing.sys = SimpleNamespace(executable=sys.argv[1])
print(ask(Preparer(1, 60)).hashes["weights"])
"""
REAL = """
import resource, sys
from pathlib import Path
from tests.test_prepare import target
from pytest_inferena.processes.workload import Workload
from pytest_inferena.processes.preparer import Preparer
from pytest_inferena.processes.client import WorkerFailed
if int(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    engine = target(Path(sys.argv[1]))
    print(Preparer(1, 300).prepare(Workload(engine.model, "tiny", "seeded"), engine).program)
except WorkerFailed as failure:
    print(failure.outcome, failure)
"""


@pytest.fixture(params=sorted({False, preparing.FORKS}), ids=lambda forks: "forks" if forks else "each")
def fake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a preparer that does as told by `fault`, with a cache of its own; of each kind there is."""
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "python").write_text(FAKE)
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(preparing, "sys", SimpleNamespace(executable=str(tmp_path / "python")))
    monkeypatch.setattr(preparer_module, "FORKS", request.param)
    return tmp_path


def target(
    source: Path = SOURCE, training: str = "autograd", *, exchange: bool = False, folder: Path = SOURCE.parent / "fake"
) -> Target:
    """An engine of a kind with the model."""
    framework = Framework("fake", "Fake", "python", folder, training=training, exchange=exchange)
    return Target(Model.from_file(source), framework, Backend("cpu", "cpu"))


def ask(preparer: Preparer, training: str = "autograd", **fields: Any) -> Prepared:
    """All parts of the model for an engine."""
    engine = target(training=training, **fields)
    return preparer.prepare(Workload(engine.model, "tiny", "seeded"), engine)


def refused(preparer: Preparer) -> tuple[str, str]:
    """Outcome and message of a failure."""
    with pytest.raises(WorkerFailed) as caught:
        ask(preparer)
    return caught.value.outcome, str(caught.value)


def runs(fake: Path) -> list[str]:
    """The parts that were made, in their order."""
    return (fake / "runs").read_text().split() if (fake / "runs").exists() else []


def test_every_part_is_made_once(fake: Path) -> None:
    """In this session and in the next; an engine gets those that it needs."""
    preparer = Preparer(1, 60)
    prepared = [ask(preparer), ask(preparer, "joint"), ask(preparer, exchange=True), ask(Preparer(1, 60), "joint")]

    assert ["base", "joint", "exchange"] == runs(fake)
    assert 1 == len({str(each.program) for each in prepared})
    assert [None, None, "onnx", None] == [p.exchange and (p.exchange / "model.onnx").read_text() for p in prepared]
    assert {"program.json", "weights.safetensors", "joint.json"} <= {
        file.name for file in prepared[0].program.iterdir()
    }
    assert not list(prepared[0].program.parent.glob("*-making-*"))


def test_hashes_are_those_of_what_engines_share(fake: Path) -> None:
    """An engine with a joint graph, which is derived from the Program, has the figures' provenance of all others."""
    preparer = Preparer(1, 60)
    plain, joint = ask(preparer).hashes, ask(preparer, "joint").hashes

    assert ["base", "joint"] == runs(fake)
    assert plain == joint
    assert {"program", "weights", "inputs", "adapter"} == set(plain)


def test_damaged_file_is_made_again_and_said_once(fake: Path) -> None:
    """The user is told which file, at the next occasion and then no more."""
    weights = ask(Preparer(1, 60)).program / "weights.safetensors"
    weights.write_text("BASE")
    ask(preparer := Preparer(1, 60))
    said = [f"{weights} was damaged, so base was prepared again"]

    assert ("base", ["base", "base"]) == (weights.read_text(), runs(fake))
    assert [said, []] == [preparer.take_notes() for _ in range(2)]


FAULTS: dict[str, tuple[str, str, str]] = {
    "full": ("os._exit(28)", "error", "has no room: .* MiB left, Tiny MLP takes 16 MiB; 'inferena cache clear'"),
    "large": ("os._exit(27)", "error", "Tiny MLP makes a file of over 16 GiB, the most for its number of parameters"),
    "exit": ("sys.exit(3)", "crash", r"^prepare: the preparer exited with status 3: the log of base$"),
    "silent": ("sys.exit(0)", "crash", r"^prepare: the preparer exited with status 0: the log of base$"),
    "killed": (
        "sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)",
        "crash",
        r"^prepare: the preparer was killed by SIGKILL: the log of base$",
    ),
    "hangs": ("time.sleep(60)", "timeout", r"^prepare: not done in 2 s; --inferena-timeout=prepare=SECONDS gives it"),
    "error": ('answer("error.json", {"outcome": "error", "message": "no"}); sys.exit()', "error", r"^prepare: no$"),
    "unsupported": (
        'answer("error.json", {"outcome": "unsupported", "message": "no weights"}); sys.exit()',
        "unsupported",
        r"^prepare: no weights$",
    ),
    "garbage": (
        'answer("facts.json", "{"); sys.exit()',
        "error",
        r"^prepare: the preparer's answer is broken: Unfit\('is no JSON",
    ),
    "no facts": ('answer("facts.json", "{}"); sys.exit()', "error", r"answer is broken: KeyError\('sources'\)"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_the_preparer_does_is_one_failure(fake: Path, name: str) -> None:
    """It has an outcome and one message, is remembered for the session, and leaves nothing half-made."""
    fault, outcome, message = FAULTS[name]
    (fake / "fault").write_text(fault)
    preparer = Preparer(1, 2 if name == "hangs" else 60)
    first, second = refused(preparer), refused(preparer)

    assert first == second
    assert outcome == first[0]
    assert re.search(message, first[1])
    assert ["base"] == runs(fake)
    assert [] == [path for path in (fake / "cache" / "programs").iterdir() if path.is_dir()]


def test_next_session_tries_again(fake: Path) -> None:
    """A failure is not kept in the cache."""
    (fake / "fault").write_text("sys.exit(3)")
    refused(Preparer(1, 60))
    (fake / "fault").write_text("pass")

    assert "seeded" == ask(Preparer(1, 60)).weights


def test_model_without_joint_graph_still_runs(fake: Path) -> None:
    """Its inference is prepared; the reason stands beside it."""
    fault = 'if part == "joint": answer("error.json", {"outcome": "unsupported", "message": "no trace"}); sys.exit()'
    (fake / "fault").write_text(fault)

    absent = ask(Preparer(1, 60), "joint").absent

    assert {"joint": ("unsupported", "prepare: no trace")} == {name: (f.outcome, str(f)) for name, f in absent.items()}


def test_another_adapter_is_another_exchange(fake: Path) -> None:
    """Its files are made anew where the adapter changed; a copy of it in another folder has the same."""
    one, two = (shutil.copytree(SOURCE.parent / "fake", fake / name / "fake") for name in ("one", "two"))
    first = ask(Preparer(1, 60), exchange=True, folder=one)
    same = ask(Preparer(1, 60), exchange=True, folder=two)
    (two / "adapter.py").write_text("# changed")
    other = ask(Preparer(1, 60), exchange=True, folder=two)

    assert ["base", "exchange", "exchange"] == runs(fake)
    assert first.exchange == same.exchange == ask(Preparer(1, 60), exchange=True, folder=one).exchange
    assert first.exchange != other.exchange


def test_another_state_of_this_package_prepares_again(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a module that the preparer imported has made counts no more when the module has changed."""
    monkeypatch.setattr(origins, "PACKAGE", fake / "package")
    module = fake / "package" / "graph.py"
    module.parent.mkdir()
    module.write_text("before")
    (fake / "fault").write_text(f'made_from["{{package}}/graph.py"] = content({str(module)!r})')
    first, again = ask(Preparer(1, 60)), ask(Preparer(1, 60))
    module.write_text("after")
    changed = ask(Preparer(1, 60))

    assert ["base", "base"] == runs(fake)
    assert first.folder == again.folder != changed.folder


def test_what_changes_while_it_is_prepared(fake: Path) -> None:
    """What was made from a file that is another by now is no part; the message says to run again."""
    (fake / "fault").write_text(f"made_from[{str(fake / 'helper.py')!r}] = 'of another content'")
    (fake / "helper.py").touch()
    outcome, message = refused(Preparer(1, 60))

    assert ("error", True) == (outcome, message.endswith("changed while it was written; run again"))


def _start(script: str, *arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path})


def test_two_processes_at_once_prepare_once(fake: Path) -> None:
    """The second waits for the first, and finds what it made."""
    (fake / "fault").write_text("time.sleep(3)")
    racers = [_start(RACER, str(fake / "python")) for _ in range(2)]
    printed = {racer.communicate(timeout=60)[0] for racer in racers}

    assert (1, ["base"]) == (len(printed), runs(fake))
    assert [0, 0] == [racer.returncode for racer in racers]


def test_full_disk_of_the_real_preparer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that cannot grow end in the message about room, not in a traceback."""
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # Python leaves a module's cut short, and nobody can import it
    printed = _start(REAL, str(SOURCE), "1000").communicate(timeout=120)[0]

    assert printed.startswith(f"error prepare: {tmp_path / 'cache' / 'programs'} has no room:")
    assert [] == [path for path in (tmp_path / "cache" / "programs").iterdir() if path.is_dir()]


def test_imported_sources_decide_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest holds the model's file and what it imports, and a change of either makes the part old."""
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    helper, model = tmp_path / "own_layers.py", tmp_path / "mine.py"
    helper.write_text("WIDTH = 4\n")
    model.write_text(SOURCE.read_text().replace("import torch\n", "import own_layers\nimport torch\n", 1))
    program = Path(_start(REAL, str(model), "0").communicate(timeout=120)[0].strip())
    workload = Workload(Model.from_file(model), "tiny", "seeded")
    sources = json.loads((program / "base.manifest.json").read_text())["sources"]
    fresh = Folder(workload).part("base")
    helper.write_text("WIDTH = 5\n")

    assert {str(helper), str(model)} == {name for name in sources if not name.startswith("{package}")}
    assert (True, None) == (fresh is not None, Folder(workload).part("base"))
