"""The built wheel works from any folder, without the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release is."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with this wheel; what it requires is borrowed from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    with zipfile.ZipFile(wheel) as archive:  # a pure wheel is installed by unpacking it
        archive.extractall(packages)
    return folder / "bin" / "python"


def test_the_wheel_holds_benchmarks_and_adapters(wheel: Path) -> None:
    """Models, test files and adapters travel with the package."""
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        "pytest_inferena/benchmarks/conftest.py",
        "pytest_inferena/benchmarks/test_training.py",
        *(f"pytest_inferena/benchmarks/models/{path.name}" for path in ROOT.glob("benchmarks/models/*.py")),
        *(f"pytest_inferena/adapters/{path.parent.name}/adapter.toml" for path in ROOT.glob("adapters/*/adapter.toml")),
        "pytest_inferena/results.schema.json",
        "pytest_inferena/py.typed",
    }

    assert wanted - names == set()


def test_the_wheel_runs_from_any_folder(python: Path, tmp_path: Path, cache: Path) -> None:
    """`pytest --pyargs pytest_inferena.benchmarks -k smollm` finds models and engines, and judges them."""
    command = [
        str(python), "-m", "pytest", "--pyargs", "pytest_inferena.benchmarks", "-k", "smollm", "-m", "eager",
        "--inferena-size=tiny", "--inferena-threads=1", "--benchmark-disable", "-p", "no:cacheprovider",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    environment["INFERENA_CACHE"] = str(cache)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert "4 passed" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]
    assert (tmp_path / ".inferena").exists()


def blocks(language: str) -> list[str]:
    """The code blocks of CONTRIBUTING in one language, in order."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_recipes_work_as_they_stand(python: Path, tmp_path: Path, cache: Path) -> None:
    """CONTRIBUTING's model and engine, written down by following it, give cells that pass, and one that skips."""
    model, register_model, adapter, register_adapter = blocks("python")
    (tmp_path / "my_net.py").write_text(model)
    (tmp_path / "conftest.py").write_text(register_model + register_adapter)
    (tmp_path / "my_engine").mkdir()
    (tmp_path / "my_engine" / "adapter.toml").write_text(blocks("toml")[0].replace('["my-engine"]', '["numpy"]'))
    (tmp_path / "my_engine" / "my_engine_adapter.py").write_text(adapter)
    command = [
        str(python), "-m", "pytest", ".", "--pyargs", "pytest_inferena.benchmarks", "-k", "my_net",
        "-m", "my_engine or eager", "--inferena-threads=1", "--benchmark-disable", "-p", "no:cacheprovider",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    environment["INFERENA_CACHE"] = str(cache)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert "7 passed, 1 skipped" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]
