"""What came of an operator's samples: all at once where that is right, else each alone.

Right, wrong, missing (an operator is left that is not of the closed set), refused (NotExportable), or an error.
"""

from __future__ import annotations

import signal
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.opinfo.hold import Held, Missing
from tests.opinfo.samples import Calls, Sample, samples, title

from pytest_inferena.program.graph import NotExportable

if TYPE_CHECKING:
    import torch

MOST, PATIENCE = 4, 120
"""Samples of an operator in a dtype, and seconds for them."""


class TooLong(Exception):  # noqa: N818 - an outcome
    """An operator takes more time than all of its samples may."""


def of(info: Any, dtype: torch.dtype) -> dict[str, Any]:
    """How many samples of an operator came out in which way, and what was said of the first of each."""
    name = {"operator": title(info), "dtype": str(dtype).removeprefix("torch.")}
    previous = signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(PATIENCE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {**name, **_counted(samples(info, dtype, MOST))}
    except TooLong:
        return {**name, "counts": {"error": 1}, "said": {"error": f"takes more than {PATIENCE} s"}}
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def _give_up(*_: Any) -> None:
    raise TooLong


def _counted(found: list[Sample]) -> dict[str, Any]:
    if found and one([*found])[0] == "right":
        return {"counts": {"right": len(found)}, "said": {}}
    counts: Counter[str] = Counter()
    said: dict[str, str] = {}
    for sample in found:
        outcome, what = one([sample])
        counts[outcome] += 1
        if outcome != "right":
            said.setdefault(outcome, f"{what} {sample.shown()}")
    return {"counts": dict(counts), "said": said}


def one(found: list[Sample]) -> tuple[str, str]:
    """What comes of calls that are made together."""
    try:
        wrong = Held(Calls(found)).wrong()
    except Missing as error:
        return "missing", str(error)
    except NotExportable as error:
        return "refused", str(error)[:300]
    except TooLong:
        raise
    except Exception as error:  # noqa: BLE001 - each is an outcome
        return "error", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return ("wrong", "; ".join(wrong)[:300]) if wrong else ("right", "")
