"""Several writers of one file: none loses or cuts what another has written."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

import pytest
from tests.records import make_record, make_run

from pytest_inferena.report import replace_file
from pytest_inferena.results import Journal, ResultsError, plain, read

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of one record."""
    path = tmp_path / "run.jsonl"
    with Journal(path, make_run()) as journal:
        journal.append(make_record("inference"))
    return path


def test_one_writer_a_journal(path: Path) -> None:
    """A second run that would continue a journal is told so at once; when the first has ended, it can."""
    with Journal(path, make_run()) as first:
        with pytest.raises(ResultsError, match="another run is writing it"):
            Journal(path, make_run())
        first.append(make_record("training"))
    with Journal(path, make_run()) as second:
        second.append(make_record("latency"))

    assert {"training", "latency"} <= {record.metric for record in read(path).records}


def test_a_failed_write_cuts_nothing_of_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process has written meanwhile, where the file system has no locks, stays."""
    with Journal(path, make_run()) as mine:
        with path.open("a") as other:
            other.write(json.dumps(plain(make_record("training"))) + "\n")
        before = path.read_bytes()
        monkeypatch.setattr(os, "fsync", _full)
        with pytest.raises(ResultsError, match="No space left"):
            mine.append(make_record("latency"))

    assert before == path.read_bytes()


def test_a_journal_that_is_replaced(path: Path) -> None:
    """If somebody removes the file while it is written, that is said, and nothing is written where nobody looks."""
    with Journal(path, make_run()) as mine:
        path.rename(path.with_name("moved.jsonl"))
        path.touch()
        with pytest.raises(ResultsError, match="it was replaced while this run wrote it"):
            mine.append(make_record("training"))


def _full(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_report_s_draft_has_a_name_of_its_own(tmp_path: Path) -> None:
    """A link that lies where a draft might be is not followed, and no draft is left."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "report.md.part").symlink_to(precious)
    replace_file(tmp_path / "report.md", "new")

    assert ("precious", "new") == (precious.read_text(), (tmp_path / "report.md").read_text())
    assert {"precious", "report.md", "report.md.part"} == {file.name for file in tmp_path.iterdir()}
