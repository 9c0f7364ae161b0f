"""Result files: their types, the journal that grows cell by cell, reading and joining them."""

from pytest_inferena.results.journal import Journal
from pytest_inferena.results.reading import Results, ResultsError, latest, read, read_all
from pytest_inferena.results.schema import (
    KEY,
    METRICS,
    OUTCOMES,
    SCHEMA,
    Key,
    Platform,
    Record,
    Run,
    Titles,
    VerdictFigures,
    complete_record,
    complete_run,
    key_of,
)

__all__ = [
    "KEY",
    "METRICS",
    "OUTCOMES",
    "SCHEMA",
    "Journal",
    "Key",
    "Platform",
    "Record",
    "Results",
    "ResultsError",
    "Run",
    "Titles",
    "VerdictFigures",
    "complete_record",
    "complete_run",
    "key_of",
    "latest",
    "read",
    "read_all",
]
