"""`inferena doctor --quiet-check`: how small a difference can be told from noise here, and what would help."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_inferena import machine
from pytest_inferena.engines.framework import RegistryError
from pytest_inferena.machine.advice import advise
from pytest_inferena.machine.quiet import listen
from pytest_inferena.store.turns import turn

if TYPE_CHECKING:
    import argparse

    from pytest_inferena.machine.quiet import Quiet


def run(options: argparse.Namespace) -> None:
    """Listen to the machine when nobody measures on it, and tell what was heard.

    Raises:
        RegistryError: engines were named.
    """
    if options.engine:
        raise RegistryError(f"--quiet-check listens to the machine and starts no engine; leave out {options.engine[0]}")
    threads = machine.thread_budget()
    with turn():
        found = listen(threads)
    advice = advise(found)
    if options.json:
        print(
            json.dumps({**found._asdict(), "threads": threads, "advice": [one._asdict() for one in advice]}, indent=2)
        )
        return
    print(f"Differences of {found.resolvable:.1%} and more can be told from noise here.")
    print(f"That is by how much two of {len(found.rates)} figures of the same work differ, in 19 of 20 pairs.")
    print(_heard(found, threads))
    for one in advice:
        print(f"\n{one.name}: {one.why}\n  {one.command}")
    if not advice:
        print("\nNothing was found that would make it quieter.")


def _heard(found: Quiet, threads: int) -> str:
    noise = found.noise
    parts = [f"{threads} threads, {min(found.rates):.0f} to {max(found.rates):.0f} MiB/s of SHA-256"]
    parts += [f"load {noise['load']:g}"] if noise["load"] is not None else []
    parts += [f"stolen {noise['steal']:.1%}"] if noise["steal"] is not None else []
    parts += [f"waiting for {name} {share:.1%}" for name, share in noise["pressure"].items()]
    parts += [f"{noise['frequency']:.0f} MHz"] if noise["frequency"] is not None else []
    return ", ".join(parts)
