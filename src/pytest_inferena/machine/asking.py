"""How this machine is asked: files that may not be there, programs that may fail."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def text(path: Path) -> str:
    """What a file holds, or nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def field(document: str, name: str) -> str:
    """The value behind `NAME:` in lines such as those of /proc/cpuinfo; "" where there is none."""
    found = re.search(rf"^{name}\s*:\s*(.+)$", document, re.MULTILINE)
    return found[1].strip() if found else ""


def run(*command: str) -> str:
    """Return what a command prints, or nothing where it is missing, fails, or takes longer than 5 s."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=5,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
