"""What a test of one's own, or of a cell, can get wrong: one message that names the test's file and the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.projects import MODEL

from pytest_inferena.machine import thread_budget

if TYPE_CHECKING:
    from tests.projects import Project

THERE = "there are model, framework, metric, size, weights, threads, batch, seq, inputs"
COLLECTED = [
    (
        "@pytest.mark.inferena(frmework='fake')\ndef test_it(inferena): pass",
        f"the marker inferena has no argument 'frmework'; did you mean 'framework'? {THERE}",
    ),
    (
        "pytestmark = pytest.mark.inferena('mlp')\ndef test_it(inferena): pass",
        "the marker inferena takes arguments by name, such as model='mlp'",
    ),
    (
        "@pytest.mark.inferena(framework=['fake', 'jax'])\ndef test_it(inferena): pass",
        (
            "the marker inferena: framework is one, not several; for several tests write "
            "@pytest.mark.parametrize('framework', […])"
        ),
    ),
    (
        "@pytest.mark.inferena(threads='two')\ndef test_it(inferena): pass",
        "the marker inferena: threads is 'two', not a number; name it in the call if this means something else",
    ),
    (
        "@pytest.mark.inferena(model='mlp')\ndef test_it(): pass",
        "the marker inferena does nothing without the fixture of that name: add it as an argument",
    ),
]
"""Tests that are refused at collection, and why."""
RUN = [
    ("framework='fake'", 'no model was chosen: inferena.measure("my_net.py", …) or @pytest.mark.inferena*'),
    (
        "'mlq', framework='fake'",
        "no model is named 'mlq'; did you mean 'mlp'? there are mlp; a model's file ends in .py",
    ),
    ("'no.py', framework='fake'", "{path}/no.py: no such file or folder"),
    ("'same/mlp.py', framework='fake'", "two models are named 'mlp': {model} and {path}/same/mlp.py; rename one"),
    ("'mlp'", 'no engine was chosen: inferena.measure(…, framework="my_engine") or by the marker'),
    ("'mlp', framework='faek'", "no framework is named 'faek'; did you mean 'fake'? there are fake, burn, candle, *"),
    ("'mlp', framework='fake-cuda'", "no framework is named 'fake-cuda'; *there are fake-numeric"),
    (
        "'mlp', framework='pytorch'",
        "framework 'pytorch' has several backends; name one: pytorch-inductor, pytorch-aot, *",
    ),
    ("'mlp', framework='fake', metric='speed'", "no metric is named 'speed'; there are compile, inference, *"),
    ("'mlp', framework='fake', size='small'", "no size is named 'small'; there are full, tiny"),
    ("'mlp', framework='fake', threads=999", f"threads=999: this process may use 1 to {thread_budget()}"),
    (
        "'mlp', framework='fake', weights='no.gguf'",
        "weights 'no.gguf': no such file or folder; own, seeded, package, *",
    ),
    ("'mlp', framework='fake', depth=3", f"measure has no argument 'depth'; {THERE}"),
]
"""Calls that are refused when a test runs, and why."""


def test_mistakes_at_collection(project: Project) -> None:
    """Each is one error of its file, without a traceback of ours; the other files are collected."""
    for number, (source, _) in enumerate(COLLECTED):
        project.write(f"test_{number}.py", f"import pytest\n\n{source}\n")
    result = project.run("--collect-only", "-q")
    lines = result.outlines

    for number, (_, reason) in enumerate(COLLECTED):
        assert [f"test_{number}.py::test_it: {reason}"] == [
            line for line in lines if line.startswith(f"test_{number}.")
        ]
    assert not any("Traceback" in line or "src/pytest_inferena" in line for line in lines)
    assert "test_latency.py::test_latency[mlp-fake-numeric]" in lines


def test_mistakes_in_a_call(project: Project) -> None:
    """Each fails its test with one message that says what there is."""
    project.write("same/mlp.py", MODEL.read_text())
    tests = [f"def test_{number}(inferena):\n    inferena.measure({call})\n" for number, (call, _) in enumerate(RUN)]
    project.write("test_bad.py", "\n".join(tests))
    result = project.run("test_bad.py")

    result.assert_outcomes(failed=len(RUN))
    result.stdout.fnmatch_lines(
        [
            f"test_bad.py::test_{number}: {reason.format(path=project.path, model=MODEL)}".replace("[", "[[]")
            for number, (_, reason) in enumerate(RUN)
        ]
    )
    assert not any("Traceback" in line or "src/pytest_inferena" in line for line in result.outlines)


@pytest.mark.parametrize("fixture", ["inferena", "cell"])
def test_wrong_scope(project: Project, fixture: str) -> None:
    """A fixture of a wider scope cannot ask for ours: pytest names it and its file."""
    project.write(
        "test_scope.py",
        f"import pytest\n\n@pytest.fixture(scope='module')\ndef mine({fixture}):\n    pass\n\n"
        "@pytest.mark.latency\ndef test_it(mine):\n    pass\n",
    )
    result = project.run("test_scope.py")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [f"ScopeMismatch: You tried to access the function scoped fixture {fixture} with a module scoped request *"]
    )
    result.stdout.fnmatch_lines([f"test_scope.py:3:  def mine({fixture})"])


def test_a_benchmark_marker_that_does_not_count(project: Project) -> None:
    """What pytest-benchmark's marker says and an engine's worker cannot do is told by name."""
    project.write(
        "test_own.py",
        "import pytest\n\n@pytest.mark.benchmark(disable_gc=True)\ndef test_it(inferena):\n"
        "    inferena.measure('mlp', framework='fake')\n",
    )
    result = project.run("test_own.py")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["inferena: disable_gc does not count for cells: a step runs in its engine's process*"])


def test_an_interpreter_of_an_engine_that_nobody_registered(project: Project) -> None:
    """An own test can name this project's engines, so --inferena-python can, too; a wrong one is refused at once."""
    result = project.run("--inferena-python=jax=/no/python")

    assert pytest.ExitCode.USAGE_ERROR == result.ret
    assert ["ERROR: inferena: /no/python is no interpreter; 'inferena setup --isolated jax' makes one"] == [
        line for line in result.errlines if line
    ]


def test_what_cannot_be_compared(project: Project) -> None:
    """A wrong result has no speed; one sample decides nothing; tensors of a test that has ended are gone."""
    project.fault(result="wrong", entry="latency")
    project.write(
        "test_own.py",
        "kept = []\n\ndef measure(inferena, metric):\n"
        "    return inferena.measure('mlp', framework='fake', metric=metric)\n\n"
        "def test_wrong(inferena):\n    one = measure(inferena, 'latency')\n    one.slower_than(one)\n\n"
        "def test_once(inferena):\n    one = measure(inferena, 'compile')\n    kept.append(one)\n"
        "    one.slower_than(one)\n\n"
        "def test_late():\n    kept[0].outputs['output']\n",
    )
    result = project.run("test_own.py")

    result.stdout.fnmatch_lines(
        [
            "E *ValueError: <mlp-fake-numeric-latency: FAIL, *>: a wrong result has no speed",
            "E *ValueError: compile was timed once, so luck decides: inferena.compare(…) times it in turns",
            "E *ValueError: output: what an engine computed is kept until its test ends; read it there",
        ]
    )
