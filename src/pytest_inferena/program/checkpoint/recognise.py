"""Finds one checkpoint that all entries of a Program can be run with."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_inferena.program.checkpoint.llama import Llama
from pytest_inferena.worker import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_inferena.worker import Entry, Program

ENTRIES = ("inference", "latency")


def recognise(program: Program, *architectures: Callable[[Entry], Any]) -> tuple[Any, dict[str, str]]:
    """Recognise a Program as one of the architectures that an engine knows.

    Args:
        program: its entries `inference` and `latency` are read.
        architectures: functions such as `llama`, in the order in which they are tried.

    Returns:
        what the first architecture that fits returned, or None; and the reason for every entry that cannot be run
        with that checkpoint.
    """
    found: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name in ENTRIES:
        refusals = []
        for architecture in architectures:
            try:
                found[name] = architecture(program.entry(name))
                break
            except Unsupported as error:
                refusals.append(str(error))
        else:
            reasons[name] = "; ".join(refusals)
    bases = [model.rope_base for model in found.values() if isinstance(model, Llama) and model.rope_base]
    if len(set(bases)) == 1:  # an entry of one position does not show its base
        found = {name: dataclasses.replace(model, rope_base=bases[0]) for name, model in found.items()}
    whole = next(iter(found.values()), None)
    others = [name for name, model in found.items() if model != whole]
    return whole, reasons | dict.fromkeys(others, "it has other weights or constants than the entry before it")
