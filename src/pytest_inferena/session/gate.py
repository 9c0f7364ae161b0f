"""The run beside a base: what changed is shown, and what breaks a rule makes the run fail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_inferena import machine, results
from pytest_inferena.report import regression, replace_file

if TYPE_CHECKING:
    from pytest_inferena.session.controller import Session


class Gate:
    """Compares a session with its base. It is a plugin of its own, where --inferena-compare is given."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.base = base_of(str(session.settings.base), session)
        self.text = ""
        self.broken: list[str] = []

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Compare, and add what changed to the reports in Markdown."""
        if not self.session.records:
            return
        self.text, self.broken = regression.judge(self.base, self.session.gathered(), self.session.settings.rules)
        for target in self.session.settings.reports:
            if target.format == "md" and target.path is not None and target.path.is_file():
                said = "\n".join([self.text, *self.broken])
                try:
                    before = target.path.read_text(encoding="utf-8")
                    replace_file(target.path, f"{before}\n```text\n{said.strip()}\n```\n")
                except OSError as error:
                    self.session.troubles.append(f"what changed is not in {target.path}: {error.strerror}")
        if (self.broken or self.session.troubles) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what changed, and which rules are broken."""
        if not self.text:
            return
        run = self.base.run
        terminalreporter.section(f"inferena: compared with {run.commit or run.id}, {run.date[:16]}")
        terminalreporter.write(self.text)
        for sentence in self.broken:
            terminalreporter.line(f"inferena: {sentence}", red=True)


def base_of(named: str, session: Session) -> results.Results:
    """The results to compare with: of a file, or the newest journal of a revision on this machine.

    Raises:
        pytest.UsageError: there are none.
    """
    option = f"--inferena-compare={named}"
    try:
        if Path(named).is_file():
            return results.read(Path(named))
    except results.ResultsError as error:
        raise pytest.UsageError(f"{option}: {error}") from error
    commit = machine.commit(Path(session.config.rootpath), named)
    if commit is None:
        raise pytest.UsageError(f"{option}: neither a result file nor a revision that git knows here")
    here = session.run.platform
    found = results.latest(session.folder, lambda run: run.commit == commit and run.platform.is_same(here))
    if found is None:
        raise pytest.UsageError(
            f"{option}: .inferena has no run of {commit} on this machine; check it out and run these cells there, or "
            "name a file that --inferena-report=json:FILE wrote"
        )
    return found
