"""Results as pictures for READMEs and papers: a bar with its interval for each figure, readable in grey."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_inferena.report.html import bests, document, slug
from pytest_inferena.results import Results, ResultsError

FORMATS = ("svg", "png")
DARK, GREY = "0.15", "0.62"


def write(runs: Sequence[Results], folder: Path) -> list[Path]:
    """Draw every model, as SVG and as PNG.

    Returns:
        the files, named by the model and whatever of its work is not the default.

    Raises:
        ResultsError: matplotlib is not installed.

    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ResultsError(
            "matplotlib, which draws the pictures, is not installed: pip install 'pytest-inferena[pictures]'"
        ) from error
    # Text stays text, and the same results give the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "inferena", "font.size": 9}):
        found = document(runs)
        return [path for tab in found["tabs"] for path in _draw(tab, found["runs"], folder)]


def _draw(tab: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    usual = [column for column in tab["columns"] if not column.get("asked")]
    metrics = [column for column in usual if column["metric"] != "compile"] or usual
    rows = [row for row in tab["rows"] if any(_counts(row, column) for column in metrics)]
    if not rows:
        return []
    several = len({row["platform"] for row in rows}) > 1
    labels = [f"{row['engine']}, {row['platform']}" if several else row["engine"] for row in rows]
    figure = Figure(figsize=(3 + 2.6 * len(metrics), 1.3 + 0.26 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for panel, column in zip(panels, metrics, strict=True):
        cells = {place: row["cells"][column["metric"]] for place, row in enumerate(rows) if _counts(row, column)}
        best = bests(rows, column["metric"])
        for place, cell in cells.items():
            panel.barh(place, cell["value"], color=DARK if place in best else GREY)
            if cell["low"] is not None:
                panel.plot(
                    [cell["low"], cell["high"]], [place, place], color="black", linewidth=1, marker="|", markersize=6,
                    path_effects=[withStroke(linewidth=3, foreground="white")],
                )  # fmt: skip
        panel.set_title(f"{column['metric']} ({column['unit']})", fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(rows)), labels)
    panels[0].invert_yaxis()
    dark = "the best of a metric and platform" if several else "the best of a metric"
    figure.suptitle(f"{tab['title']} on {_where(rows, runs)}; less is better, dark: {dark}", fontsize=10)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{slug(tab['title'])}.{ending}" for ending in FORMATS]
    for path in paths:
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths


def _counts(row: Mapping[str, Any], column: Mapping[str, str]) -> bool:
    """Whether a figure is there, and right."""
    cell = row["cells"].get(column["metric"])
    return cell is not None and cell["right"] and cell["value"] is not None


def _where(rows: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]) -> str:
    platforms = {row["platform"] for row in rows}
    days = sorted({runs[cell["run"]]["date"][:10] for row in rows for cell in row["cells"].values()})
    where = platforms.pop() if len(platforms) == 1 else f"{len(platforms)} platforms"
    return f"{where}, {days[0]}" if len(days) == 1 else where
