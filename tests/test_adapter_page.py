"""Tests of docs/adapter-toml.md: it says what the code reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_inferena.engines import description
from pytest_inferena.engines.framework import Framework

PAGE = (Path(__file__).parents[1] / "docs" / "adapter-toml.md").read_text(encoding="utf-8")
PARTS = PAGE.split("\n## [[")
OUTSIDE = {"folder", "python"}
"""Fields that no file sets."""


def rows(part: str) -> list[str]:
    """The fields that a part of the page has in its tables."""
    return re.findall(r"^\| `(\w+)` \| (?!meaning)", part, re.MULTILINE)


def test_every_field_stands_on_the_page() -> None:
    """The page has each field of adapter.toml once, and none that the code does not read."""
    assert Framework.__dataclass_fields__.keys() - OUTSIDE == {*rows(PARTS[0])}
    assert len(rows(PARTS[0])) == len({*rows(PARTS[0])})


@pytest.mark.parametrize("part", PARTS[1:])
def test_every_field_of_a_table_stands_on_the_page(part: str) -> None:
    """So it is for the tables in it."""
    kind = {"backends": "Backend", "absent": "Absent", "known_issues": "KnownIssue"}[part.split("]]", maxsplit=1)[0]]

    assert sorted(getattr(description, kind).__dataclass_fields__) == sorted(rows(part))


def test_the_example_is_read(tmp_path: Path) -> None:
    """What the page shows is an adapter that can be registered."""
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "adapter.toml").write_text(example)
    (tmp_path / "adapter.py").touch()
    made = Framework.read(tmp_path)

    assert ("my_engine", "cpu", "latency", "<1.3") == (
        made.name, made.backends[0].name, made.absent[0].metric, made.known_issues[0].versions
    )  # fmt: skip
