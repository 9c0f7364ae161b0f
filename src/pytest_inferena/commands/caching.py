"""`inferena cache`: how much is kept, and its removal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_inferena.engines.limits import size_of
from pytest_inferena.store import cache, pruning
from pytest_inferena.store.disk import CacheError

if TYPE_CHECKING:
    import argparse


def describe(commands: Any) -> argparse.ArgumentParser:
    """Add the command to the command line."""
    made: argparse.ArgumentParser = commands.add_parser("cache", help="what was prepared, and kernels that were kept")
    made.add_argument("what", choices=("size", "prune", "clear"))
    made.add_argument("--keep", metavar="SIZE", help="prune: remove what was unused for longest, until 20GiB are left")
    return made


def run(options: argparse.Namespace) -> None:
    """Tell how much there is, or remove some of it.

    Raises:
        CacheError: --keep is missing, or is no size.
    """
    if options.what == "size":
        print(f"{cache.size_of(cache.root()) >> 20} MiB in {cache.root()}")
        return
    if (options.what == "prune") != (options.keep is not None):
        raise CacheError(
            "'inferena cache prune --keep SIZE' says how much may stay, 'inferena cache clear' keeps nothing"
        )
    try:
        keep = size_of(options.keep) if options.keep is not None else 0
    except ValueError as error:
        raise CacheError(f"--keep={error}") from None
    removed, left = pruning.prune(keep)
    in_use = ", because it is in use" if left > keep else ""
    print(f"{removed >> 20} MiB freed, {left >> 20} MiB stay{in_use}")
