"""Which device a backend's worker uses where this machine has several of a kind."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from pytest_inferena.machine.several import FAMILIES, DeviceError, Unit, alike, named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.engines.description import Backend


@dataclass(frozen=True)
class Placing:
    """What --inferena-device says, and else one for each of xdist's workers."""

    asked: Mapping[str, Unit] = field(default_factory=dict)
    """Kind → the device that was named."""
    rank: int = 0
    """The number of this worker of xdist's."""

    @classmethod
    def of(cls, config: pytest.Config) -> Placing:
        """Read and check the option.

        Raises:
            pytest.UsageError: there is no such device, or two of a kind are named.
        """
        asked: dict[str, Unit] = {}
        for word in config.getoption("inferena_device") or ():
            try:
                unit = named(word)
            except DeviceError as error:
                raise pytest.UsageError(f"--inferena-device={error}") from error
            if asked.setdefault(unit.kind, unit) != unit:
                raise pytest.UsageError(
                    f"--inferena-device={word}: {asked[unit.kind]} is named too; a run uses one device of a kind, "
                    "and with 'pytest -n 2' each process its own"
                )
        worker: Mapping[str, str] = getattr(config, "workerinput", {})
        rank = re.fullmatch("gw([0-9]{1,6})", worker.get("workerid", ""))  # `--tx popen//id=NAME` calls it otherwise
        return cls(asked, int(rank[1]) if rank else 0)

    def unit(self, backend: Backend) -> Unit | None:
        """The device for a backend; None if it is the CPU, or if nobody can tell which one it is."""
        there = alike(backend.device)
        return self._asked(backend) or (there[self.rank % len(there)] if there else None)

    def device(self, backend: Backend) -> str:
        """What a cell's key calls the device: `cuda`, and `cuda:1` if that was asked for."""
        asked = self._asked(backend)
        return f"{backend.device}:{asked.number}" if asked and asked.number else backend.device

    def placed(self, backend: Backend, unit: Unit | None) -> Backend:
        """The same backend, whose worker sees a device only."""
        own = unit.environment(backend.device_variable) if unit else {}
        return replace(backend, env={**backend.env, **own})

    def refusal(self, backend: Backend) -> str:
        """Why a backend can't be on the device that was asked for; "" if it can."""
        asked = self._asked(backend)
        if not asked or not asked.number or asked.environment(backend.device_variable):
            return ""
        return f"{backend.name} uses the first device: nothing tells it to use {asked}"

    def _asked(self, backend: Backend) -> Unit | None:
        return self.asked.get(FAMILIES.get(backend.device, backend.device))
