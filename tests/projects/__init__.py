"""A user's project with one small model and one engine that goes wrong on request."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_inferena import results
from pytest_inferena.cell import METRICS

if TYPE_CHECKING:
    import pytest

HERE = Path(__file__).parents[1]
MODEL = HERE / "project" / "mlp.py"
CONFTEST = '''\
"""Registers a model and an engine, on a machine that is always equally fast: it may be busy while a test runs."""

from pathlib import Path


def rate(cpu):
    return 100.0


def pytest_runtest_setup(item):
    if any(name.startswith("_inferena") for name in getattr(item, "fixturenames", ())):
        from pytest_inferena.machine import calibration

        calibration._on = rate



def pytest_inferena_models():
    return [Path({model!r}), *sorted(Path(__file__).parent.glob("models/*.py"))]


def pytest_inferena_adapters():
    return sorted(file.parent for file in Path(__file__).parent.glob("*/adapter.toml"))
'''
FAST = ("--benchmark-warmup=off", "--benchmark-min-rounds=3", "--benchmark-max-time=0.05")


class Folder:
    """A folder with the four test files of benchmarks/, a conftest.py and the engine."""

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, path / "fake"
        self.names: list[str] = ["fake"]
        """The engines that there are."""
        shutil.copytree(HERE / "project" / "fake", self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        for metric in METRICS:
            shutil.copy(HERE.parent / "benchmarks" / f"test_{metric}.py", self.path)
        self.write("conftest.py", CONFTEST.format(model=str(MODEL)))
        self.write("pytest.ini", "[pytest]\nstrict = true\n")

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project, its folder made where it is missing."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def append(self, name: str, text: str) -> None:
        """Write at the end of a file."""
        self.write(name, (self.path / name).read_text(encoding="utf-8") + text)

    def fault(self, phase: str = "", action: str = "", *, engine: str = "fake", **fields: Any) -> None:
        """Let an engine go wrong from now on, see fake/adapter.py; without arguments it is right again."""
        chosen = {"phase": phase, "action": action} if phase else {}
        self.write(f"{engine}/fault.json", json.dumps(chosen | fields))

    def engines(self, *names: str) -> None:
        """Put several engines, each like the one that was there, in its place."""
        for name in names:
            toml = shutil.copytree(self.folder, self.path / name) / "adapter.toml"
            toml.write_text(toml.read_text().replace('"fake"', f'"{name}"').replace("Fake Engine", name))
        shutil.rmtree(self.folder)
        self.names = [*names]

    @staticmethod
    def arguments(*arguments: str, fast: bool = True) -> list[str]:
        """The command line, with what every run of a test has in common."""
        return ["-p", "no:cacheprovider", "--inferena-threads=1", *(FAST if fast else ()), *arguments]

    def journals(self) -> list[Path]:
        """The journals there are, the newest last."""
        return sorted(self.path.glob(".inferena/*.jsonl"), key=lambda path: path.stat().st_mtime_ns)

    def journal(self) -> tuple[results.Record, ...]:
        """The newest journal's records."""
        return results.read(self.journals()[-1]).records

    def records(self) -> dict[str, dict[str, Any]]:
        """The newest journal's records by metric; several models or engines by `model-framework-metric`."""
        found = [results.plain(record) for record in self.journal()]
        several = len({record["metric"] for record in found}) < len(found)
        keys = ("model", "framework", "metric") if several else ("metric",)
        return {"-".join(record[key] for key in keys): record for record in found}

    def outcomes(self) -> dict[str, str]:
        """The newest journal's outcomes, keys as in `records`."""
        return {name: record["outcome"] for name, record in self.records().items()}


class Project(Folder):
    """Such a folder, and pytest to run there."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        super().__init__(pytester.path)
        self.pytester = pytester

    def run(self, *arguments: str, fast: bool = True) -> pytest.RunResult:
        """Run pytest in the project, in a process of its own, with one thread for the engine."""
        return self.pytester.runpytest_subprocess(*self.arguments(*arguments, fast=fast))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start pytest as `run` does, and do not wait for it."""
        command = [sys.executable, "-m", "pytest", *self.arguments(*arguments)]
        silent = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=self.path, stdin=silent, stdout=silent, stderr=silent)
