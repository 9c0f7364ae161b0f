"""Beside the plugins that found most. `make compatibility` tries all of them, this those that CI has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from tests.compatibility import matrix, page, suites, trial
from tests.compatibility.places import Places, keep
from tests.compatibility.plugins import PLUGINS, Plugin
from tests.in_ci import long
from tests.stories import BAD, GOOD, Stories

if TYPE_CHECKING:
    from pathlib import Path

CHOSEN = (
    "rerunfailures", "timeout", "repeat", "cov", "random-order", "reportlog", "instafail",
    "xdist --dist=load", "xdist --dist=worksteal", "xdist --dist=each",
)  # fmt: skip


@long
@pytest.mark.parametrize("plugin", [plugin for plugin in PLUGINS if plugin.name in CHOSEN], ids=lambda each: each.name)
def test_beside(plugin: Plugin, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tell one story, and cells and ordinary tests end as they do without it."""
    monkeypatch.setenv("INFERENA_CACHE", str(cache))
    problems, count = trial.run(tmp_path, sys.executable, plugin)

    assert [] == problems, count


def test_differences_are_named() -> None:
    """Who tells of a test or cell what pytest does not, and who is silent of it."""
    cell = ("fake", "latency")
    stories = Stories({"pytest": {"a": GOOD}, "JUnit": {}}, {"pytest": {cell: BAD}, "the table": {cell: GOOD}})

    assert [
        "a: pytest says right, JUnit says nothing",
        "('fake', 'latency'): pytest says wrong, the table says right",
    ] == stories.differences()


def test_page(tmp_path: Path) -> None:
    """A trial is a tick, a cross or a dash with a note, or was not run; a Python that is missing is named."""
    places, versions = Places(tmp_path), ("3.11.7", "9.2.0", "1.0")
    wheel = tmp_path / "wheel"
    wheel.mkdir()
    (wheel / "ours.whl").touch()
    (wheel / "commit").write_text("abc1234")
    for result in (
        matrix.Result("3.11", "9.0", "none", versions=versions, count="1 passed"),
        matrix.Result("3.13", "newest", "none", versions=versions, count="1 passed"),
        matrix.Result("3.11", "newest", "none", versions=versions, count="1 passed"),
        matrix.Result("3.11", "newest", "randomly", versions=versions, problems=("two stories",)),
        matrix.Result("3.11", "newest", "timeout", absent="no such version"),
        matrix.Result("3.14", "9.0", "none", absent="there is no Python 3.14 on this machine"),
    ):
        keep(tmp_path / "matrix.jsonl", result)
    keep(
        tmp_path / "suites.jsonl", suites.Result("attrs", "26.1", ("3 passed", "3 passed"), (), (0.5, 0.51), (0.4, 0.4))
    )
    text = page.text(places)
    rows = {row.split("|")[1].strip(): row.split("|")[-3:-1] for row in text.splitlines() if row.startswith("|")}
    marks = [rows[name][0].strip() for name in ("none", "randomly", "timeout", "cov")]

    assert ["✓", "✗ [1]", "— [2]", "not run"] == marks
    assert "[1] randomly: two stories\n\n[2] timeout: no such version\n" in text
    assert "\n\nPython 3.12 was not run: not tried.\nPython 3.13 with pytest 9.0 was not run: not tried.\n" in text
    assert "Python 3.14 was not run: there is no Python 3.14 on this machine." in text
    assert ["510 ms", "+10 ms, +0 ms"] == [value.strip() for value in rows["attrs"]]


def test_every_plugin_is_on_the_page() -> None:
    """Docs/compatibility.md tells of each plugin and suite that there is."""
    rows = {
        row.split("|")[1].strip() for row in page.PAGE.read_text(encoding="utf-8").splitlines() if row.startswith("|")
    }

    assert {*(plugin.name for plugin in PLUGINS), *suites.SUITES} <= rows
