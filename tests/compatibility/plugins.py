"""The plugins of others that this one has to live with, each with what makes it do something."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Plugin:
    """One row of the matrix."""

    name: str
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    test: str = ""
    """A file with an ordinary test that uses it."""
    requires: str = ""
    """What is installed, if it is not pytest-NAME."""
    selects: bool = False
    """Whether it may leave tests out."""
    why: str = ""
    """What is to be known of the row: what the plugin leaves out, or why it tells another story."""

    @property
    def distribution(self) -> str:
        """What is installed."""
        return self.requires or f"pytest-{self.name}"


ASYNC = """
import pytest


@pytest.fixture
def worker():
    return "own worker"


@pytest.mark.{marker}
async def test_async(worker):
    assert worker == "own worker"
"""
BACKEND = """

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
GIVEN = """
from hypothesis import given, strategies


@given(strategies.integers())
def test_given(cell):
    assert cell == int(str(cell))
"""
SUBTESTS = """
def test_subtests(subtests):
    for cell in range(3):
        with subtests.test(cell=cell):
            assert cell < 3
"""
ORDER = """
import pytest


@pytest.mark.order("last")
def test_last():
    pass


@pytest.mark.order(1)
def test_first():
    pass
"""
XDIST = tuple(
    Plugin(f"xdist --dist={way}", ("-n", "2", "--dist", way), requires="pytest-xdist")
    for way in ("load", "loadscope", "loadfile", "loadgroup", "worksteal", "each")
)
PLUGINS = (
    Plugin("none", requires="pytest"),
    Plugin("randomly"),
    Plugin("random-order", ("--random-order",)),
    Plugin("rerunfailures", ("--reruns=1",)),
    Plugin("timeout", ("--timeout=8", "--inferena-timeout=measure=100")),
    Plugin("cov", ("--cov=pytest_inferena", "--cov-report=term")),
    Plugin("sugar", ("--force-sugar",), why="Counts a test's setup and teardown as passed too: 18 of the 24."),
    Plugin("rich", ("--rich",)),
    Plugin("pretty"),
    Plugin("html", ("--html=report.html", "--self-contained-html")),
    Plugin("json-report", ("--json-report",)),
    Plugin("reportlog", ("--report-log=log.jsonl",)),
    Plugin("allure", ("--alluredir=allure",), requires="allure-pytest"),
    Plugin("repeat", ("--count=2",)),
    Plugin("split", ("--splits=2", "--group=1"), selects=True, why="Runs the first half of the tests."),
    Plugin("shard", ("--num-shards=2", "--shard-id=0"), selects=True, why="Runs the tests of one shard of two."),
    Plugin("order", test=ORDER),
    Plugin("subtests", test=SUBTESTS),
    Plugin("asyncio", test=ASYNC.format(marker="asyncio")),
    Plugin("anyio", test=ASYNC.format(marker="anyio") + BACKEND, requires="anyio"),
    Plugin("hypothesis", test=GIVEN, requires="hypothesis"),
    Plugin("codspeed", ("--codspeed",), selects=True, why="Measures only its own benchmarks and deselects all else."),
    *XDIST,
    Plugin("md-report", ("--md-report",)),
    Plugin(
        "annotate-failures", environment={"GITHUB_ACTIONS": "true"}, requires="pytest-github-actions-annotate-failures"
    ),
    Plugin("flakefinder", ("--flake-finder", "--flake-runs=2")),
    Plugin("instafail", ("--instafail",)),
    Plugin("picked", ("--picked",), selects=True, why="Runs the test files that git calls changed: all are new here."),
    Plugin("testmon", ("--testmon",), selects=True, why="Keeps what each test ran, and runs all the first time."),
)
