"""How fast this machine is at this moment, by a small kernel on each CPU that an engine's threads get.

The kernel is SHA-256 over a block that stays in a core's own cache. Its work is always the same. So it slows down where
a CPU's frequency falls, where another process or another virtual machine takes the CPU, and where the other thread of
its core is busy. It says nothing of neighbours who take the memory's bandwidth.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from pytest_inferena import system

BLOCK = bytes(1 << 17)
"""Python's other threads run while it is hashed; between two of them they take turns, so it is not small."""
PARTS, PART = 3, 0.004
"""A kernel takes so many parts of so many seconds: longer than the turns in which two processes share a CPU. The middle
part counts, so that a single interrupt does not."""
MOST = 16
"""The most CPUs that are looked at. A thread for each of 256 would take longer to start than to run."""


def calibrate(threads: int) -> float:
    """Run the kernel, on all CPUs of a budget at once.

    Returns:
        MiB that the slowest of them hashes in a second: steps of an engine wait for its slowest thread.
    """
    cpus: list[int | None] = [*system.cpus(threads)] or [None] * threads
    chosen = cpus[:: -(-len(cpus) // MOST)]
    with ThreadPoolExecutor(len(chosen)) as pool:
        return min(pool.map(_on, chosen))


def _on(cpu: int | None) -> float:
    """The rate of one CPU; None is the one that the system chooses."""
    if sys.platform == "linux" and cpu is not None:
        os.sched_setaffinity(threading.get_native_id(), {cpu})
    return statistics.median(_rate() for _ in range(PARTS))


def _rate() -> float:
    """MiB per second of one part."""
    work, blocks = hashlib.sha256(), 0
    began = now = time.perf_counter()
    while now - began < PART:
        work.update(BLOCK)
        blocks, now = blocks + 1, time.perf_counter()
    return blocks * len(BLOCK) / (now - began) / 2**20
