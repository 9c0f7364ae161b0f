"""All that differs between operating systems: how processes are started, ended and told apart, and what a shell reads.

`posix` and `windows` have the same names. Windows was written by its documentation and tested with fakes.
"""

import sys

if sys.platform == "win32":
    from pytest_inferena.system.windows import (
        Group,
        cpus,
        ending,
        handover,
        inherited,
        is_root,
        joined,
        memory_limit,
        memory_mib,
    )
else:
    from pytest_inferena.system.posix import (
        Group,
        cpus,
        ending,
        handover,
        inherited,
        is_root,
        joined,
        memory_limit,
        memory_mib,
    )

__all__ = ["Group", "cpus", "ending", "handover", "inherited", "is_root", "joined", "memory_limit", "memory_mib"]
