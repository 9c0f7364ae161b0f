"""Requests one after the other, each answered in a process that is forked from this one: torch is imported once.

What a model's code does to modules, to torch or to memory ends with its process. This one has imported and has run
nothing, so every model finds what the first found. It must have no threads that others wait for after a fork: torch
starts its own with the first operator. Only on Linux are its libraries made for this.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE = "INFERENA_READ_FD", "INFERENA_WRITE_FD"


def serve(answer: Callable[[str], int]) -> int:
    """Fork for every line, which is a request's file, and write a line with the exit status of the fork.

    What the fork prints goes to the file `log` beside the request.

    Returns:
        exit status of whichever process returns: in a fork that of the answer.
    """
    if sys.platform == "win32":
        raise OSError("Windows cannot fork: give a request's file as an argument")
    ends = [int(os.environ.pop(name)) for name in (READ, WRITE)]
    for end in ends:
        os.set_inheritable(end, False)
    requests, answers = open(ends[0], "rb"), open(ends[1], "wb", buffering=0)  # noqa: PTH123, SIM115 - pipes
    gc.freeze()  # memory stays shared with the forks as long as nobody looks for garbage in it
    for line in requests:
        file = line.decode().strip()
        if (fork := os.fork()) == 0:
            requests.close()
            answers.close()
            log = os.open(Path(file).with_name("log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for printed in (1, 2):
                os.dup2(log, printed)
            os.close(log)
            try:
                return answer(file)
            finally:
                gc.unfreeze()  # libraries complain in the log of what is still there at the end
        answers.write(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]))
    return 0
