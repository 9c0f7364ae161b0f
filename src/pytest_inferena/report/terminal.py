"""Results as text for a terminal: what fits a first screen. The other formats have all provenance."""

import textwrap
from collections.abc import Iterable

from tabulate import tabulate

from pytest_inferena.report.facts import Fact, run_facts
from pytest_inferena.report.table import Table, legend, tables
from pytest_inferena.report.texts import BROKEN, CLOSE, Text, clean
from pytest_inferena.results import Results

_NARROWEST = 10
_FACTS = {"Verdict", "Differs", "Model", "Step", "Threads", "Flags", "Not installed", "Platform"}
_REST = "Versions, hashes, footprints, commands: --inferena-report=md, or html:FILE"


def render(results: Results, width: int = 80, *, dress: bool = False) -> str:
    """Render tables, notes and the facts that a reader of figures needs.

    What all tables share stands once, at the end. So does the legend, with the marks that were used.

    Args:
        results: What to show.
        width: Columns of the terminal; a table that is wider becomes a list.
        dress: Whether to use colours: the best bold and green, what is wrong red, what is CLOSE yellow.

    """
    blocks = [_wrapped("", clean(warning), width) for warning in results.warnings]
    found = tables(results)
    for table in found:
        notes = "\n".join(_wrapped(f"[{n}] ", note, width) for n, note in enumerate(table.notes, 1))
        grid = _fitting(table, width, dress=dress)
        blocks += [_wrapped("", table.title, width), grid, notes, _facts(table.facts, width)]
    if not found:
        blocks.append("No cell was recorded.")
    blocks.append(_facts(run_facts(results.run), width))
    if found:
        blocks += [_legend(found, width), _wrapped("", _REST, width)]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _fitting(table: Table, width: int, *, dress: bool) -> str:
    """Lay out a table. One that is too wide wraps the engines' names, or becomes a list if that does not help."""
    excess = max(map(len, _grid(table).splitlines())) - width
    if excess <= 0:
        return _grid(table, dress=dress)
    names = max(len(row.framework) for row in table.rows) - excess
    return _grid(table, names, dress=dress) if names >= _NARROWEST else _list(table, width)


def _grid(table: Table, names: int | None = None, *, dress: bool = False) -> str:
    """Lay out a table, with engines' names at most so wide. A platform that all rows share is left out."""
    show = _dressed if dress else _marked
    shared = len({row.platform for row in table.rows}) == 1
    usual = len(table.columns) - table.asked
    heads = [head.replace(" (", "\n(") for head in table.columns[:usual]]
    heads += [head.replace(" ", "\n") for head in table.columns[usual:]]
    rows = [[row.platform, textwrap.fill(row.framework, names or 1000), *map(show, row.texts)] for row in table.rows]
    first = 1 if shared else 0
    alignment = ["left"] * (2 - first) + ["right"] * (len(heads) - 2)
    grid: str = tabulate(
        [row[first:] for row in rows],
        heads[first:],
        tablefmt="simple",
        colalign=alignment,
        disable_numparse=True,
    )
    return grid


def _list(table: Table, width: int) -> str:
    lines = []
    for row in table.rows:
        lines.append(_wrapped("", f"{row.framework} on {row.platform}", width))
        named = zip(table.columns[2:], row.texts, strict=True)
        lines += [_wrapped(f"  {head}: ", _marked(text), width) for head, text in named]
    return "\n".join(lines)


def _marked(text: Text) -> str:
    shown = text.text.replace(" %", "%").replace("≈ ", "≈")
    shown = f"({shown})" if text.struck else f"*{shown}" if text.best else shown
    return f"{shown}[{text.note}]" if text.note else shown


def _dressed(text: Text) -> str:
    """The same in colour. tabulate does not count colour codes as width."""
    wrong = text.struck or text.text == BROKEN
    code = "31" if wrong else "1;32" if text.best else "33" if text.text.startswith(CLOSE) else ""
    return f"\x1b[{code}m{_marked(text)}\x1b[0m" if code else _marked(text)


def _facts(facts: Iterable[Fact], width: int) -> str:
    return "\n".join(_wrapped(f"{name}: ", text, width) for name, text in facts if name in _FACTS)


def _legend(found: Iterable[Table], width: int) -> str:
    shown = {"best": "*figure", "struck": "(figure)"}
    return "\n".join(_wrapped(f"{shown.get(mark, mark)}: ", text, width) for mark, text in legend(found))


def _wrapped(start: str, text: str, width: int) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=start,
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )
