"""The three ways to start an engine's worker: Python, an executable, a package of cargo.

Each is a class with the same methods, so that nobody else asks which one an engine has.
"""

from __future__ import annotations

import shutil
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_inferena.engines import crates, distributions, footprint
from pytest_inferena.engines.distributions import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_inferena.engines.description import Backend, Description

WORKER = Path(__file__).parents[1] / "worker" / "__main__.py"
"""The Python worker, started by its path."""


class Kind(ABC):
    """How the worker of an engine is started, and what has to be there for it."""

    def __init__(self, says: Description) -> None:
        self.says = says

    @property
    def program(self) -> str:
        """What it runs instead of Python; "" where another interpreter may be chosen."""
        return ""

    def lacks(self) -> str:
        """What is wrong with the files beside adapter.toml; "" if nothing."""
        if self.says.exchange and not self.says.adapter.exists():
            return f"exchange = true, and {self.says.adapter.name}, which writes the files, is missing"
        return ""

    def sources(self) -> list[Path]:
        """The folders that hold all of the adapter: results have a hash of them."""
        return [self.says.folder]

    @abstractmethod
    def command(self, backend: Backend) -> tuple[str, ...]:
        """What starts a worker, where nothing is missing."""

    def versions(self) -> Mapping[str, str]:
        """Versions of what the engine is made of, by name."""
        return distributions.versions(self.says.requirements)

    def missing(self, backend: Backend) -> str:
        """Why a backend cannot run although its distributions are here, with the remedy; "" if it can."""
        del backend
        return ""

    def size(self, backend: Backend) -> int | None:
        """Bytes that must be shipped to run a backend; None where its files are not to be found from here."""
        program = Path(self.command(backend)[0])
        return program.stat().st_size if program.exists() else None

    def require(self, feature: str) -> None:
        """Refuse at once what `install` would do for minutes and not end well.

        Raises:
            SetupError: the engine has no such feature, or a tool that builds it is missing.
        """
        if feature:
            raise SetupError(
                f"{self.says.title} is not built by cargo, so it has no feature {feature}; leave --feature out"
            )

    @abstractmethod
    def install(self, feature: str, *, isolated: bool) -> Path:
        """Install the engine; what is there already is left alone.

        Returns:
            the interpreter that has it now, or its executable.

        Raises:
            SetupError: a step failed.
        """

    def wheel(self, output: Path) -> Path | None:
        """Make a wheel that holds the executable, in a folder; None where pip installs the engine as it is."""
        del output
        return None


class PythonWorker(Kind):
    """The worker of this package, in an interpreter that has the engine, with adapter.py."""

    def lacks(self) -> str:
        """The adapter has to be there."""
        if not self.says.adapter.exists():
            return f"{self.says.adapter.name} is missing beside it, and no executable is named"
        return super().lacks()

    def command(self, backend: Backend) -> tuple[str, ...]:
        """The interpreter with the worker, the adapter, and whose versions it is to say."""
        del backend
        return (self.says.python, str(WORKER), self.says.name, str(self.says.adapter), *self.says.requirements)

    def versions(self) -> Mapping[str, str]:
        """Of the required distributions that its interpreter has."""
        if self.says.python == sys.executable:
            return super().versions()
        return distributions.versions_elsewhere(self.says)

    def size(self, backend: Backend) -> int | None:
        """Of the distributions and what they require; the interpreter and the system's libraries are no part of it."""
        del backend
        if self.says.python != sys.executable:
            return None
        return footprint.size(self.says.requires, self.says.alone)

    def install(self, feature: str, *, isolated: bool) -> Path:
        """By pip, into this interpreter or an environment of its own."""
        del feature
        return distributions.install(self.says, isolated=isolated)


class Executable(Kind):
    """A program in the adapter's folder that speaks the worker protocol."""

    @property
    def program(self) -> str:
        """Its name in adapter.toml."""
        return self.says.executable

    def command(self, backend: Backend) -> tuple[str, ...]:
        """The program alone."""
        del backend
        return (str(self.says.folder / self.says.executable),)

    def install(self, feature: str, *, isolated: bool) -> Path:
        """Nobody but its author knows how.

        Raises:
            SetupError: always.
        """
        del feature, isolated
        raise SetupError(f"{self.says.title} runs {self.says.executable}: {self.says.remedy}")


class Crate(Kind):
    """A package of cargo in the adapter's folder, built once; what it requires of Python is for the preparer."""

    @property
    def program(self) -> str:
        """The executable's name."""
        return self.says.cargo

    def lacks(self) -> str:
        """Cargo.toml has to be there."""
        if not (self.says.folder / "Cargo.toml").exists():
            return f"cargo = {self.says.cargo!r}, and there is no Cargo.toml beside it"
        return super().lacks()

    def sources(self) -> list[Path]:
        """The adapter's folder, and the packages that it names by path."""
        return crates.packages(self.says.folder)

    def built(self, backend: Backend) -> crates.Build | None:
        """The executable that there is."""
        return crates.found(self.says.folder, self.says.cargo, backend.feature)

    def command(self, backend: Backend) -> tuple[str, ...]:
        """The executable alone; its bare name, where it is not built."""
        built = self.built(backend)
        return (str(built.program if built else self.says.cargo),)

    def versions(self) -> Mapping[str, str]:
        """Of what an executable is built of, and of what the preparer has."""
        builds = (self.built(backend) for backend in self.says.backends)
        return {**super().versions(), **next((one.versions for one in builds if one), {})}

    def missing(self, backend: Backend) -> str:
        """It is not built, or what the environment names is no program."""
        build = self.built(backend)
        if build is None:
            feature = f" --feature {backend.feature}" if backend.feature else ""
            return f"{self.says.cargo}{feature and ' with'}{feature} is not built: {self.says.remedy}{feature}"
        return "" if shutil.which(build.program) else f"{build.program} is no program: {self.says.remedy}"

    def require(self, feature: str) -> None:
        """A feature that is not built yet takes its backend's tools."""
        for backend in self.says.backends:
            if not feature or backend.feature != feature or self.built(backend):
                continue
            if backend.platforms and sys.platform not in backend.platforms:
                raise SetupError(f"{self.says.title}: {feature} is for {' and '.join(backend.platforms)} only")
            for tool, source in backend.build_tools.items():
                if shutil.which(tool) is None:
                    raise SetupError(
                        f"{self.says.title}: {feature} is built with {tool}, which is not on PATH: {source}"
                    )

    def install(self, feature: str, *, isolated: bool) -> Path:
        """By cargo; then by pip what the preparer needs."""
        try:
            program = crates.build(self.says.folder, self.says.cargo, feature).program
        except crates.CargoError as error:
            raise SetupError(f"{self.says.title}: {error}") from error
        if not self.says.requires:
            return program
        return distributions.install(self.says, isolated=isolated)

    def wheel(self, output: Path) -> Path:
        """Of the executable that is built without a feature.

        Raises:
            CargoError: it could not be made.
        """
        return crates.wheel(self.says.folder, self.says.cargo, self.says.title, output)


def kind_of(says: Description) -> Kind:
    """The one that adapter.toml asks for."""
    return (Crate if says.cargo else Executable if says.executable else PythonWorker)(says)
