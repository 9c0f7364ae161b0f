"""What third parties wrote for older versions still works, and says what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_inferena
from pytest_inferena import worker

if TYPE_CHECKING:
    from tests.projects import Project

SIBLING = """
from pathlib import Path
from pytest_inferena.worker.server import load_adapter
OPERATORS |= load_adapter("fake_table", Path(__file__).with_name("fake_table.py")).OPERATORS
"""


def test_an_adapter_of_older_versions(project: Project) -> None:
    """One named after its engine, which loads the file beside it by path, runs; a line says how to rename it."""
    (project.folder / "adapter.py").rename(project.folder / "fake_adapter.py")
    project.write("fake/fake_table.py", "import numpy as np\n\nOPERATORS = {'tanh': np.tanh}\n")
    project.append("fake/fake_adapter.py", "\ndel OPERATORS['tanh']\n" + SIBLING)
    result = project.run("-m", "latency")

    result.assert_outcomes(passed=1, deselected=3)
    result.stdout.fnmatch_lines(["inferena: *fake/fake_adapter.py is called adapter.py from now on: rename it"])


def test_modules_of_older_versions() -> None:
    """A model's file may import its case from where it was, an adapter its names from the worker's package."""
    from pytest_inferena.model import Case

    assert pytest_inferena.Case is Case
    assert pytest_inferena.Adapter is worker.Adapter
