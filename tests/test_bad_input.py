"""What a user or an author gets wrong: one clear message that names the remedy, and no traceback of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.projects import MODEL, Project

from pytest_inferena.cell import METRICS
from pytest_inferena.machine import thread_budget

if TYPE_CHECKING:
    from collections.abc import Sequence

MLP = MODEL.read_text(encoding="utf-8")


def said(result: pytest.RunResult) -> str:
    """The one message of a run that pytest refused; anything else is a failure."""
    lines = [line for line in result.errlines if line.strip()]

    assert pytest.ExitCode.USAGE_ERROR == result.ret
    assert not any(bad in line for line in result.outlines for bad in ("Traceback", "INTERNALERROR", "ERROR"))
    assert 1 == len(lines)
    return lines[0].removeprefix("ERROR: ")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            ("-m", "faek and latency"),
            "-m 'faek and latency': no marker is named 'faek'; did you mean 'fake'? 'pytest --markers' lists them",
        ),
        (
            ("--inferena-report=pdf:x.pdf",),
            "--inferena-report: unknown report format 'pdf'; known are coverage, csv, html, json, md, terminal",
        ),
        (
            ("--inferena-report=report.md",),
            (
                "--inferena-report: unknown report format 'report.md'; known are coverage, csv, html, json, md, "
                "terminal; did you mean md:report.md?"
            ),
        ),
        (
            ("--inferena-weights=gone.safetensors",),
            (
                "--inferena-weights=gone.safetensors: no such file or folder; "
                "own, seeded, package, hub, or a path to safetensors"
            ),
        ),
        (("--inferena-threads=99",), f"--inferena-threads=99: this process may use 1 to {thread_budget()}"),
        (("--inferena-threads=0",), f"--inferena-threads=0: this process may use 1 to {thread_budget()}"),
        (
            ("--inferena-timeout=lunch=3",),
            "--inferena-timeout=lunch: phases are prepare, hello, load, compile, measure, outputs",
        ),
        (
            ("--inferena-memory=8GB",),
            "--inferena-memory=8GB: a size over 0 is expected, such as 8GiB or 512MiB",
        ),
        (("--inferena-timeout=load=soon",), "--inferena-timeout=load=soon: over 0 and at most 10000000 seconds"),
        *(
            (
                (f"--inferena-timeout=compile={value}",),
                f"--inferena-timeout=compile={value}: over 0 and at most 10000000 seconds",
            )
            for value in ("inf", "nan", "0", "-1", "1e300")
        ),
        (("--inferena-timeout=load",), "--inferena-timeout=load: NAME=VALUE is expected"),
        (("--inferena-python=fake",), "--inferena-python=fake: NAME=VALUE is expected"),
        (("--inferena-python=faek=python3",), "inferena: faek is no framework; there are fake"),
        (
            ("--inferena-python=fake=/no/python",),
            "inferena: /no/python is no interpreter; 'inferena setup --isolated fake' makes one",
        ),
    ],
)
def test_options(project: Project, option: Sequence[str], message: str) -> None:
    """A wrong value is refused before anything runs, with the right ones."""
    assert message == said(project.run(*option))


TOML = (MODEL.parent / "fake" / "adapter.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TOML.replace("language", "langauge"), ": unknown field 'langauge'; did you mean 'language'?"),
        (TOML.replace('"python"', "3"), ": language is an integer, not a string"),
        (TOML.replace('["numpy"]', '"numpy"'), ": requires is a string, not an array"),
        (TOML.replace('device = "cpu"', ""), ": [[backends]]: missing device"),
        (TOML.replace('name = "fake"', ""), ": missing name"),
        (
            TOML.replace('"fake"', '"Fake!"'),
            ": name 'Fake!': only a-z, 0-9, _ and . (it is a marker and part of ids)",
        ),
        (TOML.split("[[", maxsplit=1)[0], ": no [[backends]]; one with name and device is needed"),
        ('training = "yes"\n' + TOML, ": training = 'yes'; one of autograd, joint, none"),
        (TOML + "[env]\nDEBUG = 1\n", ": env: DEBUG is an integer, not a string"),
        (TOML + '[limits]\nmemory = "all"\n', ": limits: all: a size over 0 is expected, such as 8GiB or 512MiB"),
        (TOML + '[limits]\ndisk = "8GiB"\n', ": limits: disk is no limit; one of memory, file, files, processes"),
        (TOML + '[timeouts]\nload = "long"\n', ": timeouts: load is a string, not a number"),
        (
            TOML + "[timeouts]\nlunch = 3\n",
            ": timeouts: lunch is no phase; one of hello, load, compile, measure, outputs",
        ),
        (TOML.replace('["numpy"]', "[1]"), ": requires: an item is an integer, not a string"),
        (
            TOML.replace('["numpy"]', '["numpy > new"]'),
            ": requires: Expected semicolon (after name with no version specifier) or end",
        ),
        (TOML + "[timeouts]\nload = nan\n", ": timeouts: load=nan: over 0 and at most 10000000 seconds"),
        (TOML + f"deep = {'[' * 5000}\n", ": maximum recursion depth exceeded"),
        (TOML + "[broken\n", ": Expected ']' at the end of a table declaration (at line 9, column 8)"),
        (TOML + '[[absent]]\nmetric = "speed"\nreason = ""\n', ": metric 'speed'; one of " + ", ".join(METRICS)),
    ],
)
def test_adapter_toml(project: Project, text: str, message: str) -> None:
    """Each mistake in adapter.toml is named with the file and the field."""
    file = project.write("fake/adapter.toml", text)

    assert f"inferena: {file}{message}" == said(project.run())


def test_adapter_toml_is_missing(project: Project) -> None:
    """A folder without adapter.toml is named."""
    project.append("conftest.py", "\n\ndef pytest_inferena_adapters():\n    return [Path(__file__).parent / 'none']\n")
    expected = (
        f"{project.path}/none/adapter.toml: No such file or directory; every adapter's folder holds an adapter.toml"
    )

    assert f"inferena: {expected}" == said(project.run())


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("fake", "framework"),
        ("numeric", "backend"),
        ("cpu", "device"),
        ("python", "language"),
        ("latency", "metric"),
        ("class", "keyword"),
        ("not", "keyword"),
        ("xfail", "marker that has a meaning"),
        ("benchmark", "marker that has a meaning"),
    ],
)
def test_model_named_like_something_else(project: Project, name: str, what: str) -> None:
    """A model and another thing of one name would share a marker, so that -m could not tell them apart."""
    file = project.write(f"models/{name}.py", MLP)
    expected = (
        f"inferena: the model {name!r} ({file}) has the name of a {what}, so -m cannot tell them apart; rename it"
    )

    assert expected == said(project.run())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", "adapter.py is missing beside it, and no executable is named"),
        (
            'executable = "worker"\nexchange = true\n',
            "exchange = true, and adapter.py, which writes the files, is missing",
        ),
    ],
)
def test_adapter_without_its_file(project: Project, more: str, message: str) -> None:
    """A folder that lacks what runs in the worker, or in the preparer, says which file that is."""
    (project.folder / "adapter.py").unlink()
    file = project.write("fake/adapter.toml", more + TOML)

    assert f"inferena: {file}: {message}" == said(project.run())


def test_framework_named_like_a_metric(project: Project) -> None:
    """A framework's name may not be a metric's either."""
    project.write("fake/adapter.toml", TOML.replace('"fake"', '"large"'))
    expected = (
        f"inferena: the framework 'large' ({project.folder}) has the name of a marker, "
        "so -m cannot tell them apart; rename it"
    )

    assert expected == said(project.run())


def test_two_models_of_one_name(project: Project) -> None:
    """Two models of one name are refused with both places."""
    other = project.write("models/mlp.py", MLP)

    assert f"inferena: two models are named 'mlp': {MODEL} and {other}; rename one" == said(project.run())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MLP.replace("ITEMS = 4", "ITEMS = 2 * 2"), ": ITEMS is an expression; write a literal int."),
        (MLP + "\n(", f":{MLP.count(chr(10)) + 2}: '(' was never closed; a model's file has to be Python."),
    ],
)
def test_model_file_that_cannot_be_read(project: Project, text: str, message: str) -> None:
    """What collection needs of a model's file is checked before anything runs."""
    file = project.write("models/other.py", text)

    assert f"inferena: {file}{message}" == said(project.run())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            MLP.replace("return self.third(", "return x if x.sum() > 0 else self.third("),
            "prepare: models/bad.py:* (return x if *: the forward branches on the value of a tensor*torch.where *",
        ),
        (
            MLP.replace("import torch\n", "import torch\nimport no_such_module\n"),
            "prepare: models/bad.py:8 (import no_such_module): ModuleNotFoundError: *'no_such_module'",
        ),
        (
            MLP.replace("def case(", "def kase("),
            "prepare: * has no function case(size); define one that returns a Case.",
        ),
    ],
)
def test_model_that_cannot_be_prepared(project: Project, text: str, message: str) -> None:
    """All cells of such a model fail with the reason, and other models go on."""
    project.write("models/bad.py", text)
    result = project.run("-m", "inference or latency")

    assert 1 == result.ret
    result.assert_outcomes(passed=2, failed=2)
    assert 2 == sum(line.startswith("bad-fake-numeric-") and " ERROR: prepare: " in line for line in result.outlines)
    result.stdout.fnmatch_lines([f"bad-fake-numeric-latency ERROR: {message}"])
    assert 2 == list(project.outcomes().values()).count("error")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (".mean() / 0.0", "prepare: loss is not finite in float64: *"),
        ("", "prepare: *: the loss has shape (4, 4); reduce *"),
    ],
)
def test_loss_that_costs_training_alone(project: Project, changed: str, message: str) -> None:
    """The other metrics of the model have nothing to do with it."""
    project.write("models/bad.py", MLP.replace(".mean()", changed))
    result = project.run("-k", "bad", "-m", "latency or training")

    result.assert_outcomes(passed=1, failed=1, deselected=6)
    result.stdout.fnmatch_lines([f"bad-fake-numeric-training ERROR: {message}"])


WEIGHED = """

@torch.library.custom_op("bad_input::weighed", mutates_args=())
def weighed(x: torch.Tensor) -> torch.Tensor:
    return x * 2


weighed.register_fake(torch.empty_like)
weighed.register_autograd(lambda _, grad: grad * float(grad.sum()))
"""
"""An operator whose gradient asks for a value."""


def test_gradients_that_cannot_be_traced(project: Project) -> None:
    """A model without a gradient graph is not trained by an engine that needs one; the reason has the cause."""
    project.write("models/weighed.py", MLP.replace("torch.tanh(self.first(x))", "weighed(self.first(x))") + WEIGHED)
    project.write("fake/adapter.toml", 'training = "joint"\n' + TOML)
    result = project.run("-rs", "-k", "weighed", "-m", "training")

    result.assert_outcomes(skipped=1, deselected=7)
    result.stdout.fnmatch_lines(
        ["SKIPPED * cannot trace the gradients of this model: *Could not guard on data-dependent*"]
    )
    assert {"training": "unsupported"} == project.outcomes()
