"""Property-based tests of result files that somebody else wrote: a page, or one clear error, and nothing in between."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.records import sample_results

from pytest_inferena.report import FORMATS, models, render
from pytest_inferena.report.compare import compare
from pytest_inferena.results import Results, ResultsError, read, read_all

DOCUMENT = json.loads(render(sample_results(), "json"))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def replaced(path: tuple[Any, ...], value: Any) -> Any:
    """The document with something else in one place."""
    if not path:
        return value
    document = copy.deepcopy(DOCUMENT)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(places(DOCUMENT)), ANYTHING)
def test_a_file_is_rendered_or_refused(path: tuple[Any, ...], value: Any) -> None:
    """With anything in any place a file is one that every format shows, or one error that names it."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "hostile.json"
        file.write_text(json.dumps(replaced(path, value)), encoding="utf-8", errors="surrogatepass")
        found: tuple[Results, ...] = ()
        said = str(file)
        try:
            found = read_all(file)
        except ResultsError as error:
            said = str(error)
        assert str(file) in said
        for results in found:
            for name in FORMATS:
                assert render(results, name)
            assert compare(results, results, 0.05) is not None
        models.pages(found)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_what_is_no_result_file(data: bytes) -> None:
    """Any other bytes are refused by one error, in any place where a file is read."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "noise"
        file.write_bytes(data)
        for reader in (read, read_all):
            with pytest.raises(ResultsError):
                reader(file)
