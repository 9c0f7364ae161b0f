"""Merely installed, the plugin changes nothing: no test, no option, no import, and no file of anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.projects import CONFTEST, MODEL

if TYPE_CHECKING:
    from tests.projects import Project

ROOT = Path(__file__).parents[1]
BENCHMARKS = ("--pyargs", "pytest_inferena.benchmarks")
SPY = '''\
"""Says which modules of the plugin this process imported, beside those that pytest loads it by."""
import sys


def pytest_unconfigure():
    loaded = {name for name in sys.modules if name.startswith("pytest_inferena")}
    print(f"more: {sorted(loaded - {'pytest_inferena', 'pytest_inferena.plugin', 'pytest_inferena.hooks'})}")
'''
FIXTURES = """
import pytest


@pytest.fixture
def worker():
    return "own worker"


@pytest.fixture
def cell(worker):
    return "own cell"


@pytest.fixture(scope="session")
def target():
    return "own target"


@pytest.fixture
def model(target):
    return "own model"


@pytest.fixture
def framework():
    return "own framework"
"""
BENCHMARK = """

@pytest.fixture
def benchmark():
    return "own benchmark"
"""
OWN = """
import pytest


@pytest.mark.parametrize("name", ["worker", "cell", "target", "model", "framework", "benchmark"])
def test_each(request, name):
    assert request.getfixturevalue(name) == f"own {name}"


def test_one(cell, worker, target, model, framework, benchmark):
    assert [cell, worker, target, model, framework] == [
        f"own {name}" for name in ("cell", "worker", "target", "model", "framework")
    ]


@pytest.mark.parametrize("cell", [1, 2])
def test_parametrised(cell):
    assert cell in (1, 2)
"""


def listed(result: pytest.RunResult) -> list[str]:
    """The ids that --collect-only -q shows."""
    return [line for line in result.outlines if "::" in line]


@pytest.mark.parametrize("registers", [False, True])
def test_fixtures_of_the_same_names(pytester: pytest.Pytester, registers: bool) -> None:
    """A suite with fixtures named as ours gets its own, once for each of its tests, wherever models are registered."""
    pytester.makeconftest((CONFTEST.format(model=str(MODEL)) if registers else "") + FIXTURES + BENCHMARK)
    pytester.makepyfile(OWN)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:benchmark")

    result.assert_outcomes(passed=9)
    assert not (pytester.path / ".inferena").exists()


def test_cells_beside_fixtures_of_the_same_names(project: Project) -> None:
    """Cells run on our fixtures in a project that has its own of those names, but for the one that they ask for."""
    project.append("conftest.py", FIXTURES.replace("def cell(worker)", "def my_cell(worker)"))
    result = project.run("-m", "latency")

    result.assert_outcomes(passed=1)
    assert {"latency": "pass"} == project.outcomes()


def test_benchmarks_beside_a_fixture_named_cell(pytester: pytest.Pytester) -> None:
    """This project's benchmarks stay cells where the user's conftest.py has a fixture `cell`."""
    pytester.makeconftest(FIXTURES)
    chosen = ("-k", "resnet50", "-m", "eager and latency")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--collect-only", "-q", *BENCHMARKS, *chosen)

    assert ["test_latency.py::test_latency[resnet50-pytorch-eager]"] == [Path(id_).name for id_ in listed(result)]


def test_fixture_that_wraps_ours(project: Project) -> None:
    """A project's fixture `cell` that asks for ours is a cell."""
    project.append("conftest.py", "\n\nimport pytest\n\n\n@pytest.fixture\ndef cell(cell):\n    return cell\n")
    result = project.run("-m", "latency")

    result.assert_outcomes(passed=1)
    assert {"latency": "pass"} == project.outcomes()


@pytest.mark.parametrize("arguments", [(), ("-n", "1"), ("-p", "no:benchmark"), ("-m", "not slow")])
def test_nothing_is_imported(pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    """Without a cell only the plugin and its hooks' specifications are imported, even where an assertion fails."""
    pytester.makepyfile(spy=SPY, test_own="def test_one(): assert 1 == 2\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "spy", *arguments)
    allowed = "['pytest_inferena.session', 'pytest_inferena.session.handover']" if "-n" in arguments else "[]"

    result.assert_outcomes(failed=1)
    assert f"more: {allowed}" in result.outlines
    assert not any("inferena" in line for line in result.outlines if not line.startswith(("plugins:", "more:")))


def test_nothing_is_imported_where_models_are_registered(project: Project) -> None:
    """A project's other tests read neither models nor adapters, and a broken one does not stop them."""
    project.write("models/broken.py", "(")
    project.write("spy.py", SPY)
    project.write("unit/test_own.py", "def test_one(): pass\n")
    result = project.pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "spy", "unit")

    result.assert_outcomes(passed=1)
    assert "more: []" in result.outlines
    assert not (project.path / ".inferena").exists()


@pytest.fixture
def package(pytester: pytest.Pytester) -> Path:
    """A package with tests inside it, beside a conftest.py that has an option."""
    pytester.makeconftest('def pytest_addoption(parser):\n    parser.addoption("--foo", action="store_true")\n')
    folder = pytester.mkpydir("mypkg")
    (folder / "__init__.py").write_text("VALUE = 1\n")
    tests = pytester.path / "mypkg" / "tests"
    tests.mkdir()
    (tests / "__init__.py").touch()
    (tests / "test_value.py").write_text(
        "import mypkg\n\n\ndef test_value(request):\n    assert mypkg.VALUE and request.config.option.foo\n"
    )
    return folder


def test_options_of_a_conftest_with_pyargs(package: Path, pytester: pytest.Pytester) -> None:
    """With --pyargs the conftest.py beside the user is loaded before the options are read, as without the plugin."""
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--pyargs", "mypkg.tests", "--foo")

    assert package.exists()
    result.assert_outcomes(passed=1)


def test_no_package_is_imported_early(package: Path, pytester: pytest.Pytester) -> None:
    """With --pyargs a package is not imported before its tests are collected, so that coverage sees all of it."""
    pytester.makepyfile(
        spy="import sys\n\n\n"
        "def pytest_collection(session):\n    print(f'early: {[n for n in sys.modules if n.startswith(\"mypkg\")]}')\n"
    )
    result = pytester.runpytest_subprocess("-s", "-p", "spy", "--pyargs", "mypkg.tests", "--foo")

    assert package.exists()
    result.assert_outcomes(passed=1)
    assert "early: []" in result.outlines


def test_markers_of_the_project(project: Project) -> None:
    """A project's own markers live beside ours of the same names: in its ini file, and with arguments on its tests."""
    project.append("pytest.ini", "markers =\n    training(rounds): my own\n    cpu: my own\n    mlp: my own\n")
    project.write(
        "test_own.py",
        "import pytest\n\n\n@pytest.mark.cpu\n@pytest.mark.training(rounds=3)\ndef test_own(request):\n"
        "    assert request.node.get_closest_marker('training').kwargs == {'rounds': 3}\n",
    )
    result = project.run("--collect-only", "-q", "-m", "training and cpu")

    assert 0 == result.ret
    assert ["test_own.py::test_own", "test_training.py::test_training[mlp-fake-numeric]"] == sorted(listed(result))
    project.pytester.runpytest_inprocess("-p", "no:cacheprovider", "test_own.py").assert_outcomes(passed=1)


@pytest.mark.parametrize("arguments", [("-m", "not (fake and latency)"), ("-m", "not mlp")])
def test_expressions_that_name_our_markers_without_cells(project: Project, arguments: tuple[str, ...]) -> None:
    """`-m` of strict markers may name ours where only other tests are collected, as addopts does."""
    project.write("unit/test_own.py", "def test_one(): pass\n")

    project.pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments, "unit").assert_outcomes(passed=1)


def test_xdist_deals_as_ever(project: Project) -> None:
    """The scheduler of xdist itself deals out tests where there are no cells."""
    project.write("unit/test_own.py", "def test_one(): pass\n\n\ndef test_two(): pass\n")
    result = project.pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2", "-v", "unit")

    result.assert_outcomes(passed=2)
    assert "scheduling tests via LoadScheduling" in result.outlines


def test_cells_registered_further_down(project: Project) -> None:
    """A conftest.py that pytest loads while it collects registers cells, in one process and in several."""
    for file in [*project.path.glob("test_*.py"), project.path / "conftest.py", project.folder]:
        file.rename(project.write("below/bench/x", "").with_name(file.name))
    serial, parallel = project.run("-m", "latency"), project.run("-m", "latency", "-n", "1")

    serial.assert_outcomes(passed=1)
    parallel.assert_outcomes(passed=1)
    assert [1, 1] == [len(path.read_text().splitlines()) - 1 for path in project.journals()]


def test_a_dry_run_runs_nothing(pytester: pytest.Pytester) -> None:
    """--inferena-dry-run runs no test of anybody, also where there are no cells."""
    pytester.makepyfile("def test_one(): raise SystemExit")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--inferena-dry-run")

    assert 0 == result.ret
    result.stdout.fnmatch_lines(["0 cells, *"])


def test_benchmarks_beside_a_conftest(project: Project) -> None:
    """`--pyargs pytest_inferena.benchmarks` alone finds what the conftest.py in the current folder registers."""
    result = project.run("--collect-only", "-q", *BENCHMARKS, "-m", "fake and latency", "-k", "mlp")

    assert ["test_latency.py::test_latency[mlp-fake-numeric]"] == [Path(id_).name for id_ in listed(result)]


def test_benchmarks_without_the_plugin() -> None:
    """With -p no:inferena this repository's benchmarks say what they need, in one line."""
    command = [sys.executable, "-m", "pytest", "-p", "no:inferena", "-p", "no:cacheprovider", "benchmarks"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert pytest.ExitCode.USAGE_ERROR == done.returncode
    assert done.stderr.startswith(f"ERROR: {ROOT / 'benchmarks'}: these tests need the plugin inferena: without -p no:")
    assert 1 == len((done.stdout + done.stderr).strip().splitlines())


def test_order_of_the_plugins(project: Project) -> None:
    """pytest-benchmark's JSON is written with xdist in whichever order the plugins were named."""
    file = project.path / "F.json"
    project.run("-p", "inferena", "-p", "benchmark", "-n", "2", f"--benchmark-json={file}", "-m", "latency")

    assert '"outcome": "pass"' in file.read_text()


def test_benchmark_loaded_by_its_module(project: Project) -> None:
    """Cells use pytest-benchmark under whatever name it was loaded."""
    plugins = ("-p", "pytest_inferena.plugin", "-p", "pytest_benchmark.plugin")
    project.pytester._monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    project.run(*plugins, "--benchmark-json=F.json", "-m", "latency").assert_outcomes(passed=1)

    assert '"outcome": "pass"' in (project.path / "F.json").read_text()
    assert os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
