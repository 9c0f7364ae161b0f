"""A full disk: how it is told, in whichever process it shows."""

from __future__ import annotations

import errno
import re

FULL = 28
"""The preparer's exit status where the disk is full: there may be no room for a message."""


class CacheError(Exception):
    """The cache cannot be used; the message names the remedy."""


def is_full(error: BaseException) -> bool:
    """Whether the disk has no room; safetensors' own error has the system's number in its text."""
    codes = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    named = re.search(r"os error (\d+)", str(error))
    return getattr(error, "errno", None) in codes or (named is not None and int(named[1]) in codes)
