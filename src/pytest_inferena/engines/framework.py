"""A framework: an engine as this machine has it, ready to run or not."""

from __future__ import annotations

import shutil
import sys
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_inferena.engines.description import Backend, Description, KnownIssue, RegistryError
from pytest_inferena.engines.kinds import Kind, kind_of

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

    def footprint(self, backend: Backend) -> float | None:
        """MiB that must be shipped to run a backend; None if its files cannot be found from here."""
        size = self.kind.size(backend)
        return None if size is None else size / MIB

    def installed(self) -> tuple[dict[str, str], str]:
        """Versions of the distributions there are, and the reason why it cannot run ("" if it can)."""
        versions = dict(self.versions)
        if missing := [name for name in self.requirements if name not in versions]:
            return versions, f"{' and '.join(missing)} not installed: {self.remedy}"
        for name, tested in self.requirements.items():
            if not tested.contains(versions[name], prereleases=True):
                reason = f"{name} {versions[name]} is installed, {tested} was tested: {self.remedy}"
                return versions, reason
        return versions, ""

    def missing(self, backend: Backend) -> str:
        """Why a backend cannot run here, with the remedy; "" if it can."""
        if backend.platforms and sys.platform not in backend.platforms:
            return f"{backend.name} is for {' and '.join(backend.platforms)} only"
        absent = [tool for tool in backend.tools if shutil.which(tool) is None]
        tools = f"{' and '.join(absent)} not found on PATH: install it" if absent else ""
        return self.installed()[1] or self.kind.missing(backend) or tools
