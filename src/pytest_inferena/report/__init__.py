"""Reports: each format is a pure function from results to text. Only result files are read.

Every run of pytest imports this module for its options. The modules that render are imported when they are needed.
"""

import difflib
import importlib
import os
import secrets
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pytest_inferena.results import Results

__all__ = ["FORMATS", "ReportError", "ReportTarget", "parse_report_option", "render", "replace_file", "write"]

Format: TypeAlias = Callable[[Results], str]
FORMATS = {
    "coverage": "report.coverage",
    "csv": "report.csv_",
    "html": "report.html",
    "json": "results.document",
    "md": "report.markdown",
    "terminal": "report.terminal",
}
"""Name → the module whose `render` makes it."""
APPENDED = ("md", "terminal")
"""Formats of which several can follow each other in a file."""
SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable in which GitHub says where a step's summary is written, in Markdown."""
_OTHER_NAMES = {"markdown": "md", "htm": "html", "txt": "terminal", "text": "terminal", "term": "terminal"}


class ReportError(ValueError):
    """A report whose format is unknown, or that cannot be written. The message says what to do."""


@dataclass(frozen=True)
class ReportTarget:
    """One report to write.

    Attributes:
        format: A key of `FORMATS`.
        path: The file to write; None is standard output.
        append: Whether what the file has stays, and the report follows it.

    """

    format: str
    path: Path | None
    append: bool = False


def parse_report_option(option: str) -> ReportTarget:
    """Parse `FORMAT` (to standard output), `FORMAT:FILE`, such as `md:report.md`, or `md+:FILE`, which appends.

    GitHub's summary of a step belongs to all commands of the step, so that it is always appended to.

    Raises:
        ReportError: The format is unknown or nothing can follow it, or the file's name is missing.

    """
    asked, colon, file = option.partition(":")
    name = asked.removesuffix("+")
    if name not in FORMATS:
        known = ", ".join(FORMATS)
        raise ReportError(f"unknown report format {name!r}; known are {known}{_suggestion(name, colon + file)}")
    if colon and not file:
        raise ReportError(f"report {option!r} names no file; write {name}:FILE, or {name} for standard output")
    append = name != asked or (file != "" and file == os.environ.get(SUMMARY))
    if append and (name not in APPENDED or not file):
        raise ReportError(f"report {option!r} cannot be appended; {' and '.join(APPENDED)} can: md+:FILE")
    return ReportTarget(name, Path(file) if file else None, append)


def render(results: Results, format: str) -> str:  # noqa: A002
    """Render results in one of `FORMATS`, ending with a newline.

    Raises:
        ReportError: The format is unknown.

    """
    name = parse_report_option(format.partition(":")[0]).format
    rendered: Format = importlib.import_module(f"pytest_inferena.{FORMATS[name]}").render
    return rendered(results)


def write(results: Results, targets: Iterable[ReportTarget]) -> None:
    """Write one report for each target. A file appears whole or not at all; missing folders are made.

    Raises:
        ReportError: A file cannot be written. The others have been written all the same.

    """
    failures = []
    for target in targets:
        text = render(results, target.format)
        try:
            if target.path is None:
                _print(text)
            elif target.append and target.path.is_file():
                replace_file(target.path, target.path.read_text(encoding="utf-8").rstrip("\n") + "\n\n" + text)
            else:
                replace_file(target.path, text)
        except OSError as error:
            name = target.path or "standard output"
            failures.append(f"{target.format} report to {name} cannot be written: {error.strerror}")
    if failures:
        raise ReportError("; ".join(failures))


def _suggestion(name: str, rest: str) -> str:
    """Guess what was meant, by another name of a format, by its spelling, or by a file's suffix."""
    lower = name.lower()
    suffix = Path(lower).suffix.removeprefix(".")
    candidates = {**{known: known for known in FORMATS}, **_OTHER_NAMES}
    if suffix in candidates and not rest:
        return f"; did you mean {candidates[suffix]}:{name}?"
    near = difflib.get_close_matches(lower, candidates, n=1, cutoff=0.5)
    return f"; did you mean {candidates[near[0]]}{rest}?" if near else ""


def _print(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def replace_file(path: Path, text: str) -> None:
    """Write a file, which appears whole or not at all. Its folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():  # a device or a pipe is never replaced
        path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        return
    part = path.with_name(f"{path.name[:200]}.{secrets.token_hex(4)}.part")  # two may write this report at once
    try:
        with part.open("x", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
