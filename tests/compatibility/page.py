"""docs/compatibility.md, from what was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate
from tests.compatibility import matrix, suites
from tests.compatibility.places import PYTESTS, PYTHONS, ROOT
from tests.compatibility.plugins import PLUGINS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.compatibility.places import Places
    from tests.compatibility.plugins import Plugin

PAGE = ROOT / "docs" / "compatibility.md"
TEXT = """\
# Beside other plugins, and in other projects

`make compatibility` has written this page. It was run with pytest-inferena at {commit}. It takes about an hour, goes on
where it was stopped, and tries only what was not tried yet.

## Plugins

In each trial, one other plugin is installed beside this one, in an environment of its own. Pytest runs four cells and
five ordinary tests. The cells end in four ways: the engine is right, it is wrong, its process crashes, it hangs. The
ordinary tests have fixtures named as ours: `worker`, `cell`, `target`, `model`, `framework`. Then five stories are
compared: pytest's own count, JUnit's file, the table, the journal, and the report in JSON.

✓: all five agree, each cell has the outcome that it has without the other plugin, and every ordinary test passes.

{matrix}

{notes}

{missing}

## Suites

The tests of public projects, from their sdists, on Python {python} and the newest pytest, once without this plugin and
once with it. *Same*: every test ended in the same way, and the same warnings were told. *Start* is how long one empty
test takes under the project's settings, the median of {turns} times in turns. *Later* is the difference of the medians,
then that of the processor's time, which other work on the machine changes less.

{suites}
"""


def write(places: Places) -> None:
    """Write the page anew."""
    PAGE.write_text(text(places), encoding="utf-8")


def text(places: Places) -> str:
    """The page."""
    found = matrix.results(places)
    columns = [
        (python, pytest)
        for python in PYTHONS
        for pytest in PYTESTS
        if any(key[:2] == (python, pytest) and result.versions[0] for key, result in found.items())
    ]
    notes: list[str] = []
    rows = [_row(plugin, [found.get((*column, plugin.name)) for column in columns], notes) for plugin in PLUGINS]
    heads = ["plugin", "version", "run with", "pytest counts", *(_head(found, column) for column in columns)]
    return TEXT.format(
        commit=places.commit,
        matrix=_table(rows, heads),
        notes="\n\n".join(f"[{number}] {note}" for number, note in enumerate(notes, 1)),
        missing=_missing(columns, found),
        python=suites.PYTHON,
        turns=suites.TURNS,
        suites=_suites(places),
    )


def _row(plugin: Plugin, tried: Sequence[matrix.Result | None], notes: list[str]) -> list[str]:
    marks = [_mark(plugin, result, notes) for result in tried]
    ran = [result for result in tried if result and result.versions[0]]
    last = ran[-1] if ran else None
    options = " ".join([*(f"{name}={value}" for name, value in plugin.environment.items()), *plugin.options])
    about = [
        plugin.name,
        last.versions[2] if last else "",
        f"`{options}`" if options else "",
        last.count if last else "",
    ]
    return about + marks


def _mark(plugin: Plugin, result: matrix.Result | None, notes: list[str]) -> str:
    """A sign for one trial; what has to be said of it is a note."""
    if result is None:
        return "not run"
    told = [result.absent, *result.problems, plugin.why]
    if not (note := " ".join(filter(None, told))):
        return "✓"
    note = f"{plugin.name}: {note}"
    if note not in notes:
        notes.append(note)
    sign = "—" if result.absent else "✗" if result.problems else "✓"
    return f"{sign} [{notes.index(note) + 1}]"


def _head(found: Mapping[tuple[str, str, str], matrix.Result], column: tuple[str, str]) -> str:
    """The versions that a column stands for."""
    python, pytest, _ = next(r.versions for key, r in found.items() if key[:2] == column and r.versions[0])
    return f"Python {python}, pytest {pytest}"


def _missing(columns: Sequence[tuple[str, str]], found: Mapping[tuple[str, str, str], matrix.Result]) -> str:
    """What was not run at all, a line each."""
    reasons = {key[:2]: result.absent for key, result in found.items() if result.absent}
    lines = []
    for python in PYTHONS:
        without = [pytest for pytest in PYTESTS if (python, pytest) not in columns]
        if without:
            which = f" with pytest {without[0]}" if len(without) < len(PYTESTS) else ""
            lines.append(f"Python {python}{which} was not run: {reasons.get((python, without[0]), 'not tried')}.")
    return "\n".join(lines)


def _suites(places: Places) -> str:
    rows = [
        [result.suite, result.version, result.counts[1], "; ".join(result.differ) or "same",
         *(f"{seconds * 1000:.0f} ms" for seconds in result.start), result.later]
        for result in suites.results(places).values()
    ]  # fmt: skip
    return _table(
        rows, ["suite", "version", "pytest counts", "with the plugin", "start without", "start with", "later"]
    )


def _table(rows: list[list[str]], heads: list[str]) -> str:
    return str(tabulate(rows, heads, tablefmt="github", disable_numparse=True))
