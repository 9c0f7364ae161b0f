"""The matrix: every plugin, with every pytest, on every Python."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from tests.compatibility import trial
from tests.compatibility.places import InstallError, Places, keep, kept, pytest_of, version_of

if TYPE_CHECKING:
    from tests.compatibility.plugins import Plugin


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of one trial."""

    python: str
    """As it was asked for: 3.11."""
    pytest: str
    """As it was asked for: 9.0 or newest."""
    plugin: str
    absent: str = ""
    """Why it could not be tried."""
    versions: tuple[str, str, str] = ("", "", "")
    """Of Python, pytest and the plugin."""
    count: str = ""
    """Pytest's last line."""
    problems: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """What was tried."""
        return self.python, self.pytest, self.plugin


def results(places: Places) -> dict[tuple[str, str, str], Result]:
    """All that were tried so far."""
    return {result.key: result for result in kept(places.folder / "matrix.jsonl", Result)}


def once(places: Places, python: str, pytest: str, plugin: Plugin) -> None:
    """Try a plugin, unless it was tried, and print what came of it."""
    if (python, pytest, plugin.name) in results(places):
        return
    begun = time.monotonic()
    result = attempt(places, python, pytest, plugin)
    keep(places.folder / "matrix.jsonl", result)
    told = result.absent or "; ".join(result.problems) or "all agree"
    row = f"Python {python}, pytest {pytest:6} {plugin.name:20} {time.monotonic() - begun:4.0f} s"
    print(f"{row}  {result.count}: {told}", flush=True)


def attempt(places: Places, python: str, pytest: str, plugin: Plugin) -> Result:
    """Install a plugin and run the trial beside it."""
    os.environ["INFERENA_CACHE"] = str(places.folder / f"cache-{python}")
    folder = Path(tempfile.mkdtemp(dir=places.trials, prefix="run-"))
    versions, count = ("", "", ""), ""
    problems: list[str] = []
    try:
        with places.environment(python, pytest_of(pytest), plugin.distribution) as command:
            versions = version_of(command), version_of(command, "pytest"), version_of(command, plugin.distribution)
            problems, count = trial.run(folder, command, plugin)
    except InstallError as error:
        return Result(python, pytest, plugin.name, absent=str(error))
    except trial.TrialError as error:
        problems = [str(error)]
    finally:
        shutil.rmtree(folder)
    return Result(python, pytest, plugin.name, "", versions, count, tuple(problems))
