"""Tests of the description of the machine."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_inferena import machine
from pytest_inferena.machine import devices, identity
from pytest_inferena.results import Platform, plain, typed

GPU = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 42\n"
VERSION = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build\nGCC version: 12\n"


@pytest.fixture(autouse=True)
def asked_again() -> Iterator[None]:
    """GPUs are looked for once in a process; each test here looks for itself."""
    devices.nvidia.cache_clear()
    yield
    devices.nvidia.cache_clear()


def test_this_machine_fits_the_schema() -> None:
    """What is found here can stand in a run's header."""
    found = machine.describe()

    assert found == typed(Platform, plain(found))


CPUINFO = "processor\t: 0\nmodel name\t: Acme One\ncpu family\t: 6\nstepping\t: {}\ncpu MHz\t: {}\nflags\t: fpu sse\n\n"


def test_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stepping, caches and the limits of frequency tell machines apart; the frequency of a moment does not."""
    monkeypatch.setattr(sys, "platform", "linux")
    for place in ("PROC", "CPUS", "NODES"):
        monkeypatch.setattr(identity, place, tmp_path)
    cpu = tmp_path / "cpu0"

    def name(stepping: int = 1, frequency: str = "2100.0", cache: str = "32K", limit: str = "3000000") -> str:
        for folder in (cpu / "cache" / "index0", cpu / "cpufreq"):
            folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cpuinfo").write_text(CPUINFO.format(stepping, frequency) * 2)
        (cpu / "cache" / "index0" / "size").write_text(f"{cache}\n")
        (cpu / "cpufreq" / "cpuinfo_max_freq").write_text(f"{limit}\n")
        return identity.identity()

    assert name() == name(frequency="800.0")
    assert 5 == len({name(), name(2), name(cache="48K"), name(limit="3500000"), name(2, cache="48K")})


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_identity_elsewhere(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems are asked in their own way, and a name comes of whatever they say."""
    monkeypatch.setattr(sys, "platform", system)

    assert re.fullmatch("[0-9a-f]{16}", identity.identity())


def test_describing_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a program to ask, describing takes less than 50 ms of a processor."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    start = time.thread_time()
    machine.describe()

    assert time.thread_time() - start < 0.05


@pytest.mark.parametrize(
    ("cpu", "cores", "expected"),
    [
        ("Intel(R) Xeon(R) CPU @ 2.10GHz", 2, "intel-xeon-2.10ghz-2c"),
        ("AMD Ryzen 9 7950X 16-Core Processor", 32, "amd-ryzen-9-7950x-16-core-32c"),
        ("Apple M3", 8, "apple-m3-8c"),
        ("../../etc/Prozeßor", 1, "etc-proze-or-1c"),
    ],
)
def test_id_is_a_safe_file_name(cpu: str, cores: int, expected: str) -> None:
    """The id has the CPU's model and cores, and nothing that a path could stumble over."""
    assert expected == machine.machine_id(cpu, cores)


def test_gpus_are_read_from_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the driver has a folder in /proc, no process is started."""
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / name).mkdir(parents=True)
        (tmp_path / "gpus" / name / "information").write_text(GPU)
    (tmp_path / "version").write_text(VERSION)
    monkeypatch.setattr(devices, "_NVIDIA", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _: pytest.fail("asked for a program"))
    found = machine.describe()

    assert (("cpu", *["NVIDIA H100 80GB HBM3"] * 2), "570.124.06") == (found.devices, found.driver)


def test_gpus_are_asked_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc says nothing, the driver's program on PATH does."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA RTX 5080, 16303, 575.1, 12.0'\n")
    program.chmod(0o755)
    monkeypatch.setattr(devices, "_NVIDIA", tmp_path / "missing")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = machine.describe()

    assert (("cpu", "NVIDIA RTX 5080"), "575.1") == (found.devices, found.driver)


def test_broken_program_means_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver's program that fails is as good as none."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed, no driver'\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setattr(devices, "_NVIDIA", tmp_path / "missing")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert ("cpu",) == machine.describe().devices


def test_threads_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget follows CPU affinity, and falls back to the number of CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    bound = machine.thread_budget()
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)

    assert (3, 1) == (bound, machine.thread_budget())


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2\nprocessor\t: 1\nflags\t\t: fpu avx2\n", "flags\t\t: fpu avx2"),
        ("Features\t: fp asimd\n", "Features\t: fp asimd"),
    ],
)
def test_instruction_sets_are_those_that_the_system_lists(
    cpuinfo: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On x86 and on Arm; where it lists none, the processor's kind stands for them."""
    monkeypatch.setattr(machine, "text", lambda _: cpuinfo)
    listed = machine.instruction_sets()
    monkeypatch.setattr(machine, "text", lambda _: "")

    assert listed == expected
    assert machine.instruction_sets().startswith(os.uname().machine)


def test_commit_says_when_it_is_dirty(tmp_path: Path) -> None:
    """A clean checkout gives the short hash, also on a tag; a changed file adds -dirty."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    (tmp_path / "file").write_text("1")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "x"], ["tag", "-am", "v", "v1"]):
        subprocess.run([*git, *command], check=True)
    short = subprocess.run([*git, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True)
    clean = machine.commit(tmp_path)
    (tmp_path / "file").write_text("2")

    assert (short.stdout.strip(), f"{short.stdout.strip()}-dirty") == (clean, machine.commit(tmp_path))


def test_no_git_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a folder without a repository nor a machine without git is an error."""
    outside = machine.commit(tmp_path)
    monkeypatch.setenv("PATH", "")

    assert (None, None) == (outside, machine.commit(Path.cwd()))


def test_cpu_has_a_name_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc/cpuinfo names no model, as on many ARM machines, the architecture stands in."""
    monkeypatch.setattr(machine, "text", lambda _: "")

    assert re.fullmatch(r"[a-z0-9.-]+-\d+c", machine.describe().id)
