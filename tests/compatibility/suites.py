"""Public test suites, with this plugin installed and without it: the same results, and no later start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import numpy as np
from tests.compatibility.places import Places, keep, kept, pytest_of, run, version_of
from tests.compatibility.trial import environment

PYTHON = "3.11"
TURNS = 21
"""How often each start is measured."""
SUITES = {"attrs": ("hypothesis", "cloudpickle", "pympler"), "click": (), "jinja2": ("trio",)}
"""Distributions whose sdists have a folder `tests`, with what those need beside the distribution."""


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a suite."""

    suite: str
    version: str = ""
    counts: tuple[str, str] = ("", "")
    """Pytest's last line without the plugin and with it."""
    differ: tuple[str, ...] = ()
    """Tests that ended otherwise with it, warnings that only one run has, and the counts if they are not the same."""
    start: tuple[float, float] = (0, 0)
    """Median seconds of a start without it and with it."""
    busy: tuple[float, float] = (0, 0)
    """The same of the processor's time, which other load on the machine changes less."""

    @property
    def later(self) -> str:
        """How much later it starts."""
        return ", ".join(f"{(times[1] - times[0]) * 1000:+.0f} ms" for times in (self.start, self.busy))


def results(places: Places) -> dict[str, Result]:
    """All that were tried so far."""
    return {result.suite: result for result in kept(places.folder / "suites.jsonl", Result)}


def once(places: Places, name: str) -> None:
    """Try a suite, unless it was tried, and print what came of it."""
    if name in results(places):
        return
    result = attempt(places, name)
    keep(places.folder / "suites.jsonl", result)
    told = "; ".join(result.differ) or "same"
    print(f"{name} {result.version}: {result.counts[1]}: {told}, {result.later}", flush=True)


def attempt(places: Places, name: str) -> Result:
    """Run a suite twice, and start it many times."""
    wants = (pytest_of("newest"), name, *SUITES[name])
    with (
        places.environment(PYTHON, *wants, ours=False) as without,
        places.environment(PYTHON, *wants) as with_it,
        tempfile.TemporaryDirectory(dir=places.trials) as folder,
    ):
        version = version_of(without, name)
        place = unpacked(name, version, Path(folder))
        counts, told = zip(*(outcomes(python, place) for python in (without, with_it)), strict=True)
        starts = [[start(python, place) for python in (without, with_it)] for _ in range(TURNS)]
    lasted, busy = np.median(starts, axis=0).T.tolist()  # each without and with it
    return Result(name, version, counts, tuple(sorted(told[0] ^ told[1])[:20]), lasted, busy)


def unpacked(name: str, version: str, folder: Path) -> Path:
    """The sdist of a distribution, in a folder."""
    wanted = ("--no-deps", "--no-binary", name, f"{name}=={version}")
    run(sys.executable, "-m", "pip", "download", "--dest", str(folder), *wanted)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def outcomes(python: str, place: Path) -> tuple[str, set[str]]:
    """Run a suite: pytest's last line, and how each test ended and what each warning said."""
    done = _pytest(python, place, "--junitxml=junit.xml", "tests")
    told = set()
    for case in ET.parse(place / "junit.xml").getroot().iterfind(".//testcase"):  # noqa: S314 - pytest has written it
        ends = [part.tag for part in case if part.tag in {"failure", "error", "skipped"}]
        told.add(f"{case.get('classname')}.{case.get('name')}: {', '.join(ends) or 'passed'}")
    [warnings] = re.findall(r"= warnings summary =+\n(.*?)\n(?:-- Docs|=)", done.stdout, re.DOTALL) or [""]
    count = _last_line(done.stdout)
    return count, told | {count, *warnings.replace(str(Path(python).parents[1]), "").splitlines()}


def _last_line(output: str) -> str:
    """Pytest's count of a whole run, without the time that it took."""
    ends = [line.strip("= ") for line in output.splitlines() if " passed" in line or " failed" in line]
    return ends[-1].rpartition(" in ")[0] if ends else output[-500:]


def start(python: str, place: Path) -> tuple[float, float]:
    """Seconds, and seconds of the processor, of one empty test among those of a suite, under its settings."""
    (place / "empty").mkdir(exist_ok=True)
    (place / "empty" / "test_empty.py").write_text("def test_empty():\n    pass\n")
    begun, used = time.perf_counter(), os.times()
    _pytest(python, place, "-q", "empty/test_empty.py").check_returncode()
    now = os.times()
    busy = now.children_user + now.children_system - used.children_user - used.children_system
    return time.perf_counter() - begun, busy


def _pytest(python: str, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "pytest", *arguments]
    return subprocess.run(
        command, cwd=place, env=environment(place), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, encoding="utf-8", check=False,
    )  # fmt: skip
