"""A framework: an engine as this machine has it, ready to run or not."""

from __future__ import annotations

import shutil
import sys
from functools import cache, cached_property
from typing import TYPE_CHECKING

from pytest_inferena.engines.description import Backend, Description, KnownIssue, RegistryError
from pytest_inferena.engines.kinds import Kind, kind_of
from pytest_inferena.machine import devices, several

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Backend", "Framework", "KnownIssue", "RegistryError"]

MIB = 1 << 20


class Framework(Description):
    """What adapter.toml says, and whether the engine can run here. Its kind knows how."""

    def check(self, file: Path) -> None:
        """Raise RegistryError if adapter.toml is wrong, or the files beside it are."""
        super().check(file)
        if lacking := self.kind.lacks():
            raise RegistryError(f"{file}: {lacking}")

    @cached_property
    def kind(self) -> Kind:
        """How its worker is started."""
        return kind_of(self)

    @property
    def sources(self) -> list[Path]:
        """The folders that hold all of its adapter."""
        return self.kind.sources()

    def command(self, backend: Backend) -> tuple[str, ...]:
        """What starts its worker, where nothing is missing."""
        return self.kind.command(backend)

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """Versions of the required distributions in its interpreter, or of what an executable is built of."""
        return self.kind.versions()

    @cache  # noqa: B019 - there are few frameworks, and they live as long as the process
    def _versions_for(self, backend: Backend) -> Mapping[str, str]:
        """Versions in the environment of a backend that is built."""
        return self.kind.versions(backend)

    def footprint(self, backend: Backend) -> float | None:
        """MiB that must be shipped to run a backend; None if its files cannot be found from here."""
        size = self.kind.size(backend)
        return None if size is None else size / MIB

    def installed(self, backend: Backend | None = None) -> tuple[dict[str, str], str]:
        """Versions of the distributions there are, and the reason why it, or a backend, cannot run ("" if it can)."""
        if backend and backend.build and self.exchange and (reason := self.installed()[1]):
            return dict(self.versions), reason  # the preparer, which writes its files, is here
        versions = dict(self._versions_for(backend) if backend and backend.build else self.versions)
        needs = self.needs(backend) if backend else self.requirements
        own = f" --backend {backend.name}" if backend and (backend.requires or backend.build) else ""
        if missing := [name for name in needs if name not in versions]:
            rivals = [name for name in (backend.replaces if backend else ()) if name in versions]
            apart = f", which cannot be beside {' and '.join(rivals)}" if rivals else ""
            alone = " --isolated" if rivals and "--isolated" not in self.remedy else ""
            return versions, f"{' and '.join(missing)} not installed{apart}: {self.remedy}{alone}{own}"
        for name, tested in needs.items():
            if not tested.contains(versions[name], prereleases=True):
                reason = f"{name} {versions[name]} is installed, {tested} was tested: {self.remedy}{own}"
                return versions, reason
        return versions, ""

    def in_software(self, backend: Backend) -> bool:
        """Whether a backend is for GPUs, runs on the CPU for lack of one, and the engine has a backend for CPUs."""
        stands_in = backend.device in devices.THROUGH_DRIVERS and not devices.has_gpu()
        return stands_in and any(other.device == "cpu" for other in self.backends)

    def missing(self, backend: Backend) -> str:
        """Why a backend cannot run here, with the remedy; "" if it can."""
        if backend.platforms and sys.platform not in backend.platforms:
            return f"{backend.name} is for {' and '.join(backend.platforms)} only"
        if reason := devices.absent(backend.device) or several.hidden(backend.device):
            return reason
        absent = [tool for tool in backend.tools if shutil.which(tool) is None]
        tools = f"{' and '.join(absent)} not found on PATH: install it" if absent else ""
        return self.installed(backend)[1] or self.kind.missing(backend) or tools
