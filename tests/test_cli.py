"""Tests of the command `inferena`: what it says, installs and refuses."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from packaging.requirements import Requirement
from tests.records import RUN, make_record, make_results, sample_results

from pytest_inferena import results
from pytest_inferena.commands import cli
from pytest_inferena.commands.doctor import state
from pytest_inferena.engines import distributions, install
from pytest_inferena.engines.framework import Backend, Framework
from pytest_inferena.report import coverage, render

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
FAKE = Path(__file__).parent / "project" / "fake"
ENGINES = [Framework.read(file.parent) for file in sorted(ROOT.glob("adapters/*/adapter.toml"))]
COVERAGE = """\
# Coverage on Acme One @ 2.10GHz

6 of 13 cells PASS or are CLOSE, 3 FAIL or broke. Marks stand for compile, inference, latency, training, in this \
order: ✓ PASS, ≈ CLOSE, ✗ FAIL or broken, — unsupported or not installed, · not part of this run.
"""


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The commands that a setup would run; `pip wheel` leaves a wheel."""
    commands: list[list[str]] = []

    def run(command: Sequence[str], *_: Any, **__: str) -> None:
        commands.append([str(part) for part in command])
        if "wheel" in command:
            folder = Path(command[command.index("--wheel-dir") + 1])
            folder.mkdir(parents=True)
            (folder / "made.whl").touch()

    monkeypatch.setattr(distributions, "run", run)
    monkeypatch.setattr(install, "run", run)
    monkeypatch.setenv("INFERENA_CACHE", str(tmp_path))
    return commands


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_extras_are_what_adapters_require(engine: Framework) -> None:
    """`pip install pytest-inferena[ENGINE]` and `inferena setup ENGINE` install the same."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = project["optional-dependencies"].get(engine.name, ())
    always = {Requirement(text).name for text in project["dependencies"]}
    if engine.alone:  # an extra cannot say --no-deps
        assert extra == ()
        return

    assert {*engine.requires} == {*extra} | {one for one in engine.requires if Requirement(one).name in always}


def test_constraints_are_within_what_was_tested() -> None:
    """Every engine's requirements allow the version that CI runs with."""
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    refused = {
        name: pinned.get(name)
        for engine in ENGINES
        for name, tested in engine.requirements.items()
        if pinned.get(name, "0") not in tested
    }

    assert {} == refused


def test_doctor_says_what_runs() -> None:
    """An engine that answers is ready, in its own words."""
    engine = Framework.read(FAKE)

    assert {"missing": "", "ran": f"NumPy {np.__version__}"} == state(engine, engine.backends[0])


def test_doctor_finds_a_broken_engine(tmp_path: Path) -> None:
    """One that is installed and cannot be imported is named with its own error and the remedy."""
    (tmp_path / "adapter.py").write_text("import no_such_library\n")
    engine = replace(Framework.read(FAKE), folder=tmp_path)
    expected = "installed, but broken: ModuleNotFoundError: No module named 'no_such_library'; inferena setup fake"

    assert {"missing": expected, "ran": ""} == state(engine, engine.backends[0])


def test_doctor_finds_a_build_for_another_processor(tmp_path: Path) -> None:
    """An engine that dies of an instruction costs one line that says so."""
    (tmp_path / "adapter.py").write_text("import os\nimport signal\n\nos.kill(os.getpid(), signal.SIGILL)\n")
    engine = replace(Framework.read(FAKE), folder=tmp_path)
    expected = (
        "installed, but broken: hello: killed by SIGILL: it was built for instructions that this processor lacks; "
        "inferena setup fake"
    )

    assert {"missing": expected, "ran": ""} == state(engine, engine.backends[0])


def test_setup_installs_what_is_required(ran: list[list[str]]) -> None:
    """One command, into this interpreter, within the versions that were tested together."""
    python = install.setup(Framework.read(FAKE), isolated=False)

    assert Path(sys.executable) == python
    assert ["--constraint", str(ROOT / "constraints.txt"), "numpy"] == ran[0][-3:]
    assert 1 == len(ran)


def test_setup_without_an_installer(ran: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that uv has made has no pip: what brings it is said before anything is done."""
    monkeypatch.setattr(distributions, "_pip", lambda python: [str(python), "-m", "pip"])
    monkeypatch.setattr(distributions, "has_pip", lambda: False)

    with pytest.raises(distributions.SetupError, match=r"has no pip: '.*python.* -m ensurepip', then this again"):
        install.setup(Framework.read(FAKE), isolated=False)
    assert [] == ran


def test_setup_leaves_setuptools_importable() -> None:
    """Inductor imports it later, in the same process."""
    code = "from pytest_inferena.engines import distributions as d; print(d.has_pip()); import setuptools"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    expected = importlib.metadata.Distribution.discover(name="pip")

    assert (f"{any(expected)}", 0) == (process.stdout.strip(), process.returncode), process.stderr


def test_setup_leaves_out_what_is_not_needed(ran: list[list[str]]) -> None:
    """A distribution whose own requirements would do harm is installed without them, after the others."""
    engine = replace(Framework.read(FAKE), requires=("numpy", "greedy"), alone=("greedy",))
    install.setup(engine, isolated=False)

    assert [["numpy"], ["--no-deps", "greedy"]] == [ran[0][-1:], ran[1][-2:]]


def test_setup_builds_once(ran: list[list[str]]) -> None:
    """A distribution that is built here is kept as a wheel: the second time there is nothing to build."""
    engine = replace(Framework.read(FAKE), build={"numpy": "-DFAST=ON"})
    for _ in range(2):
        install.setup(engine, isolated=False)

    assert ["wheel", "install", "install"] == [
        next(word for word in line if word in {"wheel", "install"}) for line in ran
    ]
    assert ran[1][-1] == ran[2][-1]
    assert "made.whl" == Path(ran[1][-1]).name


def test_setup_in_an_environment_of_its_own(ran: list[list[str]], tmp_path: Path) -> None:
    """It is made in the cache, gets what a worker needs, and no constraints of the main one."""
    python = install.setup(Framework.read(FAKE), isolated=True)

    assert tmp_path / "engines" / "fake" == python.parents[1]
    assert python.exists()
    assert ["numpy", "numpy", "safetensors"] == ran[0][-3:]
    assert "--constraint" not in ran[0]


def test_setup_for_a_backend(ran: list[list[str]]) -> None:
    """What the backend needs of its own is installed too."""
    backend = Backend("gpu", "cuda", requires=("plugin>=1",))
    install.setup(replace(Framework.read(FAKE), backends=(backend,)), backend="gpu")

    assert ["numpy", "plugin>=1"] == ran[0][-2:]


def test_setup_for_a_backend_breaks_nothing(ran: list[list[str]]) -> None:
    """A distribution that would overwrite an installed one goes into an environment of its own, or nowhere."""
    backend = Backend("gpu", "cuda", requires=("numpy-gpu",), replaces=("numpy",))
    engine = replace(Framework.read(FAKE), backends=(backend,))
    with pytest.raises(distributions.SetupError, match=r"numpy-gpu and numpy, .*: inferena setup fake --isolated"):
        install.setup(engine, backend="gpu")
    with pytest.raises(distributions.SetupError, match="has no backend tpu; there are gpu"):
        install.setup(engine, backend="tpu")
    install.setup(engine, backend="gpu", isolated=True)

    assert [["numpy-gpu", "numpy", "safetensors"]] == [line[-3:] for line in ran]


@pytest.mark.parametrize("exchange", [False, True])
def test_setup_builds_for_a_backend(ran: list[list[str]], tmp_path: Path, exchange: bool) -> None:
    """What is built for a backend goes into an environment that its worker uses, and the preparer has the plain one."""
    gpu = Backend("gpu", "metal", build={"numpy": "-DGPU=ON"})
    plain = replace(Framework.read(FAKE), exchange=exchange)
    engine = replace(plain, backends=(*plain.backends, gpu))
    missing = engine.missing(gpu)
    python = install.setup(engine, backend="gpu")
    installed = [line for line in ran if "install" in line]

    assert "numpy not installed: inferena setup fake --backend gpu" == missing
    assert tmp_path / "engines" / "fake-gpu" == python.parents[1]
    assert [str(python), sys.executable] == [engine.command(one)[0] for one in (gpu, engine.backends[0])]
    assert ["numpy"] * exchange == [line[-1] for line in installed[:-1]]
    assert ["made.whl", "safetensors"] == [Path(word).name for word in installed[-1][-2:]]


def test_a_backend_that_is_built_needs_the_plain_engine_too(ran: list[list[str]]) -> None:
    """Where the preparer writes its files, which needs the engine in this interpreter."""
    gpu = Backend("gpu", "metal", build={"numpy": "-DGPU=ON"})
    engine = replace(Framework.read(FAKE), exchange=True, requires=("numpy", "nowhere"), backends=(gpu,))

    assert "nowhere not installed: inferena setup fake" == engine.missing(gpu)
    assert [] == ran


def test_setup_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    """The step and its status are named."""
    engine = replace(Framework.read(FAKE), requires=("no-such-distribution-anywhere",))
    with pytest.raises(
        distributions.SetupError, match=r"Fake Engine: '.* no-such-distribution-anywhere' exited with status"
    ):
        install.setup(engine, isolated=False)

    assert "no-such-distribution-anywhere" in "".join(capfd.readouterr())


@pytest.mark.parametrize("command", ["setup", "doctor"])
def test_unknown_engine(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The ones there are are listed."""
    status = cli.main([command, "faek"])

    assert 1 == status
    assert capsys.readouterr().err.startswith("inferena: faek is no engine; there are pytorch, ")


def test_coverage_page() -> None:
    """A mark for every metric, counts, and every reason with its cells."""
    page = render(sample_results(), "coverage")

    assert page.startswith(COVERAGE)
    assert "✓ ✓ ✓ ✓" in page
    assert "- Zeta: NOT INSTALLED: needs zeta: pip install zeta (all cells)\n" in page


def test_coverage_of_many_models() -> None:
    """Models go down where there are more of them than engines; the last row has what is right, metric by metric."""
    found = [make_record(metric, model=model) for model in "abc" for metric in ("inference", "training")]
    found[1] = make_record("training", model="a", outcome="fail")
    page = render(make_results(found), "coverage")

    assert "Marks stand for inference, training, in this order" in page
    assert ["Model", "a", "b", "c", "right"] == re.findall(r"^\| (\w+) ", page, re.MULTILINE)
    assert ["Alpha", "✓ ✗", "✓ ✓", "✓ ✓", "100 % 66 %"] == re.findall(r"^\| \w+ +\| (.*?) +\|$", page, re.MULTILINE)


def test_coverage_takes_the_latest(tmp_path: Path) -> None:
    """Of a cell in two files the one of the later run counts; cells of both are there."""
    old = make_results([make_record("latency", outcome="fail"), make_record("training")], date="2026-01-01T00:00:00")
    new = make_results([make_record("latency")], date="2026-01-02T00:00:00")
    for name, found in (("a", old), ("b", new)):
        (tmp_path / f"{name}.json").write_text(render(found, "json"))
    whole = coverage.combined([results.read(tmp_path / f"{name}.json") for name in ("b", "a")])

    assert {"latency": "pass", "training": "pass"} == {
        cell["metric"]: cell["outcome"] for cell in coverage.cells(whole)
    }


def test_coverage_names_every_processor() -> None:
    """Runs of several machines may be joined; the page says which they were."""
    other = {**RUN["platform"], "cpu": "Other One"}
    found = [make_results([make_record("latency")]), make_results([make_record("training")], platform=other)]

    assert render(coverage.combined(found), "coverage").startswith("# Coverage on Acme One @ 2.10GHz, Other One\n")


def test_coverage_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command reads result files and prints every cell with its outcome and reason."""
    (tmp_path / "results.json").write_text(render(sample_results(), "json"))
    cli.main(["coverage", "--json", str(tmp_path / "results.json")])
    cells = json.loads(capsys.readouterr().out)

    assert len(sample_results().records) == len(cells)
    assert "operator aten.foo" in {cell["reason"] for cell in cells}


def test_coverage_of_no_result_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no result file is named."""
    (tmp_path / "results.json").write_text("{}")
    status = cli.main(["coverage", str(tmp_path / "results.json")])

    assert 1 == status
    assert capsys.readouterr().err.startswith(f"inferena: {tmp_path / 'results.json'}")
