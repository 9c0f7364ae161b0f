"""Every command that is printed runs in the folder where it was printed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.projects import FAST
from tests.records import sample_results

from pytest_inferena import results
from pytest_inferena.commands import cli
from pytest_inferena.report import render

if TYPE_CHECKING:
    from tests.projects import Project

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
COMMON = f"-p no:cacheprovider --inferena-threads=1 {shlex.join(FAST)}"
OWN = """
import pytest

@pytest.mark.parametrize("metric", ["latency", "training"])
@pytest.mark.inferena(model="../a_net.py", framework="fake")
def test_own(inferena, metric):
    assert inferena.measure().right
"""


def shell(command: str, folder: Path, *path: Path, **variables: str) -> str:
    """What a command says in a folder, where it has to be there and to succeed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PATH"] = os.pathsep.join([*map(str, path or [BIN]), environment["PATH"]])
    done = subprocess.run(["sh", "-c", command], cwd=folder, env=environment | variables,
                          capture_output=True, text=True, check=False)  # fmt: skip

    assert 0 == done.returncode, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def told(folder: Path) -> dict[str, str]:
    """The commands of the newest journal, by cell."""
    journal = max(folder.rglob(".inferena/*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return {str(record): record.command for record in results.read(journal).records}


@pytest.fixture
def spaced(project: Project) -> Path:
    """A folder with a project in a folder of its own, both with a space in their names."""
    folder = project.path / "what I do" / "my project"
    folder.parent.mkdir()
    there = [path for path in project.path.iterdir() if path != folder.parent]
    folder.mkdir()
    for path in there:
        shutil.move(path, folder)
    model = (ROOT / "tests" / "project" / "mlp.py").read_text(encoding="utf-8")
    (folder.parent / "a_net.py").write_text(model.replace('TITLE = "Tiny MLP"', 'TITLE = "A net"'))
    return folder


WAYS = {
    "its folder": (".", "pytest -m latency"),
    "the folder above": ("..", "pytest 'my project' -m latency --inferena-size=tiny"),
    "a package": (".", "pytest --pyargs pytest_inferena.benchmarks -m 'fake and latency and mlp'"),
    "two processes": (".", "pytest --pyargs pytest_inferena.benchmarks -n 2 -m 'fake and latency and mlp'"),
    "an ini file": ("fake", "pytest -c '../other file.ini' --rootdir=.. .. -m latency -p no:randomly -p some_plugin"),
    "tuned and large": ("fake", "pytest .. -m latency --inferena-large --inferena-tuned --inferena-timeout=load=9"),
}


@pytest.mark.parametrize(("place", "command"), WAYS.values(), ids=WAYS)
def test_a_cell_again(spaced: Path, place: str, command: str) -> None:
    """The command of a cell runs this cell and no other, wherever pytest was called and whatever found the cell."""
    (spaced / "other file.ini").write_text("[pytest]\nstrict = true\npython_files = test_*.py\n")
    (spaced / "some_plugin.py").write_text("")
    if "tuned" in command:
        with (spaced / "fake" / "adapter.toml").open("a", encoding="utf-8") as file:
            file.write("tuned = true\n")
    folder = spaced / place
    shell(f"{command} {COMMON}", folder, PYTHONPATH=str(spaced))
    [(cell, line)] = told(spaced.parent).items()
    said = shell(f"{line} {COMMON}", folder, PYTHONPATH=str(spaced))

    assert "1 passed" in said
    assert [cell] == [*told(spaced.parent)]


def test_an_own_test_again(spaced: Path) -> None:
    """The command of an own test runs that test and no other, with what it was called with."""
    (spaced / "test_own.py").write_text(OWN)
    before = shell(f"pytest 'my project/test_own.py' -n 2 --inferena-size=tiny {COMMON}", spaced.parent)
    [_, line] = told(spaced.parent).values()

    assert "2 passed" in before
    assert "1 passed" in shell(f"{line} {COMMON}", spaced.parent)


def test_a_cell_that_ended_its_process_again(spaced: Path) -> None:
    """Where pytest's own process has died with the cell, the one that distributes knows the command."""
    file = spaced / "conftest.py"
    file.write_text(file.read_text() + "\n\nimport os\n\n\ndef pytest_runtest_call():\n    os._exit(9)\n")
    command = f"pytest 'my project' -n 1 -m latency {COMMON}"
    with pytest.raises(AssertionError, match=r"1 failed"):
        shell(command, spaced.parent)
    [line] = told(spaced.parent).values()
    file.write_text(file.read_text().partition("\n\nimport os")[0])

    assert "1 passed" in shell(f"{line} {COMMON}", spaced.parent)


def test_resume(spaced: Path) -> None:
    """The command of a whole run, as reports have it, runs again, and goes on where --inferena-resume is added."""
    shell(f"pytest 'my project' -m latency --inferena-report='md:a report.md' {COMMON}", spaced.parent)
    [line] = re.findall(r"^- Command: (.*)$", (spaced.parent / "a report.md").read_text(), re.MULTILINE)

    assert "resumed (Fake Engine latency)" in shell(f"{line} --inferena-resume", spaced.parent)


def test_remedies(spaced: Path, tmp_path: Path) -> None:
    """What doctor and a skipped cell say is what installs the engine, where conftests register it as pytest finds."""
    with (spaced / "fake" / "adapter.toml").open("r+", encoding="utf-8") as file:
        text = file.read().replace('["numpy"]', '["no-such-engine>=2"]')
        file.seek(0)
        file.write(text)
    programs = environment(tmp_path / "environment")
    doctor = shell("inferena doctor fake", spaced / "fake", programs)
    skipped = shell(f"pytest -m latency -rs {COMMON}", spaced)
    [remedy] = re.findall(r"MISSING: no-such-engine not installed: (.*)", doctor)

    assert f"no-such-engine not installed: {remedy}" in skipped
    assert "pip install --python" in (said := shell(remedy, spaced / "fake", programs))
    assert "no-such-engine>=2\nFake Engine: installed" in said


def test_the_terminal_stays_the_users(tmp_path: Path) -> None:
    """Looking up what conftests register leaves stdin alone, which an installer may ask for a password."""
    code = "from pytest_inferena.commands.cli import registry\nregistry()\nprint('got', open(0).read())"

    assert "got secret" in shell(f"echo secret | {sys.executable} -W error -c {shlex.quote(code)}", tmp_path)


def environment(folder: Path) -> Path:
    """An environment that has what this one has, the command, and an installer that only says what it would do."""
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (packages / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT / 'src'}\n")
    programs = {
        "uv": '#!/bin/sh\necho "$@"\n',
        "inferena": f"#!{folder}/bin/python\nfrom pytest_inferena.commands.cli import main\n\nmain()\n",
    }
    for name, text in programs.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    return folder / "bin"


README = (ROOT / "README.md").read_text(encoding="utf-8")
USE = [line.partition("  #")[0].strip() for line in README.partition("\n## Use\n")[2].splitlines() if "  #" in line]


def test_the_lines_of_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command in README's list is one that there is; those that need only result files do their work."""
    monkeypatch.chdir(tmp_path)
    for name in ("old.json", "new.json", "a.json", "b.json", "reports/a.json", "all.json", ".inferena/a.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(render(sample_results(), "json"))
    (tmp_path / "arena.json").write_text("[]")
    commands = [shlex.split(line.replace("*", "a")) for line in USE]
    ours = [arguments for program, *arguments in commands if program == "inferena"]
    heavy = {"setup", "wheel", "doctor", "import", "ab", "explain"}
    light = [arguments for arguments in ours if arguments[0] not in heavy]

    assert 9 <= len(ours)
    for arguments in ours:
        assert cli.parser().parse_args(arguments).run
    assert [0] * len(light) == [cli.main(arguments) for arguments in light]


def test_the_tests_of_use(tmp_path: Path) -> None:
    """Each call of pytest in README's list finds cells in a checkout; the device that one names is not everywhere."""
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=shutil.ignore_patterns("fidelity"))
    (tmp_path / "adapters").symlink_to(ROOT / "adapters")
    (tmp_path / "PATH").touch()
    calls = [line for line in USE if line.startswith("pytest ") and "--inferena-device" not in line]

    assert 10 <= len(calls)
    for line in dict.fromkeys(calls):
        said = shell(f"{line} --collect-only -q -p no:cacheprovider", tmp_path)
        assert re.search(r"\.py: \d+|\d+ tests collected|cells, about", said), line


def test_what_messages_name() -> None:
    """Messages name options and commands that there are."""
    files = [*ROOT.glob("src/**/*.py"), *ROOT.glob("adapters/*/*.py"), *ROOT.glob("adapters/*/adapter.toml")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    plugin = (ROOT / "src" / "pytest_inferena" / "plugin.py").read_text(encoding="utf-8")
    options = {*re.findall(r"--inferena-[a-z-]*[a-z]", text)}
    commands = {*re.findall(r"['`:] ?inferena ([a-z]+)", text)}

    assert options <= {*re.findall(r'"(--inferena-[a-z-]+)"', plugin)}
    assert commands >= {"doctor", "setup", "cache"}
    for name in commands:
        with pytest.raises(SystemExit) as ended:
            cli.parser().parse_args([name, "--help"])
        assert 0 == ended.value.code
