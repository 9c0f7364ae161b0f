"""Result files: their types, the journal that grows cell by cell, reading and joining them."""

from pytest_inferena.results.journal import Journal, RecordError
from pytest_inferena.results.reading import SCHEMA, Results, ResultsError, journals, latest, read, read_all
from pytest_inferena.results.record import Noise, Platform, Record, Run, Titles, VerdictFigures
from pytest_inferena.results.typed import Fault, plain, typed

__all__ = [
    "SCHEMA",
    "Fault",
    "Journal",
    "Noise",
    "Platform",
    "Record",
    "RecordError",
    "Results",
    "ResultsError",
    "Run",
    "Titles",
    "VerdictFigures",
    "journals",
    "latest",
    "plain",
    "read",
    "read_all",
    "typed",
]
