"""What a conftest.py registers wrongly, or a test asks for wrongly: one message that names the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.test_bad_input import said

if TYPE_CHECKING:
    from tests.projects import Project

HOOKS = ("pytest_inferena_models", "pytest_inferena_adapters")
BODIES = {
    'return "models/own.py"': "ValueError: 'models/own.py' is no list; write ['models/own.py']",
    "return 3": "TypeError: 'int' object is not iterable",
    'return [Path("own.py")]': "ValueError: 'own.py' is no absolute path; write Path(__file__).parent / 'own.py'",
    "return [3]": "ValueError: '3' is no absolute path; write Path(__file__).parent / '3'",
    'yield Path(__file__)\n    raise OSError("no disk")': "OSError: no disk",
    "return Path(__file__).parents[99]": "IndexError: 99",
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("body", BODIES)
def test_hook(project: Project, hook: str, body: str) -> None:
    """A hook that returns something else than a list of absolute paths, or raises, is named with its file."""
    file = project.write("more/conftest.py", f"from pathlib import Path\n\n\ndef {hook}():\n    {body}\n")

    assert f"inferena: {file}: {hook}: {BODIES[body]}" == said(project.run("more", "test_latency.py"))


def test_a_wrapper_of_a_hook(project: Project) -> None:
    """A hook wrapper may leave out what others register."""
    wrapper = (
        "import pytest\n\n\n@pytest.hookimpl(wrapper=True)\ndef pytest_inferena_models():\n"
        "    return [[] for _ in (yield)]\n"
    )
    project.write("more/conftest.py", wrapper)

    project.run("more", "test_latency.py").assert_outcomes(skipped=1)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_marker_with_an_argument(project: Project, workers: str) -> None:
    """A metric's marker takes no argument on a cell's test; with xdist the message is the same."""
    text = (project.path / "test_latency.py").read_text().replace("mark.latency", "mark.latency(rounds=3)")
    project.write("test_latency.py", text)
    expected = (
        "test_latency.py::test_latency[mlp-fake-numeric]: the marker 'latency' takes no argument, and has (rounds=3)"
    )

    result = project.run("-n", workers)

    assert pytest.ExitCode.USAGE_ERROR == result.ret
    assert [f"ERROR: {expected}"] == [line for line in result.errlines if "ERROR" in line]


def test_cell_without_a_metric(project: Project) -> None:
    """A cell's test without a metric's marker is named."""
    project.write("test_own.py", "def test_own(cell): pass\n")

    assert said(project.run()).startswith(
        "test_own.py::test_own[mlp-fake-numeric]: a cell's test has exactly one marker"
    )


ASKED = {
    "getfixturevalue": "def test_own(request):\n    request.getfixturevalue('cell')\n",
    "unittest": "import unittest\n\n\nclass TestOwn(unittest.TestCase):\n"
    "    @pytest.fixture(autouse=True)\n    def own(self, cell): pass\n\n    def test_own(self): pass\n",
}


@pytest.mark.parametrize("way", ASKED)
def test_asked_where_nothing_is_parametrised(project: Project, way: str) -> None:
    """A cell that pytest cannot parametrise fails that test alone, and says what can."""
    project.write("test_own.py", f"import pytest\n\n\n{ASKED[way]}")
    result = project.run("test_own.py", "test_latency.py")

    assert 1 == result.ret
    assert {"latency": "pass"} == project.outcomes()
    assert "only a function's arguments can ask for a cell: pytest parametrises those" in result.outlines


def test_model_without_the_rest(project: Project) -> None:
    """A test that asks for a target's model, and for no cell, runs once for each target."""
    project.write(
        "test_own.py", "def test_own(model, framework): assert (model.name, framework.name) == ('mlp', 'fake')\n"
    )

    project.run("test_own.py").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("ini", "options", "strict"),
    [
        ("", (), False),
        ("", ("-W", "error"), True),
        ("strict_markers = true\n", (), True),
        ("strict_markers = true\n", ("-n", "1", "-p", "no:benchmark"), True),
    ],
)
def test_unknown_name_in_m(project: Project, ini: str, options: tuple[str, ...], strict: bool) -> None:
    """A marker in `-m` that nobody declared is a warning as pytest's own, and an error where those are."""
    project.write("pytest.ini", "[pytest]\n" + ini)
    result = project.run("-m", "latency and not faek", *options, fast="-n" not in options)
    message = "-m 'latency and not faek': no marker is named 'faek'; did you mean 'fake'? 'pytest --markers' lists them"

    if strict:
        assert message == said(result)
    else:
        result.assert_outcomes(passed=1, deselected=3, warnings=1)
        assert any(line.endswith(f"PytestUnknownMarkWarning: {message}") for line in result.outlines)


def test_broken_model_with_xdist(project: Project) -> None:
    """What a worker cannot read is said once by the process that distributes."""
    file = project.write("models/own.py", "(")

    assert f"inferena: {file}:1: '(' was never closed; a model's file has to be Python." == said(project.run("-n", "2"))
