"""`Case`, under its old name, for files of models that import it from here."""

from pytest_inferena.prepare.case import Case

__all__ = ["Case"]
