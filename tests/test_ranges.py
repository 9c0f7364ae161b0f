"""Numbers that people give: each is in its range, or refused by name in one line, before anything runs."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.test_bad_input import said

import pytest_inferena
from pytest_inferena.collect.loop import changed
from pytest_inferena.collect.placing import Placing
from pytest_inferena.collect.settings import Settings, count_of, counts, threads_of
from pytest_inferena.commands import cli
from pytest_inferena.engines.limits import LARGEST, Limits, size_of
from pytest_inferena.machine import several
from pytest_inferena.ranges import RangeError, number, seconds, whole
from pytest_inferena.report.regression import Rules
from pytest_inferena.worker.timing import Loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.projects import Project

OPTIONS = {
    "--inferena-batch": "",
    "--inferena-seq": "",
    "--inferena-threads": "",
    "--inferena-processes": "",
    "--inferena-timeout": "measure=",
    "--inferena-memory": "",
    "--inferena-fail-on": "inference>",
    "--inferena-device": "cuda:",
    "--benchmark-min-rounds": "",
    "--benchmark-max-time": "",
    "--benchmark-precision": "",
}
"""Every option that has a number, and what stands before it."""
HOSTILE = ["inf", "-inf", "nan", "sNaN", "-1", "0", "-0.0", "1e300", "1e400", "9" * 5000, "٣", "1e", " ", "0x10", "1%%"]
LOOP = asdict(Loop())
READERS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda text: whole("n", text, 100),
    "number": lambda text: number("n", text, 1, "a share"),
    "seconds": lambda text: seconds("n", text),
    "threads": lambda text: threads_of("n", text),
    "elements": lambda text: count_of("n", text),
    "size": lambda text: size_of(str(text)) if isinstance(text, str) else None,
    "rules": lambda text: Rules.parse(f"inference>{text:.99}%") if isinstance(text, str) else None,
    "min_rounds": lambda value: changed(LOOP, {"min_rounds": value}),
    "max_time": lambda value: changed(LOOP, {"max_time": value}),
    "precision": lambda value: changed(LOOP, {"precision": value}),
}
numbers = st.integers() | st.floats() | st.integers(min_value=10**5000, max_value=10**5001)
values = numbers | st.text() | st.sampled_from(HOSTILE) | st.integers().map(str) | st.floats().map(str)


def read(pytester: pytest.Pytester, option: str, value: str) -> None:
    """Read an option as a session does."""
    more = ["--inferena-compare=base.json"] if option == "--inferena-fail-on" else []
    config = pytester.parseconfig(f"{option}={OPTIONS[option]}{value}", *more)
    Settings.from_config(config)
    counts("batch", config)
    counts("seq", config)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_hostile_number(pytester: pytest.Pytester, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused in one short line that names the option; whoever parses it first."""
    monkeypatch.setattr(several, "units", lambda _: [])  # it takes a while to ask
    messages = []
    for value in HOSTILE:
        with pytest.raises(pytest.UsageError) as refused:
            read(pytester, option, value)
        messages.append(str(refused.value))

    assert [] == [message for message in messages if option not in message]
    assert [] == [message for message in messages if message.startswith("--") and len(message) > 300]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--benchmark-max-time", "inf", "--benchmark-max-time=inf: over 0 and at most 10000000 seconds"),
        ("--benchmark-min-rounds", "10001", "--benchmark-min-rounds=10001: a whole number from 1 to 10000 is expected"),
    ],
)
def test_what_pytest_benchmark_would_take(project: Project, option: str, value: str, message: str) -> None:
    """A number that would have no end, or whose answer no line would hold, is refused before anything runs."""
    assert message == said(project.run(f"{option}={value}"))


def test_every_option_with_a_number_is_here(pytester: pytest.Pytester) -> None:
    """By their descriptions; and argparse, which takes `inf` for a number, reads none of them."""
    group = pytester.parseconfig()._parser.getgroup("inferena")
    described = {
        option.names()[0] for option in group.options
        if re.search(r"\bN\b|NUMBER|SECONDS|SIZE|RULES", str(option.attrs().get("metavar")))
    }  # fmt: skip
    sources = {file: file.read_text() for file in Path(pytest_inferena.__file__).parent.rglob("*.py")}

    assert {name for name in OPTIONS if "inferena" in name} == described
    assert [] == [file for file, text in sources.items() if re.search(r"\btype=(int|float)\b", text)]


@pytest.mark.parametrize("reader", READERS)
@settings(deadline=None)
@given(values)
def test_any_value(reader: str, value: Any) -> None:
    """A reader gives what is in range, or refuses in words: nothing else is raised, and no NaN passes."""
    try:
        found = READERS[reader](value)
    except ValueError as error:
        found, message = 1, str(error)
        refused = isinstance(error, RangeError) or reader in {"size", "rules"}
    else:
        message, refused = "n=1: in range", True
    held = found[reader] if isinstance(found, dict) else found

    assert refused
    assert len(message) < 300
    assert not isinstance(held, int | float) or 0 < held <= LARGEST


def test_a_marker(project: Project) -> None:
    """What a test asks of the loop is read the same way: its cell is an error that says so."""
    test = (project.path / "test_latency.py").read_text()
    marked = "pytestmark = [pytest.mark.latency, pytest.mark.benchmark(max_time=float('inf'))]"
    project.write("test_latency.py", test.replace("pytestmark = pytest.mark.latency", marked))
    result = project.run("-m", "latency")

    assert pytest.ExitCode.TESTS_FAILED == result.ret
    result.stdout.fnmatch_lines(["*the marker benchmark: max_time=inf: over 0 and at most 10000000 seconds"])
    assert {"latency": "error"} == project.outcomes()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["compare", "--threshold=nan", "a", "b"], "--threshold=nan: over 0 and at most 1000 percent"),
        (["ab", "--base=.", "--head=.", "--rounds=1e9"], "--rounds=1e9: a whole number from 1 to 1000 is expected"),
        (["explain", "mlp", "--threads=0", "--model=none.py"], "--threads=0: "),
        (["explain", f"mlp batch{'9' * 100}"], f"batch={'9' * 40}…: a whole number from 1 to 2147483647"),
        (["cache", "prune", "--keep=999999999999999TiB"], "--keep=999999999999999TiB: at most 4194304TiB"),
    ],
)
def test_a_command(command: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same readers, and one line."""
    assert 1 == cli.main(command)
    printed = capsys.readouterr()
    assert printed.err.startswith(f"inferena: {message}")
    assert 1 == len(printed.err.splitlines())


def test_a_worker_of_any_name(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Xdist numbers its workers unless somebody names one; a name chooses the first of several devices."""
    config, ranks = pytester.parseconfig(), []
    for name in ("gw3", "mine", f"gw{'9' * 5000}"):
        monkeypatch.setattr(config, "workerinput", {"workerid": name}, raising=False)
        ranks.append(Placing.of(config).rank)

    assert [3, 0, 0] == ranks


def test_a_variable_that_hides_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that no device has ends the list, however long it is."""
    monkeypatch.setattr(several, "_cards", lambda _: [("a", "L4"), ("b", "L4")])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"1,{'9' * 5000},0")

    assert ["1"] == [unit.token for unit in several.units("cuda")]


def test_a_limit_that_no_kernel_takes() -> None:
    """In adapter.toml too: the largest that is allowed is one that a process can be given."""
    assert Limits.of(0, {"file": "4194304TiB"}).file == 1 << 62
    with pytest.raises(ValueError, match="at most 4194304TiB"):
        Limits.of(0, {"file": "4194305TiB"})
