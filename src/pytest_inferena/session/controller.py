"""The controller's side of a session: journal, resume, verdict words, live line, reports."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from pytest_inferena import machine, results
from pytest_inferena.cell import METRICS, Outcome
from pytest_inferena.collect.selection import target_of
from pytest_inferena.processes.workload import Workload
from pytest_inferena.report import ReportError, ReportTarget, render, write
from pytest_inferena.report.names import place
from pytest_inferena.session.attempts import Attempts
from pytest_inferena.session.ending import interrupt_on_signals
from pytest_inferena.session.ledger import Ledger
from pytest_inferena.session.plan import cells, history, plan
from pytest_inferena.session.progress import Live
from pytest_inferena.session.story import STORY, Story, record_of
from pytest_inferena.store import cache
from pytest_inferena.store.disk import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pytest_inferena.cell import Cell, Key
    from pytest_inferena.collect.registry import Registry
    from pytest_inferena.collect.settings import Settings
    from pytest_inferena.collect.target import Target


class Session:
    """One run of pytest with cells in it. It is a plugin of its own."""

    def __init__(self, config: pytest.Config, settings: Settings, registry: Registry) -> None:
        self.config, self.settings, self.registry = config, settings, registry
        self.controller = not hasattr(config, "workerinput")
        self.folder = Path(config.rootpath) / ".inferena"
        self.run = self._header()
        self.path = settings.results or self.folder / f"{self.run.id}.jsonl"
        self.records: dict[Key, results.Record] = {}
        self.attempts = Attempts()
        self.ledger = Ledger(config)
        self.resumed: dict[Key, results.Record] = {}
        self.journal: results.Journal | None = None
        self.stopped = False
        """Whether the journal cannot be written any more."""
        self.troubles: list[str] = []
        """What was asked for and could not be written."""
        self.notes = [engine.note for engine in registry.frameworks.values() if engine.note]
        self.notes += registry.namesakes()
        self.live = Live(config, settings)
        self._undo: Callable[[], None] = lambda: None
        if settings.resume:
            self._resume()
        if self.controller and not config.option.collectonly:
            self._undo = interrupt_on_signals()

    # -- running

    def finished(self, cell: Cell) -> results.Record | None:
        """The record of a cell that the resumed journal has."""
        return self.resumed.get(cell.key)

    def leave_to_codspeed(self, items: list[pytest.Item]) -> None:
        """Leave cells out if pytest-codspeed measures: it sees this process, and they run in others."""
        found, codspeed = [*filter(target_of, items)], self.config.pluginmanager.get_plugin("codspeed_plugin")
        if found and getattr(codspeed, "is_codspeed_enabled", False):
            self.config.hook.pytest_deselected(items=found)
            gone = {*found}
            items[:] = [item for item in items if item not in gone]
            self.notes.append("--codspeed measures pytest's own process, and cells run in others: they were left out")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Reckon how long the cells will take, if there is a line that shows it."""
        if self.live.shows() and not session.config.option.collectonly:
            self.live.expect(session.items, history(self.folder))

    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """With --inferena-dry-run, say what would run, and run nothing."""
        if not self.settings.dry_run:
            if self.controller and not session.config.option.collectonly:
                self._require_cache()
            return None
        session.config.get_terminal_writer().line(plan(session.items, self.settings, history(self.folder)))
        return True

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Show which cell runs."""
        self.live.start(nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """An attempt at a cell begins."""
        if target_of(item) is not None:
            [(nodeid, target, cell)] = cells([item], self.settings)
            item.stash[STORY] = Story.of(cell, self.settings.call.again(target, cell, item.path, nodeid))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Bring a cell's record and pytest's report in line. Ours is the last word: others have changed the report."""
        report = yield
        if STORY in item.stash:
            item.stash[STORY].tell(report, call.excinfo.value if call.excinfo else None)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a cell's record as soon as it is there, and whatever changes it later."""
        if not self.controller or hasattr(report, "context"):  # a subtest's: the test has a report of its own
            return
        own = record_of(report)
        self.ledger.enter(report, own)
        record = self.attempts.add(report, own)
        if record is None or record == self.records.get(record.key):
            return
        self.keep(report.nodeid, record)

    def keep(self, nodeid: str, record: results.Record) -> None:
        """Take in the record of a test that has run."""
        self.live.done(nodeid, record.outcome)
        self.records[record.key] = record
        if record != self.resumed.get(record.key):
            self._write(record)
            self.notes += [note for note in record.extra.get("notes", ()) if note not in self.notes]
        try:
            self.config.hook.pytest_inferena_record(record=results.plain(record))
        except Exception as error:  # noqa: BLE001 - somebody else's; the run and its figures go on
            note = f"a hook pytest_inferena_record raised {type(error).__name__}: {error}"
            self.notes += [note] if note not in self.notes else []

    def name_model(self, name: str, title: str, unit: str, items: int) -> None:
        """Take in what a model is called that only a test has named. The journal's header has those before it."""
        titles = self.run.titles
        models, units = {name: title, **titles.models}, dict(titles.units)
        if unit and items:
            units.setdefault(name, (unit, items))
        self.run = replace(self.run, titles=replace(titles, models=models, units=units))

    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Count CLOSE apart, in yellow, as passed."""
        if report.when != "call" or not report.passed or hasattr(report, "wasxfail"):
            return None
        record = record_of(report)
        close = record is not None and record.outcome is Outcome.CLOSE
        return ("close", "c", ("CLOSE", {"yellow": True})) if close else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the reports that go to files, and close the journal. If it fails, so does the run."""
        if not self.controller:
            return
        self.live.clear()
        if self.journal is not None:
            self.journal.close()
        if self.records:
            try:
                write(self.gathered(), [target for target in self.settings.reports if target.path is not None])
            except ReportError as error:
                self.troubles.append(str(error))
        if self.troubles and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_unconfigure(self) -> None:
        """Leave signals as they were."""
        self._undo()

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the tables, and whatever went wrong with files."""
        if self.records:
            from pytest_inferena.report import terminal
            from pytest_inferena.report.encodings import within

            writer = terminalreporter._tw  # noqa: SLF001 - the width and the file pytest itself writes to
            asked = [target for target in self.settings.reports if target.path is None]
            for target in asked or [ReportTarget("terminal", None)]:
                terminalreporter.section("inferena")
                if target.format == "terminal":
                    text = terminal.render(self.gathered(), writer.fullwidth, dress=terminalreporter.hasmarkup)
                else:
                    text = render(self.gathered(), target.format)
                terminalreporter.write(within(text, getattr(writer._file, "encoding", None)))  # noqa: SLF001
            terminalreporter.line(f"journal: {_short(self.path)}")
            for line in self.settings.unused:
                terminalreporter.line(f"inferena: {line}", yellow=True)
        for note in self.notes:
            terminalreporter.line(f"inferena: {note}", yellow=True)
        for trouble in self.troubles:
            terminalreporter.line(f"inferena: {trouble}", red=True)

    def gathered(self) -> results.Results:
        """The records of this session: measured, or taken over from the journal that it resumed."""
        records = {**self.resumed, **self.records}
        order = [*self.registry.models, *self.registry.frameworks, *METRICS]  # under xdist they come in any order
        ranked = sorted(
            records.values(),
            key=lambda record: [place(order, name) for name in (record.model, record.framework, record.metric)],
        )
        return results.Results(self.run, tuple(ranked))

    @staticmethod
    def _require_cache() -> None:
        try:
            cache.require()
        except CacheError as error:
            raise pytest.UsageError(str(error)) from error

    # -- the journal

    def _header(self) -> results.Run:
        now = dt.datetime.now(dt.UTC)
        models, frameworks = self.registry.models, self.registry.frameworks
        return results.Run(
            id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
            date=now.isoformat(timespec="seconds"),
            commit=machine.commit(Path(self.config.rootpath)),
            command=self.settings.command,
            platform=machine.describe(),
            threads=self.settings.threads,
            columns=self.settings.columns,
            plugin=importlib.metadata.version("pytest-inferena"),
            titles=results.Titles(
                models={name: model.title for name, model in models.items()},
                frameworks={name: framework.title for name, framework in frameworks.items()},
                languages={name: framework.language for name, framework in frameworks.items()},
                units={name: (model.unit, model.items) for name, model in models.items() if model.unit and model.items},
            ),
        )

    def _write(self, record: results.Record) -> None:
        """Append to the journal. If that fails, go on: the tables are made from memory."""
        if self.stopped:
            return
        try:
            self.journal = self.journal or results.Journal(self.path, self.run)
            self.journal.append(record)
        except results.RecordError as error:
            self.stopped = self.journal is None  # the header is refused
            self.troubles.append(str(error))
        except results.ResultsError as error:
            self.stopped = True
            self.troubles.append(f"{error}; what is measured from here on is only in the tables below")

    def _resume(self) -> None:
        """Take over the last journal of this machine: those cells that would be the same today."""
        run, named = self.run, self.settings.results
        try:
            if named is None:
                found = results.latest(self.folder, lambda old: old.platform == run.platform)
            else:
                found = results.read(named) if named.is_file() else None
        except results.ResultsError as error:
            raise pytest.UsageError(f"--inferena-resume: {error}") from error
        if found is None or found.run.platform != run.platform:
            where = f"no journal of this machine at {named}" if named else "no journal of this machine"
            self.notes.append(f"--inferena-resume: there is {where}, so everything was measured")
            return
        known = {
            self.settings.cell(target, metric).key: target for target in self.registry.targets for metric in METRICS
        }
        for old in found.records:
            if old.key in known and old.outcome.judged and self._still(old, known[old.key]):
                self.resumed[old.key] = replace(old, flags=(*(set(old.flags) - {"resumed"}), "resumed"))
        self.run = replace(found.run, columns=run.columns)
        self.path = self.settings.results or self.folder / f"{found.run.id}.jsonl"
        if self.controller and not (self.settings.dry_run or self.config.option.collectonly):
            try:
                self.journal = results.Journal(self.path, self.run)
            except results.ResultsError as error:
                raise pytest.UsageError(f"--inferena-resume: {error}") from error

    def _still(self, record: results.Record, target: Target) -> bool:
        """Whether model, weights, adapter and versions are today's, and as many processes measured as are to."""
        from pytest_inferena.processes.preparer import still_made_of

        workload = Workload.of(target, self.settings)
        versions, _ = target.framework.installed()
        return bool(
            (len(record.samples) >= self.settings.processes or self.settings.judges_only)
            and record.versions == versions
            and still_made_of(workload, target, record.hashes)
        )


def _short(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
