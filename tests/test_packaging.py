"""What an index, a distribution and a package manager see of this project."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import BytesParser
from email.policy import default
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from pytest_inferena.commands import cli

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HERE = PROJECT["urls"]["Homepage"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and with the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    _run("pyproject-build", "--no-isolation", "--outdir", str(folder), str(ROOT))
    return folder


def _run(script: str, *arguments: str) -> str:
    command = [str(Path(sys.executable).with_name(script)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_what_checks_packages_finds_nothing(built: Path) -> None:
    """Of metadata, of the description as an index shows it, of the wheel's files."""
    files = [str(path) for path in built.iterdir()]
    [wheel] = [name for name in files if name.endswith(".whl")]

    assert len(files) == 2
    assert "FAILED" not in _run("twine", "check", "--strict", *files)
    assert "OK" in _run("check-wheel-contents", wheel)
    assert "Valid" in _run("validate-pyproject", str(ROOT / "pyproject.toml"))


def test_links_of_the_description(built: Path) -> None:
    """All of them lead somewhere from an index too, those to files of this project to files that are there."""
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("dist-info/METADATA")]
        text = BytesParser(policy=default).parsebytes(archive.read(name)).get_content()
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    raw = HERE.replace("github.com", "raw.githubusercontent.com")
    ours = [re.sub(rf"^({raw}/main/|{HERE}/blob/main/)", "", link) for link in links if link.startswith((HERE, raw))]

    assert [] == [link for link in links if not link.startswith(("https://", "#"))]
    assert [] == [path for path in ours if not (ROOT / path.partition("#")[0]).exists()]
    assert {"CONTRIBUTING.md", "docs/page.png"} <= {*ours}


def test_the_sdist_has_what_its_tests_need(built: Path) -> None:
    """Every file under version control, so that no test of it fails for want of one."""
    if not (ROOT / ".git").exists():
        pytest.skip("not under version control: this is the sdist")
    tracked = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True)
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert set() == {name for name in tracked.stdout.splitlines() if (ROOT / name).exists()} - names


def test_the_manual_page_is_that_of_the_command() -> None:
    """All but its date."""
    shown = _run(
        "argparse-manpage", "--module", "pytest_inferena.commands.cli", "--function", "parser", "--prog", "inferena",
        "--project-name", "pytest-inferena", "--manual-title", "User Commands",
    )  # fmt: skip

    assert shown.splitlines()[1:] == (ROOT / "docs" / "inferena.1").read_text(encoding="utf-8").splitlines()[1:], (
        "make man"
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`inferena --version` says which."""
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])

    assert f"pytest-inferena {PROJECT['version']}\n" == capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The script knows the commands and their options."""
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out

    assert [word for word in ("doctor", "coverage", "isolated", "threshold") if word not in script] == []


def test_completion_without_what_writes_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One line names what to install."""
    monkeypatch.setitem(sys.modules, "shtab", None)

    assert cli.main(["completion", "bash"]) == 1
    assert "pip install 'pytest-inferena[completion]'" in capsys.readouterr().err


def test_every_lower_bound_is_tried() -> None:
    """By `make lowest`, or because CI runs with just this version."""
    extras = PROJECT["optional-dependencies"]
    lowest = re.findall(r"--extra (\w+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    lowest += re.findall(r"\w+", extras["core"][0].partition("[")[2])
    tried = {Requirement(text).name for extra in lowest for text in extras[extra]}
    rest = [
        one for texts in extras.values() for one in map(Requirement, texts) if one.name not in tried and not one.extras
    ]
    bounds = {one.name: bound.version for one in rest for bound in one.specifier if bound.operator == ">="}
    pins = re.findall(r"(?m)^([\w-]+)==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"))

    assert {"jax", "onnxruntime", "openvino", "gguf"} <= tried
    assert {name: Version(version) for name, version in bounds.items()} == {
        name: Version(version) for name, version in pins if name in bounds
    }


def test_every_extra_is_explained() -> None:
    """README says what each of them brings."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert [] == [extra for extra in PROJECT["optional-dependencies"] if f"`{extra}`" not in text]
