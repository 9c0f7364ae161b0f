"""Where in a user's code something happened: the line that made a node of a graph, or that raised."""

from __future__ import annotations

import contextlib
import linecache
import re
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OURS = Path(__file__).parents[1]
TORCH = Path(torch.__file__).parent
STANDARD = Path(sysconfig.get_path("stdlib"))
LONGEST = 100
"""Of a line of code, as many characters are shown."""
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in .*\n\s*(?P<code>.*)')


def place_of(node: torch.fx.Node) -> str:
    """The line of the user's code that made a node, as `net.py:12 (return x * 2)`; empty where nobody knows."""
    found = _FRAME.finditer(node.meta.get("stack_trace") or "")
    return _place([(frame["file"], int(frame["line"]), frame["code"]) for frame in found])


def at(node: torch.fx.Node) -> str:
    """What a message about a node begins with: its line and a colon, or nothing."""
    place = place_of(node)
    return f"{place}: " if place else ""


def raised_at(error: BaseException | None) -> str:
    """The line of the user's code that raised an error, or one of its causes."""
    first = error
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        if place := _place([(frame.filename, frame.lineno or 0, frame.line or "") for frame in frames]):
            return place
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return blamed(first)[1]


@contextlib.contextmanager
def blaming(what: str, function: object) -> Iterator[None]:
    """Whatever is raised inside is told as what a user's function did, also where no line of it was reached."""
    try:
        yield
    except Exception as error:
        if (code := getattr(function, "__code__", None)) is not None and blamed(error) == ("", ""):
            line = linecache.getline(code.co_filename, code.co_firstlineno)
            error.blamed = what, _place([(code.co_filename, code.co_firstlineno, line)])  # type: ignore[attr-defined]
        raise


def blamed(error: BaseException | None) -> tuple[str, str]:
    """What raised an error, such as "the loss", and where that begins; empty where nobody said."""
    found: tuple[str, str] = getattr(error, "blamed", ("", ""))
    return found


def placed(message: str, error: BaseException) -> str:
    """A message with the line that raised the error, unless it names one."""
    place = raised_at(error)
    return f"{place}: {message}" if place and place.split(" ")[0] not in message else message


def _place(frames: Iterable[tuple[str, int, str]]) -> str:
    """The deepest frame in a file of the user's own; where there is none, the deepest outside PyTorch."""
    known = [(Path(file), line, code.strip()) for file, line, code in frames if not file.startswith("<")]
    known = [frame for frame in known if not any(frame[0].is_relative_to(folder) for folder in (TORCH, OURS))]
    own = [frame for frame in known if not _is_library(frame[0])]
    if not (own or known):
        return ""
    file, line, code = (own or known)[-1]
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    code = code if len(code) <= LONGEST else f"{code[:LONGEST]}…"
    return f"{shown}:{line} ({code})" if code else f"{shown}:{line}"


def _is_library(file: Path) -> bool:
    return file.is_relative_to(STANDARD) or bool({"site-packages", "dist-packages"}.intersection(file.parts))
