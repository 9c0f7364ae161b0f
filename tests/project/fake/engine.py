"""The executable: the worker of docs/ without anything of this package, with the same faults."""

from __future__ import annotations

from typing import Any

import example_worker  # type: ignore[import-not-found]

import chaos  # type: ignore[import-not-found] # they lie in one folder when it runs


class Engine(example_worker.Engine):
    """Goes wrong in the phase that `fault.json` names."""

    def __getattribute__(self, name: str) -> Any:
        """Each request is a method."""
        found = chaos.fault()
        if name in chaos.GOOD and found.get("phase") == name:
            chaos.ACTIONS[found["action"]]()
        return super().__getattribute__(name)


if __name__ == "__main__":
    example_worker.Engine = Engine
    example_worker.main()
