"""SIGTERM and SIGHUP end a run as Ctrl-C does: a CI's cancel and a closed terminal lose nothing that was measured."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def interrupt_on_signals() -> Callable[[], None]:
    """Raise KeyboardInterrupt on the first of these signals; the next ones do not disturb the tidying up.

    Signals that somebody else handles or ignores, as nohup does, stay as they are.

    Returns:
        what undoes it.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    taken = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]

    def ring(number: int, _: Any) -> None:
        for other in taken:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    def undo() -> None:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)

    for number in taken:
        signal.signal(number, ring)
    return undo
