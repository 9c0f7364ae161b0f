"""`inferena doctor --quiet-check`: what it hears, and what it advises where it applies."""

from __future__ import annotations

import json
import os
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.commands import cli, quiet
from pytest_inferena.machine import advice, counters
from pytest_inferena.machine.quiet import FIGURES, STEPS, Quiet, listen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEARD = Quiet(0.021, (100.0, 102.1), {
    "steal": 0.0, "pressure": {"cpu": 0.0}, "switches": None, "migrations": None, "throttled": None, "load": 0.5,
    "frequency": None,
})  # fmt: skip


def heard(**noise: Any) -> Quiet:
    """A quiet machine, but for something."""
    return HEARD._replace(noise={**HEARD.noise, **noise})


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets up a machine of so many CPUs, with files in place of those below /sys/devices/system/cpu."""

    def made(cpus: int, files: dict[str, str], *, systemd: bool = False, all_of: int | None = None) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        (tmp_path / "controllers").write_text("cpuset cpu io memory pids\n", encoding="utf-8")
        monkeypatch.setattr(counters, "CPUS", tmp_path)
        monkeypatch.setattr(advice, "SYSTEMD", tmp_path if systemd else tmp_path / "none")
        monkeypatch.setattr(advice, "CONTROLLERS", tmp_path / "controllers")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(cpus)})
        monkeypatch.setattr(os, "cpu_count", lambda: all_of or cpus)

    return made


def commands(found: Quiet = HEARD) -> dict[str, str]:
    """What is advised, by its name."""
    return {one.name: one.command for one in advice.advise(found)}


def test_what_can_be_told_apart() -> None:
    """Of equal figures any difference; of others what only 3 of 66 pairs differ by more than."""
    calm = listen(2, lambda threads: 50.0 * threads)
    rates = chain(*([100 + figure**2] * STEPS for figure in range(FIGURES)))
    restless = listen(2, lambda _: next(rates))
    apart = [high / low - 1 for low, high in combinations(restless.rates, 2)]

    assert (0, (100.0,) * FIGURES) == (calm.resolvable, calm.rates)
    assert (66, 3) == (len(apart), sum(share > restless.resolvable for share in apart))
    assert {*counters.between(counters.count(1), counters.count(1)), "load", "frequency"} == {*calm.noise}


def test_a_single_kernel_does_not_count() -> None:
    """A figure is a median, as those of cells are."""
    rates = chain([1.0] * (STEPS // 2), [100.0] * STEPS * FIGURES)

    assert 0 == listen(1, lambda _: next(rates)).resolvable


def test_a_quiet_machine_is_left_alone(machine: Callable[..., None]) -> None:
    """With the governor `performance`, no turbo, no SMT and two CPUs there is nothing to say."""
    machine(2, {
        "cpu0/cpufreq/scaling_governor": "performance", "intel_pstate/no_turbo": "1", "cpufreq/boost": "0",
        "smt/active": "0", "isolated": "",
    }, systemd=True)  # fmt: skip

    assert {} == commands()
    machine(2, {})
    assert {} == commands()


def test_what_a_laptop_is_told(machine: Callable[..., None]) -> None:
    """Each thing that applies has its own command; CPUs are named one a core, without the first."""
    siblings = {f"cpu{cpu}/topology/thread_siblings_list": f"{cpu % 4},{cpu % 4 + 4}" for cpu in range(8)}
    machine(8, {
        "cpu1/cpufreq/scaling_governor": "powersave", "intel_pstate/no_turbo": "0", "smt/active": "1", "isolated": "",
        **siblings,
    }, systemd=True)  # fmt: skip
    found = commands()
    root = counters.CPUS

    assert f"echo performance | sudo tee {root}/cpu*/cpufreq/scaling_governor" == found.pop("governor")
    assert f"echo 1 | sudo tee {root}/intel_pstate/no_turbo" == found.pop("turbo")
    assert f"echo off | sudo tee {root}/smt/control" == found.pop("smt")
    assert "taskset -c 1,2,3 pytest benchmarks" == found.pop("pinning")
    isolating = found.pop("isolated cores")
    assert "sudo systemctl set-property --runtime user.slice AllowedCPUs=0 && sudo env" in isolating
    assert "systemd-run --scope --slice=inferena -p AllowedCPUs=1,2,3 " in isolating
    assert {} == found


def test_turbo_of_other_drivers(machine: Callable[..., None]) -> None:
    """The file `boost` says the opposite of `no_turbo`; heat is told where it was counted."""
    machine(2, {"cpufreq/boost": "1"})
    (found,) = advice.advise(heard(throttled=4))

    assert f"echo 0 | sudo tee {counters.CPUS}/cpufreq/boost" == found.command
    assert "throttled 4 times" in found.why


def test_others_at_work(machine: Callable[..., None]) -> None:
    """Who takes this machine's CPUs is looked for here; what its host takes cannot be changed."""
    machine(2, {})

    assert {"others": "ps -eo pcpu,pid,args --sort=-pcpu | head"} == commands(heard(pressure={"cpu": 0.2}))
    assert {"steal": "pytest benchmarks --inferena-processes=5"} == commands(heard(steal=0.05))


def test_isolated_cores(machine: Callable[..., None]) -> None:
    """Those of the kernel's own option share no threads out, so they suit nobody who uses several."""
    machine(6, {"isolated": "2-3,5"})
    assert "taskset -c 0,1,4 pytest benchmarks" == commands()["isolated cores"]
    machine(2, {"isolated": "0-1"}, all_of=4)
    assert {"isolated cores": "taskset -c 0 pytest benchmarks"} == commands()
    machine(2, {"isolated": "1"}, all_of=4)
    assert {} == commands()


def test_a_part_of_a_machine_is_pinned_already(machine: Callable[..., None]) -> None:
    """Who has started it with taskset need not be told to."""
    machine(4, {}, all_of=8)

    assert {} == commands()


def test_the_command(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence with a figure, what was heard, and the advice; the same as JSON; an engine has no place in it."""
    machine(2, {"cpufreq/boost": "1"})
    monkeypatch.setattr(quiet, "listen", lambda _: heard(frequency=2100, throttled=0))

    assert 0 == cli.main(["doctor", "--quiet-check"])
    assert [
        "Differences of 2.1% and more can be told from noise here.",
        "That is by how much two of 2 figures of the same work differ, in 19 of 20 pairs.",
        "2 threads, 100 to 102 MiB/s of SHA-256, load 0.5, stolen 0.0%, waiting for cpu 0.0%, 2100 MHz",
        "",
        "turbo: turbo is on: the frequency depends on heat, and on how many cores are busy",
        f"  echo 0 | sudo tee {counters.CPUS}/cpufreq/boost",
    ] == capsys.readouterr().out.splitlines()
    assert 0 == cli.main(["doctor", "--quiet-check", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (0.021, [100, 102.1], 2, ["turbo"]) == (
        told["resolvable"], told["rates"], told["threads"], [one["name"] for one in told["advice"]]
    )  # fmt: skip
    assert 1 == cli.main(["doctor", "--quiet-check", "jax"])
    assert "leave out jax" in capsys.readouterr().err
