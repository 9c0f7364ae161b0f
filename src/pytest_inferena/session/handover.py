"""What an xdist worker tells the process that distributes, which collects nothing: that there are cells, and of what.

xdist has no channel for it, so it goes through a file. Workers run on the same machine.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


def give(config: pytest.Config, found: Mapping[str, Any]) -> None:
    """Tell it, in a worker, before xdist tells that the worker has collected. What is told first counts."""
    file = _file(config.workerinput)  # type: ignore[attr-defined] # xdist's
    if not file.exists():
        file.write_text(json.dumps(found), encoding="utf-8")
    config.add_cleanup(lambda: file.unlink(missing_ok=True))


def take(worker: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a worker told; None if it has no cells. `worker` is xdist's `workerinput`, which both sides have."""
    file = _file(worker)
    if not file.exists():
        return None
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    return told


def _file(worker: Mapping[str, Any]) -> Path:
    return Path(tempfile.gettempdir(), f"inferena-{worker['testrunuid']}-{worker['workerid']}.json")
