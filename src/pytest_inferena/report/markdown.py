"""Results as Markdown that GitHub, GitLab and Python-Markdown all show in the same way."""

import re
from collections.abc import Iterable

from tabulate import tabulate

from pytest_inferena.report.facts import Fact, run_facts
from pytest_inferena.report.table import LEGEND, Table, tables
from pytest_inferena.report.texts import Text, clean
from pytest_inferena.results import Results

_SPECIAL = re.compile(r"[\\`*\[\]~|]|(?<![^\W_])_|_(?![^\W_])")  # an underscore within a word is plain


def render(results: Results) -> str:
    """Render a page: a table for each model and kind of work, with its notes and facts, and one legend."""
    title = f"# Results on {escape(clean(results.run.platform.cpu))}"
    warnings = [f"> {escape(clean(warning))}" for warning in results.warnings]
    facts = run_facts(results.run)
    found = tables(results)
    if not found:
        return "\n\n".join([title, *warnings, "No cell was recorded.", _facts(facts)]) + "\n"
    blocks = [block for table in found for block in _table(table, facts)]
    return "\n\n".join([title, *warnings, *blocks, "## Legend", _legend()]) + "\n"


def escape(text: str) -> str:
    """Escape one line of foreign text, so that Markdown shows it as it is, in tables too."""
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    text = _SPECIAL.sub(r"\\\g<0>", text)
    text = re.sub(r"^(\d+)([.)]) ", r"\1\\\2 ", text)
    return re.sub(r"^(?=[#>+=-])", r"\\", text)


def _table(table: Table, shared: Iterable[Fact]) -> list[str]:
    rows = [[escape(row.platform), escape(row.framework), *(_marked(text) for text in row.texts)] for row in table.rows]
    alignment = ["left", "left"] + ["right"] * (len(table.columns) - 2)
    grid = tabulate(rows, map(escape, table.columns), tablefmt="pipe", colalign=alignment, disable_numparse=True)
    notes = "\n".join(f"{number}. {escape(note)}" for number, note in enumerate(table.notes, 1))
    blocks = [f"## {escape(table.title)}", grid, notes, _facts((*table.facts, *shared))]
    return [block for block in blocks if block]


def _marked(text: Text) -> str:
    shown = escape(text.text)
    shown = f"~~{shown}~~" if text.struck else f"**{shown}**" if text.best else shown
    return f"{shown} [{text.note}]" if text.note else shown


def _facts(facts: Iterable[Fact]) -> str:
    return "\n".join(f"- {name}: {escape(text)}" for name, text in facts)


def _legend() -> str:
    shown = {"best": "**bold**", "struck": "~~struck~~"}
    return "\n".join(f"- {shown.get(mark, mark)}: {text}" for mark, text in LEGEND)
