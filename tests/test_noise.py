"""How quiet the machine was around a cell: what is calibrated, counted, measured again and flagged."""

from __future__ import annotations

import json
import math
import os
import time
from typing import TYPE_CHECKING

import pytest
from tests.records import make_record, make_results, timed

from pytest_inferena import system
from pytest_inferena.cell import METRICS
from pytest_inferena.machine import calibration, counters
from pytest_inferena.report import render
from pytest_inferena.report.table import tables
from pytest_inferena.results import Noise, plain
from pytest_inferena.session.noise import LOOK, Calibrations, noisiest, settle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.projects import Project

CALM = [100.0] * 9
RESTLESS = """
from itertools import chain, cycle
rates = chain([100.0] * 9, cycle([100.0, 50.0]))


def rate(cpu):
    return next(rates)
"""
"""A machine that is half as fast after each cell as before it."""
STAT = "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 {} 0 0 0 0 0 0 {} 5 0\ncpu1 100 0 0 0 0 0 0 {} 0 0\nintr 1\n"


def calibrations(rates: Sequence[float]) -> Calibrations:
    """Those of a machine whose kernel gives these rates, one after the other."""
    given = iter(rates)
    return Calibrations(1, lambda _: next(given))


@pytest.mark.parametrize(
    ("rates", "measured", "counted", "noisy"),
    [
        ([100, 102.9], 1, 1, False),
        ([100, 97], 3, 1, True),  # the other two were worse: 97 is 3.09 % below 100
        ([100, 150, 100, 100], 2, 2, False),
        ([100, 150, 100, 120, 100, 130], 3, 2, True),
        ([150, 100, 100, 150, 100, 102], 3, 3, False),
    ],
)
def test_a_cell_is_measured_again_at_most_twice(
    rates: list[float], measured: int, counted: int, *, noisy: bool
) -> None:
    """Until the machine is as fast after it as before it, within 3 %; the quietest of three measurements counts."""
    more = iter(range(1, 4))
    found, noise = calibrations([*CALM, *rates, *[100, 200] * 2]).watch(lambda: next(more), os.getpid())

    assert (counted, measured - 1, noisy) == (found, noise.repeated, noise.noisy)
    assert measured + 1 == next(more, 4)


def test_a_compilation_is_not_repeated() -> None:
    """It is flagged at once."""
    found, noise = calibrations([*CALM, 100, 200]).watch(lambda: "compiled", os.getpid(), again=0)

    assert ("compiled", 0, True) == (found, noise.repeated, noise.noisy)


def test_what_a_machine_differs_by_all_the_time_is_not_held_against_a_cell() -> None:
    """The limit is three standard deviations of a run's own calibrations, as soon as that is more than 3 %."""
    restless = calibrations([*[100, 105] * 4, 100, 100, 122, 100, 123])
    noises = [restless.watch(lambda: None, os.getpid(), again=0)[1] for _ in range(2)]

    assert [False, True] == [noise.noisy for noise in noises]
    assert all(math.isclose(3 * 1.4826 * 0.05, noise.limit) for noise in noises)


def test_what_is_usual_is_learnt() -> None:
    """Nine calibrations were alike; when most of what followed was not, that is what this machine does."""
    restless = calibrations([*CALM, *[100, 110] * 20])
    noises = [restless.watch(lambda: None, os.getpid(), again=0)[1] for _ in range(20)]

    assert [True] * 8 == [noise.noisy for noise in noises[:8]]
    assert not noises[-1].noisy


def test_of_several_processes_the_noisiest_is_told() -> None:
    """By how far it is beyond its own limit; measurements of all are counted."""
    calm, restless = Noise(calibration=(1, 1), limit=0.1), Noise(calibration=(1, 1.2), limit=0.1, repeated=2)

    assert Noise(calibration=(1, 1.2), limit=0.1, repeated=3) == noisiest(
        [None, Noise(calibration=(1, 1), limit=0.03, repeated=1), restless, calm]
    )
    assert noisiest([None]) is None


@pytest.mark.usefixtures("all_processors")
def test_the_kernel_runs_on_each_cpu_and_leaves_the_process_where_it_is() -> None:
    """The slowest CPU counts; the affinity of pytest's own thread stays."""
    before = os.sched_getaffinity(0)

    assert 0 < calibration.calibrate(len(before)) < math.inf
    assert before == os.sched_getaffinity(0)


def test_the_slowest_cpu_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine's step waits for its slowest thread. Of many CPUs some are looked at, the first and others."""
    looked: list[int] = []

    def rate(cpu: int) -> float:
        looked.append(cpu)
        return 100 + (cpu - 6) ** 2

    monkeypatch.setattr(system, "cpus", lambda threads: [*range(threads)])
    monkeypatch.setattr(calibration, "_on", rate)

    assert 100 == calibration.calibrate(40)
    assert [*range(0, 40, 3)] == sorted(looked)


def test_a_single_interrupt_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a kernel's three parts the middle one counts; one of them is interrupted here for as long as it takes."""
    clock = iter([0, 0.002, 0.004, 1, 1.002, 1.008, 2, 2.002, 2.004])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))

    assert math.isclose(2 * len(calibration.BLOCK) / 0.004 / 2**20, calibration._on(None))


def machine(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of two CPUs whose files lie in a folder."""
    monkeypatch.setattr(counters, "PROC", root / "proc")
    monkeypatch.setattr(counters, "CPUS", root / "cpu")
    monkeypatch.setattr(system, "cpus", lambda threads: [0, 1][:threads])
    return root


def write(path: Path, text: str) -> None:
    """Write a file, its folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_what_the_system_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares are of the time between two looks; switches and migrations are those of all threads of the process."""
    root = machine(tmp_path, monkeypatch)
    seconds = iter([10.0, 12.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    seen = []
    for busy, stolen, stalled, switches, moves in ((100, 0, 0, 5, 1), (180, 20, 500_000, 8, 3)):
        write(root / "proc" / "stat", STAT.format(busy, stolen, stolen))
        some, full = f"some avg10=0.00 total={stalled}", "full avg10=0.00 total=9"
        write(root / "proc" / "pressure" / "cpu", f"{some}\n{full}\n")
        for task in (7, 8):
            write(root / f"proc/7/task/{task}/status", f"Name:\tx\nnonvoluntary_ctxt_switches:\t{switches}\n")
            write(root / f"proc/7/task/{task}/sched", f"se.nr_migrations      :        {moves}\n")
            write(root / f"proc/7/task/{task}/schedstat", f"{task} 2 1\n")
        write(root / "cpu/cpu1/thermal_throttle/core_throttle_count", f"{stolen}\n")
        seen.append(counters.count(1, 7) if busy == 100 else counters.count(2, 7))
    seen[0] = seen[0]._replace(ticks=(0, 200), throttled=4)
    write(root / "cpu/cpu0/cpufreq/scaling_cur_freq", "3400000\n")
    write(root / "cpu/cpu1/cpufreq/scaling_cur_freq", "2000000\n")
    found = counters.between(*seen)

    assert 15 == counters.worked(7)
    assert {
        "steal": round(40 / 120, 4), "pressure": {"cpu": 0.25}, "switches": 6, "migrations": 4, "throttled": 16
    } == found  # fmt: skip
    assert (2700, 3400) == (counters.frequency(2), counters.frequency(1))


@pytest.mark.parametrize(
    ("worked", "looks"),
    [([0, 10**7, 2 * 10**7, 2 * 10**7], 3), ([5, 5], 1), ([None], 0), ([0, None], 1), ([*range(0, 10**9, 10**6)], 100)],
)
def test_a_worker_that_spins_is_waited_for(
    worked: list[int | None], looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it sleeps, has ended, or half a second is over; where nobody can tell, not at all."""
    more, clock = iter(worked), [0.0]
    monkeypatch.setattr(counters, "worked", lambda _: next(more))
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    settle(7)

    assert looks == round(clock[0] / LOOK)


def test_a_system_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read is unknown, and no share of nothing."""
    machine(tmp_path, monkeypatch)
    found = counters.between(counters.count(2, 7), counters.count(2, 7))

    unknown = dict.fromkeys(("steal", "switches", "migrations", "throttled"))
    assert {**unknown, "pressure": {}} == found
    assert counters.frequency(2) is counters.worked(7) is None


def test_a_restless_machine_in_a_run(project: Project) -> None:
    """Steady cells were measured three times and have the flag, compile once; table and JSON say so."""
    project.append("conftest.py", RESTLESS)
    result = project.run("--benchmark-json=out.json")
    records = project.records()
    rows = json.loads((project.path / "out.json").read_text())["benchmarks"]

    result.assert_outcomes(passed=4)
    assert [["noisy"]] * 4 == [records[metric]["flags"] for metric in METRICS]
    assert [0, 2, 2, 2] == [records[metric]["noise"]["repeated"] for metric in METRICS]
    assert all([100, 50] == record["noise"]["calibration"] for record in records.values())
    assert {"noisy"} == {flag for row in rows for flag in row["extra_info"]["flags"]}
    said = " ".join(" ".join(result.outlines).split())
    assert "noisy: the machine's speed before and after it differs by 100.0%, more than 3.0%, in each of 3 meas" in said


def test_nothing_is_calibrated_where_nothing_is_measured(project: Project) -> None:
    """With --benchmark-disable no kernel runs, and no record says how quiet it was."""
    project.append("conftest.py", RESTLESS.replace("next(rates)", "exit(9)"))
    project.run("--benchmark-disable").assert_outcomes(passed=4)

    assert {None} == {record["noise"] for record in project.records().values()}


def test_reports_say_how_quiet_it_was() -> None:
    """The facts below a table name the cell around which the machine changed most, and what was lost at most."""
    quiet = Noise(calibration=(100, 101), limit=0.03, steal=0.02, pressure={"cpu": 0.5})
    noisy = Noise(calibration=(120, 100), limit=0.03, repeated=2, steal=0.01, pressure={"cpu": 0.1}, throttled=3)
    results = make_results([
        make_record(noise=plain(quiet), **timed(0.2, 0.001)), make_record("compile", noise=plain(noisy)),
    ])  # fmt: skip
    told = dict(tables(results)[0].facts)["Noise"]

    assert (
        "the machine's speed moved by up to 20.0% around a cell (Alpha, compile); 1 of 2 cells were measured again; "
        "stolen up to 2.0%; waiting for cpu up to 50.0%; throttled 3 times" == told
    )
    assert told in render(results, "md")
    assert "speed moved by 20.0%, limit 3.0%" in render(results, "html")
    assert "Noise" not in dict(tables(make_results([make_record()]))[0].facts)
