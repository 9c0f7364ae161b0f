"""What CI runs and a plain `make test` leaves out: it takes long, or it needs what only CI has to have."""

from __future__ import annotations

import os

import pytest

IN_CI = bool(os.environ.get("CI"))
long = pytest.mark.skipif(not IN_CI, reason="it takes long; CI=1 runs it")
"""A mark: of a test, of a parameter, or as `pytestmark`."""
