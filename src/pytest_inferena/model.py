"""What a model's file imports: `Case`. Kept under this name for files that were written for it."""

from pytest_inferena.prepare.case import Case

__all__ = ["Case"]
