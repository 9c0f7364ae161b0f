"""Tests of one's own: what `inferena` measures, what a test gets, and where the records go; on an engine in NumPy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.projects import MODEL

if TYPE_CHECKING:
    from tests.projects import Project

RIGHT = """
import pytest

@pytest.mark.inferena(model="mlp", framework="fake")
def test_marked(inferena):
    result = inferena.measure()

    assert result.right and result.outcome == "pass" and result.reason == ""
    assert (result.model, result.framework, result.metric) == ("mlp", "fake-numeric", "inference")
    assert result.nrmse <= result.limit and "NRMSE" in result.verdict
    assert 0 < result.interval[0] <= result.median <= result.interval[1]
    assert len(result.samples) >= 3
    assert result.outputs["output"].shape == (4, 4) and not result.gradients
    assert {*result.versions} == {"numpy"} and result.record.ran.startswith("NumPy ")

def test_called(inferena):
    result = inferena.measure("mlp", framework="fake", metric="training")

    assert {*result.gradients} >= {"first.weight", "third.bias"} and not result.outputs
    assert result.gradients["third.bias"].shape == (4,)
    assert result.loss == pytest.approx(float(result.tensors["loss"]))

@pytest.mark.parametrize("metric", ["latency", "compile"])
def test_parametrised(inferena, metric):
    assert inferena.measure("mlp", framework="fake").metric == metric
"""
SECOND = '\n[[backends]]\nname = "second"\ndevice = "cpu"\n'


def test_a_result_and_its_record(project: Project) -> None:
    """A marker, a call and parametrize choose; what the test gets is what the journal and the table have."""
    project.write("test_own.py", RIGHT)
    result = project.run("test_own.py", "--benchmark-json=b.json")
    rows = json.loads((project.path / "b.json").read_text())["benchmarks"]
    records = project.records()

    result.assert_outcomes(passed=4)
    assert ["compile", "inference", "latency", "training"] == sorted(records)
    assert "pytest test_own.py::test_marked --inferena-threads=1" == records["inference"]["command"]
    result.stdout.fnmatch_lines(["Tiny MLP", "Fake Engine *"])
    assert {f"mlp {metric}" for metric in records} == {row["group"].partition(" (")[0] for row in rows}
    assert {tuple(row["stats"]["data"]) for row in rows} == {tuple(record["samples"][0]) for record in records.values()}


def test_no_worker_is_started_twice(project: Project) -> None:
    """Tests that ask for the same engine share its worker, which has ended when another is needed."""
    project.append("fake/adapter.toml", SECOND)
    project.append(
        "fake/adapter.py", '\nwith (HERE / "started").open("a") as file:\n    print(os.getpid(), file=file)\n'
    )
    project.write(
        "test_own.py",
        "import os\nimport pathlib\nimport pytest\n\n"
        "@pytest.mark.parametrize('time', [1, 2])\n"
        "@pytest.mark.parametrize('framework', ['fake-numeric', 'fake-second'])\n"
        "def test_it(inferena, framework, time):\n"
        "    assert inferena.measure('mlp', framework=framework, metric='latency').right\n"
        "    pids = pathlib.Path('fake/started').read_text().split()\n"
        "    alive = [pid for pid in pids if pathlib.Path(f'/proc/{pid}').exists()]\n"
        "    assert alive == pids[-1:]\n",
    )
    project.run("test_own.py").assert_outcomes(passed=4)

    assert 2 == len((project.folder / "started").read_text().split())


COMPARED = """
import pytest

@pytest.mark.benchmark(group="shop", min_rounds=18, max_time=0.5)
def test_compared(inferena):
    slow, fast = inferena.compare("fake-numeric", "fake-second", model="mlp")

    assert slow.slower_than(fast, by=1) and not fast.slower_than(slow)
    assert not slow.slower_than(fast, by=1000)
    assert 9 == len(slow.rounds) == len(fast.rounds) and 18 <= len(slow.samples)
    assert slow.outputs["output"].shape == fast.outputs["output"].shape == (4, 4)
"""


def test_engines_in_turns(project: Project) -> None:
    """Two engines are measured in turns, their quotient has an interval, and both have a row in the group."""
    project.append("fake/adapter.toml", SECOND + '[backends.env]\nFAST = "1"\n')
    adapter = (project.folder / "adapter.py").read_text()
    slow = adapter.replace(
        "        self.runs += 1\n", '        self.runs += 1\n        time.sleep(0 if "FAST" in os.environ else 0.02)\n'
    )
    project.write("fake/adapter.py", slow)
    project.write("test_own.py", COMPARED)
    result = project.run("test_own.py", "--benchmark-json=b.json", fast=False)
    rows = json.loads((project.path / "b.json").read_text())["benchmarks"]

    result.assert_outcomes(passed=1)
    assert ["shop", "shop"] == [row["group"] for row in rows]
    assert [None, None] == [row["extra_info"]["noise"] for row in rows]  # in turns, noise hits all engines alike
    assert ["mlp-fake-numeric-inference", "mlp-fake-second-inference"] == [row["name"].split()[-1] for row in rows]


def test_wrong_broken_missing(project: Project) -> None:
    """A wrong result can be asserted on, an engine that breaks fails the test, and one that is missing skips it."""
    project.write(
        "test_own.py",
        "import pytest\n\n"
        "@pytest.mark.parametrize('metric', ['inference', 'latency', 'training'])\n"
        "def test_it(inferena, metric):\n"
        "    result = inferena.measure('mlp', framework='fake')\n"
        "    assert result.right\n",
    )
    project.fault(result="wrong", entry="inference")
    wrong = project.run("test_own.py", "-k", "inference")
    project.fault("measure", "signal", entry="latency")
    broken = project.run("test_own.py", "-k", "latency")
    project.fault()
    toml = (project.folder / "adapter.toml").read_text()
    project.write("fake/adapter.toml", 'training = "none"\n' + toml)
    lacking = project.run("test_own.py", "-k", "training")
    project.write("fake/adapter.toml", toml.replace('["numpy"]', '["no-such-engine"]'))
    missing = project.run("test_own.py", "-k", "training", "-rs")

    wrong.assert_outcomes(failed=1)
    wrong.stdout.fnmatch_lines(
        ["E *False = <mlp-fake-numeric-inference: FAIL, * ms*, output has NRMSE 1.0e-01, *>.right"]
    )
    broken.assert_outcomes(failed=1)
    broken.stdout.fnmatch_lines(["*-fake-numeric-latency CRASH: measure: killed by SIGSEGV", "again: pytest *"])
    lacking.assert_outcomes(failed=1)
    lacking.stdout.fnmatch_lines(["E *<mlp-fake-numeric-training: UNSUPPORTED, Fake Engine does not train>.right"])
    missing.assert_outcomes(skipped=1)
    missing.stdout.fnmatch_lines(["SKIPPED * no-such-engine not installed: inferena setup fake"])
    assert {"training": "not_installed"} == project.outcomes()


def test_judged_without_figures(project: Project) -> None:
    """With --benchmark-disable everything is judged, and nothing is slower than anything."""
    project.write(
        "test_own.py",
        "import math\n\ndef test_it(inferena):\n"
        "    one, other = inferena.compare('fake', 'fake', model='mlp')\n"
        "    assert one.right and math.isnan(one.median) and not one.samples\n"
        "    assert not one.slower_than(other)\n",
    )

    project.run("test_own.py", "--benchmark-disable").assert_outcomes(passed=1)


def test_fixtures_that_measure(project: Project) -> None:
    """A fixture can measure. If that fails there is a record of it, though the test never ran."""
    project.write(
        "test_own.py",
        "import pytest\n\n@pytest.fixture\ndef result(inferena):\n"
        "    return inferena.measure('mlp', framework='fake')\n\n"
        "def test_it(result):\n    assert result.right\n",
    )
    project.fault("measure", "exit")
    project.run("test_own.py").assert_outcomes(errors=1)

    assert {"inference": "crash"} == project.outcomes()


def test_a_file_beside_the_test(project: Project) -> None:
    """A model that nobody registered is named by its path from the test; its title is in the table."""
    project.write("models/README", "")  # none is registered from here
    project.write("deep/nets/other.py", MODEL.read_text().replace("Tiny MLP", "Other MLP"))
    project.write(
        "deep/test_own.py",
        "def test_it(inferena):\n    assert inferena.measure('nets/other.py', framework='fake').right\n",
    )
    result = project.run("deep", "-n", "2")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["Other MLP"])
    assert "automatically disabled" not in f"{result.stdout}{result.stderr}"
    assert {"inference": "pass"} == project.outcomes()


@pytest.mark.parametrize("option", ["--benchmark-skip", "--benchmark-only"])
def test_benchmark_skip_and_only(project: Project, option: str) -> None:
    """An own test counts as a benchmark: it is skipped as one, and is all that runs if only they do."""
    project.write(
        "test_own.py",
        "def test_it(inferena):\n    assert inferena.measure('mlp', framework='fake').right\n\n"
        "def test_other():\n    pass\n",
    )

    project.run("test_own.py", option).assert_outcomes(passed=1, skipped=1)


def test_without_pytest_benchmark(project: Project) -> None:
    """Everything but pytest-benchmark's own table works when that plugin is switched off."""
    project.write("test_own.py", "def test_it(inferena):\n    assert inferena.measure('mlp', framework='fake').right\n")
    project.run("test_own.py", "-p", "no:benchmark", fast=False).assert_outcomes(passed=1)

    assert {"inference": "pass"} == project.outcomes()


def test_dry_run(project: Project) -> None:
    """--inferena-dry-run names own tests and runs none."""
    project.write("test_own.py", "def test_it(inferena):\n    raise AssertionError\n")
    result = project.run("test_own.py", "--inferena-dry-run")

    assert 0 == result.ret
    result.stdout.fnmatch_lines(
        ["  test_own.py::test_it: a test of your own, which says what it measures when it runs"]
    )


LIMITED = """
import pathlib
import signal
import pytest

@pytest.mark.parametrize("metric", ["compile", "latency", "training"])
@pytest.mark.inferena(model="mlp", framework="fake")
def test_limited(inferena, metric):
    if metric == "latency" and pathlib.Path("stop").exists():
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.alarm(1)
    assert inferena.measure().right
"""


def test_what_a_time_limit_ends(project: Project) -> None:
    """It is a TIMEOUT in journal and table, as a cell's, with what runs it again; the next test has a fresh worker."""
    project.write("test_own.py", LIMITED)
    project.run("test_own.py", "-k", "compile")  # is prepared now
    project.fault("measure", "hang", entry="latency")
    result = project.run("test_own.py", "--timeout=8")
    record = project.records()["latency"]

    result.assert_outcomes(passed=2, failed=1)
    assert {"compile": "pass", "latency": "timeout", "training": "pass"} == project.outcomes()
    assert record["reason"].startswith("Timeout (>8.0s) from pytest-timeout, while the worker was busy with measure")
    assert ("pytest 'test_own.py::test_limited[latency]' --inferena-threads=1", True) == (
        record["command"], bool(record["hashes"])
    )  # fmt: skip
    result.stdout.fnmatch_lines(["Fake Engine * ✗[[]1[]] *"])


def test_interrupted_and_resumed(project: Project) -> None:
    """Ctrl-C leaves what was measured before, and of the test under way nothing, as of a cell; resuming measures all.

    An own test gets what was computed, which no journal has.
    """
    project.write("test_own.py", LIMITED)
    project.write("stop", "")
    project.fault("measure", "hang", entry="latency")
    stopped = project.run("test_own.py")
    before = project.outcomes()
    (project.path / "stop").unlink()
    project.fault()
    resumed = project.run("test_own.py", "--inferena-resume")

    assert pytest.ExitCode.INTERRUPTED == stopped.ret
    assert {"compile": "pass"} == before
    resumed.assert_outcomes(passed=3)
    assert ["pass"] * 3 == [*project.outcomes().values()]
    assert not any("resumed" in record["flags"] for record in project.records().values())
