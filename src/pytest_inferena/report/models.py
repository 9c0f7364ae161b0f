"""A Markdown page for each model with all platforms, as readers of Inference Arena know it."""

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from pytest_inferena.report.html import bests, document, slug
from pytest_inferena.report.markdown import escape
from pytest_inferena.results import Results

LEGEND = (
    "Medians of repeated steps ± half their 95 % interval; **bold**: best of its platform and day; "
    "≈: at reduced precision; †: ran the baseline's gradient graph; ~~struck~~: wrong, so it does not count; "
    "°: as somebody else published it; ✗: it broke; —: the engine does not have it; ·: not part of the run."
)


def pages(runs: Sequence[Results]) -> dict[str, str]:
    """Give the pages by the names of their files; a figure links to the note that explains it."""
    found = document(runs)
    return {f"{slug(tab['title'])}.md": _page(tab, found["runs"]) for tab in found["tabs"]}


def _page(tab: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    metrics = [column["metric"] for column in tab["columns"]]
    best = {metric: bests(tab["rows"], metric) for metric in metrics}
    notes: list[str] = []
    rows = []
    for place, row in enumerate(tab["rows"]):
        cells = [_cell(row, metric, place in best[metric], notes) for metric in metrics]
        rows.append([escape(row["platform"]), escape(row["engine"]), *cells, escape(row["loss"])])
    heads = [f"{column['metric'].capitalize()} ({column['unit']})" for column in tab["columns"]]
    alignment = ["left", "left", *["right"] * (len(heads) + 1)]
    grid = tabulate(
        rows, ["Platform", "Framework", *map(escape, heads), "Loss"], "pipe", colalign=alignment, disable_numparse=True
    )
    used = sorted({cell["run"] for row in tab["rows"] for cell in row["cells"].values()})
    facts = ["; ".join(f"{name}: {escape(text)}" for name, text in runs[number]["facts"]) for number in used]
    blocks = [
        f"# {escape(tab['title'])}",
        LEGEND,
        grid,
        "\n".join(f"{number}. {note}" for number, note in enumerate(notes, 1)),
        "## Runs",
        "\n".join(f"- {fact}" for fact in facts),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _cell(row: Mapping[str, Any], metric: str, is_best: bool, notes: list[str]) -> str:
    cell = row["cells"].get(metric)
    if cell is None:
        return "·"
    text = escape(cell["text"])
    text = f"~~{text}~~" if cell["struck"] else f"**{text}**" if is_best else text
    if not cell["note"]:
        return text
    note = f"{escape(row['engine'])}: {escape(cell['note'])}"
    if note not in notes:
        notes.append(note)
    return f"{text} [{notes.index(note) + 1}]"
