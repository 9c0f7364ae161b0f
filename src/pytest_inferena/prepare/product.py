"""How many operations in float32 this machine does in a second: the quickest product of square matrices, by torch.

    python product.py THREADS

It prints GFLOP/s. It is run by its path, and needs nothing of this package.
"""

from __future__ import annotations

import sys
import time

import torch

SIZES = (1024, 2048)
"""Rows. The smaller one stays in caches, the larger one has work for many threads."""
SECONDS, LEAST = 0.5, 3
"""Each size is multiplied for so long, and so many times at least. The first time does not count."""


def rate(rows: int) -> float:
    """GFLOP/s of the quickest product."""
    first, second = torch.rand(rows, rows), torch.rand(rows, rows)
    product, times = first @ second, list[float]()
    began = time.perf_counter()
    while len(times) < LEAST or time.perf_counter() - began < SECONDS:
        start = time.perf_counter()
        torch.mm(first, second, out=product)
        times.append(time.perf_counter() - start)
    return 2 * rows**3 / min(times) / 1e9


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    print(max(map(rate, SIZES)))
