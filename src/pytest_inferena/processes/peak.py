"""What this machine reaches in float32 with a thread budget, measured by a process of its own with torch."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

from pytest_inferena.processes.client import affinity
from pytest_inferena.processes.preparing import PARENT, Start

PRODUCT = PARENT / "pytest_inferena" / "prepare" / "product.py"
NONE = "the product of matrices gave no figure"
DEADLINE = 120.0
"""Seconds; importing torch takes some of them."""


@cache
def peak(threads: int) -> float | str:
    """Measure it once for a budget.

    Returns:
        GFLOP/s, or why nobody knows.
    """
    command, environment = [sys.executable, "-P", str(PRODUCT), str(threads)], Start.now(threads, {}).variables
    try:
        with affinity(threads):
            done = subprocess.run(
                command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, env={**environment},
                timeout=DEADLINE,
            )  # fmt: skip
        return float(done.stdout)
    except subprocess.CalledProcessError as error:
        return f"{NONE}: {error.stderr.strip().rpartition(chr(10))[2]}"
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return f"{NONE}: {error}"
