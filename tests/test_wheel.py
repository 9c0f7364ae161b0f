"""The built wheel works from any folder, without the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.in_ci import IN_CI, long

import pytest_inferena
from pytest_inferena.commands.cli import registry
from pytest_inferena.engines import crates

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


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
        "pytest_inferena/results/results.schema.json",
        "pytest_inferena/report/page/page.html",
        "pytest_inferena/py.typed",
    }

    assert wanted - names == set()


def test_the_wheel_runs_from_any_folder(python: Path, tmp_path: Path, cache: Path) -> None:
    """`pytest --pyargs pytest_inferena.benchmarks -k smollm` finds models and engines, and judges them."""
    said = run(
        python, tmp_path, cache, "--pyargs", "pytest_inferena.benchmarks", "-k", "smollm", "-m", "eager",
        "--inferena-size=tiny",
    )  # fmt: skip

    assert "4 passed" in said, said[-3000:]
    assert (tmp_path / ".inferena").exists()


def test_wheels_bring_the_executables_of_engines(python: Path, tmp_path: Path, cache: Path) -> None:
    """Without cargo, and with nothing built in the cache, engines in Rust run once their wheels are installed."""
    built = [one for one in registry().frameworks.values() if one.cargo and not one.missing(one.backends[0])]
    if not built:
        assert not IN_CI
        pytest.skip("no engine in Rust is built: inferena setup candle")
    made = [str(crates.wheel(one.folder, one.cargo, one.title, tmp_path)) for one in built]
    packages = next(python.parents[1].glob("lib/*/site-packages"))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), *made]
    subprocess.run(install, check=True)
    chosen = " or ".join(f"({one.name} and {one.backends[0].name})" for one in built)
    chosen_cells = ("-k", "smollm and inference", "-m", chosen, "--inferena-size=tiny")
    said = run(python, tmp_path, cache, "--pyargs", "pytest_inferena.benchmarks", *chosen_cells, PATH="/usr/bin:/bin")

    assert f"{len(built)} passed" in said, said[-3000:]


def block(mark: str) -> str:
    """The code block of CONTRIBUTING that has a mark in it."""
    (found,) = (text for text in re.findall(r"```\w+\n(.*?)```", GUIDE, re.DOTALL) if mark in text)
    return str(found)


REGISTERED = "def pytest_inferena_models", "def pytest_inferena_adapters"
"""Marks of what a conftest.py holds."""


def run(python: Path, folder: Path, cache: Path, *arguments: str, **variables: str) -> str:
    """What pytest prints in a folder with the wheel's environment and nothing of this one."""
    common = ("--inferena-threads=1", "--benchmark-disable", "-p", "no:cacheprovider")
    command = [str(python), "-m", "pytest", *arguments, *common]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
    environment |= {"INFERENA_CACHE": str(cache)} | variables
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def follow_the_recipes(folder: Path) -> None:
    """Write down CONTRIBUTING's model and its engine as they stand; NumPy is what the engine is made of."""
    (folder / "my_engine").mkdir(parents=True)
    (folder / "my_net.py").write_text(block("class MyNet"))
    (folder / "my_engine" / "adapter.toml").write_text(engine_toml())
    (folder / "my_engine" / "adapter.py").write_text(block("evaluate(self.entry"))
    (folder / "conftest.py").write_text("".join(map(block, REGISTERED)))


def engine_toml() -> str:
    """The recipe's adapter.toml."""
    return block('title = "My Engine"').replace('["my-engine>=1.2,<2"]', '["numpy"]')


ALL = ("--pyargs", "pytest_inferena.benchmarks", "-k", "my_net", "-m", "my_engine or eager")


def test_the_recipes_work_as_they_stand(python: Path, tmp_path: Path, cache: Path) -> None:
    """CONTRIBUTING's model and engine, written down by following it, give cells that pass, and one that skips."""
    follow_the_recipes(tmp_path)

    assert "7 passed, 1 skipped" in (said := run(python, tmp_path, cache, *ALL)), said[-3000:]


def test_the_recipes_work_from_a_checkout(tmp_path: Path, cache: Path) -> None:
    """An editable install, whose benchmarks lie beside `src`, gives the same, by package and by test."""
    assert ROOT / "src" / "pytest_inferena" == Path(pytest_inferena.__file__).parent
    follow_the_recipes(tmp_path)
    one = ("--pyargs", "pytest_inferena.benchmarks.test_latency::test_latency[my_net-my_engine-cpu]")

    assert "7 passed, 1 skipped" in (said := run(Path(sys.executable), tmp_path, cache, *ALL)), said[-3000:]
    assert "1 passed" in (said := run(Path(sys.executable), tmp_path, cache, *one)), said[-3000:]


@long
def test_the_recipe_for_an_executable(python: Path, tmp_path: Path, cache: Path) -> None:
    """The documented worker, without any adapter of Python, gives what the adapter gives."""
    follow_the_recipes(tmp_path)
    (tmp_path / "my_engine" / "adapter.py").unlink()
    (tmp_path / "my_engine" / "adapter.toml").write_text(block("executable = ") + engine_toml())
    worker = (ROOT / "docs" / "example_worker.py").read_text()
    executable = tmp_path / "my_engine" / "example_worker.py"
    executable.write_text(worker.replace("/usr/bin/env python3", str(python), 1))
    executable.chmod(0o755)

    assert "7 passed, 1 skipped" in (said := run(python, tmp_path, cache, *ALL)), said[-3000:]


@long
def test_the_smallest_table_runs_models(tmp_path: Path, cache: Path) -> None:
    """With the 26 operators of the page a transformer and a convolutional network run and train, all else expanded."""
    follow_the_recipes(tmp_path)
    short, whole = block("evaluate(self.entry"), block('"amax"')
    adapter = re.sub(r"OPERATORS = \{.*?\nHAS = [^\n]*\n", lambda _: whole, short, count=1, flags=re.DOTALL)
    (tmp_path / "my_engine" / "adapter.py").write_text(adapter)
    described = engine_toml().replace('training = "none"', 'training = "joint"')
    (tmp_path / "my_engine" / "adapter.toml").write_text(described)
    models = ("--pyargs", "pytest_inferena.benchmarks", "-k", "smollm2 or resnet50", "-m", "my_engine")

    assert 26 == len(re.findall(r"^    \"\w+\": (?!\{)", whole, re.MULTILINE))
    said = run(Path(sys.executable), tmp_path, cache, *models, "--inferena-size=tiny")
    assert "8 passed" in said, said[-3000:]


@long
def test_the_recipe_for_an_exchange_file(tmp_path: Path, cache: Path) -> None:
    """ONNX Runtime, taken on by following the page, gives what the operator table gives."""
    follow_the_recipes(tmp_path)
    described = (
        engine_toml()
        .replace('["numpy"]', '["onnxruntime", "onnx"]')
        .replace("training =", "exchange = true\ntraining =")
    )
    (tmp_path / "my_engine" / "adapter.toml").write_text(described)
    (tmp_path / "my_engine" / "adapter.py").write_text(block("InferenceSession("))

    assert "7 passed, 1 skipped" in (said := run(Path(sys.executable), tmp_path, cache, *ALL)), said[-3000:]


@pytest.fixture
def package(python: Path) -> Iterator[Path]:
    """A distribution that registers both by entry points, in the wheel's environment."""
    packages = next(python.parents[1].glob("lib/*/site-packages"))
    folder, metadata = packages / "my_package", packages / "my_package-1.0.dist-info"
    follow_the_recipes(folder)
    points = block("[project.entry-points")
    code = re.findall(r"# (def \w+\(\): return .*)", points)
    (folder / "__init__.py").write_text("\n".join(["from pathlib import Path", *code, ""]))
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    groups = tomllib.loads(points)["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in groups.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    yield folder
    shutil.rmtree(folder)
    shutil.rmtree(metadata)


def test_the_recipe_for_a_package(package: Path, python: Path, tmp_path: Path, cache: Path) -> None:
    """What an installed package registers is there wherever pytest runs; one that cannot be imported is named."""
    arguments = ("--pyargs", "pytest_inferena.benchmarks", "-k", "my_net", "-m", "my_engine or eager")
    said = run(python, tmp_path, cache, *arguments)
    (package / "__init__.py").write_text("import no_such_module\n")
    refused = run(python, tmp_path, cache, *arguments)

    assert "7 passed, 1 skipped" in said, said[-3000:]
    assert "entry point 'my_package' of pytest_inferena.models (my_package:models): ModuleNotFoundError" in refused
    assert "mend or uninstall my-package" in refused
