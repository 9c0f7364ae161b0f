"""The three ways to start an engine's worker: Python, an executable, a package of cargo.

Each is a class with the same methods, so that no other module asks which kind an engine is.
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
        """The program that it runs instead of Python; "" if another interpreter may be chosen."""
        return ""

    def lacks(self) -> str:
        """What is wrong with the files beside adapter.toml; "" if nothing."""
        if self.says.exchange and not self.says.adapter.exists():
            return f"exchange = true, and {self.says.adapter.name}, which writes the files, is missing"
        return ""

    def sources(self) -> list[Path]:
        """The folders that hold the whole adapter, and its program. Results have a hash of them."""
        return [self.says.folder]

    @abstractmethod
    def command(self, backend: Backend) -> tuple[str, ...]:
        """The command that starts a worker, if nothing is missing."""

    def versions(self, backend: Backend | None = None) -> Mapping[str, str]:
        """Versions of what the engine is made of, by name."""
        del backend
        return distributions.versions(self.says.known)

    def missing(self, backend: Backend) -> str:
        """Why a backend cannot run although its distributions are installed, with the remedy; "" if it can."""
        del backend
        return ""

    def size(self, backend: Backend) -> int | None:
        """Bytes that must be shipped to run a backend; None if its files cannot be found from here."""
        program = Path(self.command(backend)[0])
        return program.stat().st_size if program.exists() else None

    def require(self, feature: str) -> None:
        """Refuse at once what `install` would work on for minutes, and fail.

        Raises:
            SetupError: the engine has no such feature, or a tool that builds it is missing.
        """
        if feature:
            raise SetupError(
                f"{self.says.title} is not built by cargo, so it has no feature {feature}; leave --feature out"
            )

    @abstractmethod
    def install(self, feature: str, own: str) -> Path:
        """Install the engine. What is installed already is left alone.

        Args:
            feature: the feature of cargo; "" for none.
            own: the name of an environment of its own; "" for this one.

        Returns:
            the interpreter that has it now, or its executable.

        Raises:
            SetupError: a step failed.
        """

    def wheel(self, output: Path) -> Path | None:
        """Make a wheel that holds the executable, in a folder; None if pip installs the engine without one."""
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
        """The interpreter with the worker, the adapter, and the distributions whose versions it reports."""
        python, says = self.says.interpreter(backend), self.says
        return (python, str(WORKER), says.name, str(says.adapter), *says.needs(backend))

    def versions(self, backend: Backend | None = None) -> Mapping[str, str]:
        """Versions of the required distributions that its interpreter has, or a backend's."""
        python = self.says.interpreter(backend) if backend else self.says.python
        if python == sys.executable:
            return super().versions()
        if backend and backend.build and not Path(python).exists():
            return {}
        return distributions.versions_elsewhere(self.says, python)

    def size(self, backend: Backend) -> int | None:
        """The size of the distributions and of what they require, without the interpreter and system libraries."""
        if self.says.interpreter(backend) != sys.executable:
            return None
        return footprint.size(self.says.requires, self.says.alone)

    def install(self, feature: str, own: str) -> Path:
        """Install by pip, into this interpreter or an environment of its own."""
        del feature
        return distributions.install(self.says, own)


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

    def sources(self) -> list[Path]:
        """The adapter's folder, and the program."""
        return [self.says.folder, self.says.folder / self.says.executable]

    def install(self, feature: str, own: str) -> Path:
        """Refuse: only its author knows how it is installed.

        Raises:
            SetupError: always.
        """
        del feature, own
        raise SetupError(f"{self.says.title} runs {self.says.executable}: {self.says.remedy}")


class Crate(Kind):
    """A package of cargo in the adapter's folder, built once. The preparer needs what it requires of Python."""

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
        """The adapter's folder, the packages that it names by path, and what was built of them."""
        builds = (self.built(backend) for backend in self.says.backends)
        return [*crates.packages(self.says.folder), *dict.fromkeys(build.program for build in builds if build)]

    def built(self, backend: Backend) -> crates.Build | None:
        """The executable that there is."""
        return crates.found(self.says.folder, self.says.cargo, backend.feature)

    def command(self, backend: Backend) -> tuple[str, ...]:
        """The executable alone; its bare name if it is not built."""
        built = self.built(backend)
        return (str(built.program if built else self.says.cargo),)

    def versions(self, backend: Backend | None = None) -> Mapping[str, str]:
        """Versions of the crates that the executable is built of, and of what the preparer has."""
        builds = (self.built(one) for one in self.says.backends)
        return {**super().versions(backend), **next((one.versions for one in builds if one), {})}

    def missing(self, backend: Backend) -> str:
        """Whether it is not built, or the environment's variable names no program."""
        build = self.built(backend)
        if build is None:
            feature = f" --feature {backend.feature}" if backend.feature else ""
            return f"{self.says.cargo}{feature and ' with'}{feature} is not built: {self.says.remedy}{feature}"
        return "" if shutil.which(build.program) else f"{build.program} is no program: {self.says.remedy}"

    def require(self, feature: str) -> None:
        """Refuse a feature that is not built yet if its backend's build tools are missing."""
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

    def install(self, feature: str, own: str) -> Path:
        """Build by cargo, then install by pip what the preparer needs."""
        try:
            program = crates.build(self.says.folder, self.says.cargo, feature).program
        except crates.CargoError as error:
            raise SetupError(f"{self.says.title}: {error}") from error
        if not self.says.requires:
            return program
        return distributions.install(self.says, own)

    def wheel(self, output: Path) -> Path:
        """Make a wheel of the executable without a feature.

        Raises:
            CargoError: it could not be made.
        """
        return crates.wheel(self.says.folder, self.says.cargo, self.says.title, output)


def kind_of(says: Description) -> Kind:
    """The kind that adapter.toml asks for."""
    return (Crate if says.cargo else Executable if says.executable else PythonWorker)(says)
