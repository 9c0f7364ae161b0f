"""Several processes a cell: each is fresh, each is judged, and the interval is that over processes."""

from __future__ import annotations

import json
from statistics import median
from typing import TYPE_CHECKING

import pytest

from pytest_inferena.cell import METRICS
from pytest_inferena.session.figures import bootstrap, figures
from pytest_inferena.worker.stats import median_interval

if TYPE_CHECKING:
    from tests.projects import Project

SPY = """
KERNELS = Path(os.environ["FAKE_KERNELS"]) / "kernel"
with (HERE / "started").open("a") as file:
    print("warm" if KERNELS.exists() else "cold", file=file)
KERNELS.touch()
"""
"""What a fake engine does when it starts: it tells whether it finds kernels of a process before it, and leaves some."""
WRONG = """
if len((HERE / "started").read_text().splitlines()) == 2:
    RESULTS[""] = RESULTS["wrong"]
    fault = lambda entry=None: {"result": "wrong"}
"""


def spy(project: Project, more: str = "") -> None:
    """Let the engine write a line for each of its processes."""
    toml = project.folder / "adapter.toml"
    project.write("fake/adapter.toml", toml.read_text() + '\n[env]\nFAKE_KERNELS = "{kernels}"\n')
    project.append("fake/adapter.py", SPY + more)


def test_each_cell_has_its_processes(project: Project) -> None:
    """Samples are kept by process. A cell goes on with the last worker; others are fresh, and only compile is cold."""
    spy(project)
    result = project.run("--inferena-processes=3", "--benchmark-json=out.json")
    records = project.records()
    rows = json.loads((project.path / "out.json").read_text())["benchmarks"]

    result.assert_outcomes(passed=4)
    assert [3] * 4 == [len(records[metric]["samples"]) for metric in METRICS]
    assert [1] * 3 == [len(samples) for samples in records["compile"]["samples"]]
    assert ["cold"] * 3 + ["warm"] * 6 == (project.folder / "started").read_text().split()
    for row in rows:
        samples = records[row["params"]["metric"]]["samples"]
        assert [sample for process in samples for sample in process] == row["stats"]["data"]
        assert [len(process) for process in samples] == row["extra_info"]["processes"]
    assert 4 == len(rows)
    assert all("--inferena-processes=3" in record["command"] for record in records.values())


def test_processes_share_the_rounds(project: Project) -> None:
    """As many samples as were asked for are taken, by all processes together."""
    project.run("-m", "latency", "--inferena-processes=3", "--benchmark-min-rounds=200", "--benchmark-max-time=0.01",
        fast=False)  # fmt: skip

    assert [67] * 3 == [len(samples) for samples in project.records()["latency"]["samples"]]


def test_every_process_is_judged(project: Project) -> None:
    """A cell whose second process is wrong FAILs, and the third is not asked."""
    spy(project, WRONG)
    project.run("-m", "latency", "--inferena-processes=3")
    record = project.records()["latency"]

    assert ("fail", 2) == (record["outcome"], len(record["samples"]))
    assert "fail" == record["verdict"]["outcome"]


def test_what_is_only_judged_takes_one_process(project: Project) -> None:
    """With --benchmark-disable there is nothing that several processes would tell."""
    spy(project)
    project.run("-m", "latency", "--inferena-processes=3", "--benchmark-disable")

    assert 1 == len((project.folder / "started").read_text().split())


def test_fewer_processes_are_not_resumed(project: Project) -> None:
    """A cell that one process measured is measured again where three are asked for, and not the other way round."""
    spy(project)
    arguments = ("-m", "latency", "--inferena-results=run.jsonl", "--inferena-resume")
    for processes, started in (1, 1), (3, 4), (1, 4):
        project.run(*arguments, f"--inferena-processes={processes}")

        assert started == len((project.folder / "started").read_text().split())


@pytest.mark.parametrize("number", ["0", "101", "-1"])
def test_a_number_of_processes_that_cannot_be(project: Project, number: str) -> None:
    """It is one sentence that says which can."""
    result = project.run(f"--inferena-processes={number}")

    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines([f"ERROR: --inferena-processes={number}: a cell takes 1 to 100"])


def test_the_interval_holds_what_differs_from_process_to_process() -> None:
    """Many samples of three processes that differ say little; of three that do not, as much as of one."""
    alike = [[1.0, 1.01, 1.02, 1.03, 1.04] * 8 for _ in range(3)]
    shifts = (0.0, 0.5, 1.0)
    apart = [[value + shift for value in alike[0][: 40 - 15 * place]] for place, shift in enumerate(shifts)]
    found = figures(apart)

    assert 1.52 == pytest.approx(found["median"])
    assert apart == [[*process] for process in found["samples"]]
    assert found["interval"] == pytest.approx((1.02, 2.02), abs=0.03)
    assert bootstrap(alike) == pytest.approx((1.02, 1.02), abs=0.011)
    assert bootstrap(apart) == found["interval"]


def test_one_process_has_the_interval_of_its_order_statistics() -> None:
    """As before there were several; and a single sample has none."""
    samples = [float(value) for value in range(30)]

    assert (median_interval(samples), median(samples)) == tuple(
        figures([samples])[name] for name in ("interval", "median")
    )
    assert figures([[1.0]])["interval"] is None
