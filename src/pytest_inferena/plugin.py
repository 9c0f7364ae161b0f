"""pytest's hooks, and nothing else. Whatever is heavy is imported when a cell needs it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_inferena.session.travel import OwnTests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_inferena.collect.model import Model
    from pytest_inferena.collect.registry import Registry
    from pytest_inferena.collect.target import Target
    from pytest_inferena.engines.framework import Framework
    from pytest_inferena.session.bench import Bench, Harness
    from pytest_inferena.session.celltest import CellTest
    from pytest_inferena.session.controller import Session
    from pytest_inferena.session.own import Inferena, Workers

REGISTRY: pytest.StashKey[Registry] = pytest.StashKey()
PARAMETERS: pytest.StashKey[list[Any]] = pytest.StashKey()
SESSION: pytest.StashKey[Session] = pytest.StashKey()
HARNESS: pytest.StashKey[Harness] = pytest.StashKey()
WORKERS: pytest.StashKey[Workers] = pytest.StashKey()
OURS = frozenset({"target", "model", "framework", "worker", "cell", "inferena"})
OWN_MARKER = "inferena(model, framework, metric, size, weights, threads): what the fixture of that name measures"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; `settings.py` reads them."""
    group = parser.getgroup("inferena", "benchmarks of ML frameworks (pytest-inferena)")
    add = group.addoption
    add(
        "--inferena-report",
        action="append",
        default=[],
        metavar="FORMAT[:FILE]",
        help="tables: html, md, json, csv, coverage, terminal; to the terminal or a FILE (md+:FILE appends); "
        "may be given several times",
    )
    add(
        "--inferena-size",
        choices=("full", "tiny"),
        default="full",
        help="tiny: the same operators on small tensors, in seconds (default: full)",
    )
    add(
        "--inferena-weights",
        default="seeded",
        metavar="seeded|package|hub|PATH",
        help="seeded normal weights (default), a checkpoint from an installed package, from the model hub, or a path",
    )
    add("--inferena-threads", type=int, metavar="N", help="thread budget of every engine (default: all CPUs)")
    add("--inferena-large", action="store_true", help="also the models marked large")
    add("--inferena-tuned", action="store_true", help="also the engines that search for fast kernels")
    add(
        "--inferena-dry-run",
        action="store_true",
        help="say which cells would run, the minutes and the disk they take",
    )
    add("--inferena-results", metavar="FILE", help="the journal (default: .inferena/RUN.jsonl)")
    add("--inferena-resume", action="store_true", help="go on with the last journal of this machine")
    add(
        "--inferena-timeout",
        action="append",
        default=[],
        metavar="PHASE=SECONDS",
        help="deadline of prepare, hello, load, compile, measure or outputs",
    )
    add("--inferena-python", action="append", default=[], metavar="FRAMEWORK=PATH",
        help="interpreter of a framework's worker")  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """With --pyargs, find a checkout's benchmarks and load their conftest now: collection is too late for markers."""
    known = early_config.known_args_namespace
    if known.pyargs:
        from pytest_inferena.collect.arguments import folder_of, path_of

        named = {argument: path_of(argument) for argument in known.file_or_dir}
        args[:] = [named.get(argument, argument) for argument in args]
        known.file_or_dir = [folder_of(path) for path in named.values()]


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare what others can implement."""
    from pytest_inferena import hooks

    pluginmanager.add_hookspecs(hooks)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read the registry and declare a marker for everything in it."""
    from pytest_inferena.collect.registry import collect
    from pytest_inferena.collect.selection import declare_markers
    from pytest_inferena.collect.settings import Settings, pairs
    from pytest_inferena.collect.shipped import with_interpreters
    from pytest_inferena.engines.framework import RegistryError

    try:
        registry = with_interpreters(collect(config.hook), pairs("python", config))
    except RegistryError as error:
        raise pytest.UsageError(f"inferena: {error}") from error
    config.stash[REGISTRY] = registry
    config.addinivalue_line("markers", OWN_MARKER)
    declare_markers(config, registry)
    if registry.models and registry.frameworks:
        from pytest_inferena.session.controller import Session

        session = config.stash[SESSION] = Session(config, Settings.from_config(config), registry)
        config.pluginmanager.register(session, "inferena-session")
        if config.getoption("dist", default="no") != "no" and not hasattr(config, "workerinput"):
            from pytest_inferena.session.distributed import Controller

            config.pluginmanager.register(Controller(config, session.cells), "inferena-controller")
    if not config.pluginmanager.hasplugin("benchmark"):
        from pytest_inferena.session.ledger import NoBenchmark

        config.pluginmanager.register(NoBenchmark(), "inferena-no-benchmark")
    config.pluginmanager.register(OwnTests(config, partial(_session, config)), "inferena-own")


def _session(config: pytest.Config) -> Session:
    """The session of this run. Where nothing is registered, the first test of one's own makes it."""
    if SESSION not in config.stash:
        from pytest_inferena.collect.settings import Settings
        from pytest_inferena.session.controller import Session

        session = config.stash[SESSION] = Session(config, Settings.from_config(config), _engines(config))
        config.pluginmanager.register(session, "inferena-session")
    return config.stash[SESSION]


def _engines(config: pytest.Config) -> Registry:
    """What tests of one's own can name: all that is registered, and this project's engines."""
    from pytest_inferena.collect.settings import pairs
    from pytest_inferena.collect.shipped import with_shipped

    return with_shipped(config.stash[REGISTRY], pairs("python", config))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for a cell or a worker once for each target. Other tests may have their own `target`."""
    if OURS & {*metafunc.fixturenames, *(mark.name for mark in metafunc.definition.own_markers)}:
        from pytest_inferena.collect.misuse import refuse

        refuse(metafunc)
    if {"cell", "worker"} & {*metafunc.fixturenames}:
        from pytest_inferena.collect.selection import parameters

        stash = metafunc.config.stash
        found = stash[PARAMETERS] = stash.get(PARAMETERS, []) or parameters(stash[REGISTRY])
        metafunc.parametrize("target", found, indirect=True, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the cells of a worker together, compile first, and leave out what has to be asked for."""
    if SESSION in config.stash and any("cell" in getattr(item, "fixturenames", ()) for item in items):
        from pytest_inferena.collect.selection import arrange

        arrange(config, items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give a cell its clock before pytest-benchmark's fixture looks for one."""
    if "cell" in getattr(item, "fixturenames", ()) and item.config.pluginmanager.hasplugin("benchmark"):
        from pytest_inferena.session.ledger import mark

        mark(item)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the session kept on disk."""
    harness = config.stash.get(HARNESS, None)
    if harness is not None:
        harness.close()


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain a verdict."""
    from pytest_inferena.session.celltest import Golden, Measured

    return left.explain() if op == "==" and isinstance(left, Measured) and isinstance(right, Golden) else None


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """A model on a framework's backend: what a worker serves."""
    value: Target = request.param
    return value


@pytest.fixture(scope="session")
def model(target: Target) -> Model:
    """The model of this cell."""
    return target.model


@pytest.fixture(scope="session")
def framework(target: Target) -> Framework:
    """The framework of this cell."""
    return target.framework


@pytest.fixture(scope="session")
def worker(request: pytest.FixtureRequest, target: Target) -> Iterator[Bench]:
    """The target's worker. The first cell that needs it starts it, and it ends with the last one."""
    from pytest_inferena.session.bench import Bench, Harness

    config = request.config
    if HARNESS not in config.stash:
        config.stash[HARNESS] = Harness(config.stash[SESSION].settings)
    bench = Bench(config.stash[HARNESS], target)
    yield bench
    bench.close()


@pytest.fixture
def cell(request: pytest.FixtureRequest, worker: Bench, benchmark: Any) -> Iterator[CellTest]:
    """This test's cell."""
    from pytest_inferena.collect.selection import metric_of
    from pytest_inferena.session.celltest import CellTest

    session = request.config.stash[SESSION]
    cell = session.settings.cell(worker.target, metric_of(request.node))
    yield CellTest(request.node, worker, cell, session.finished(cell))
    if benchmark is not None and benchmark.stats is None:
        benchmark.skipped = True  # a cell without figures has used the fixture


@pytest.fixture
def inferena(request: pytest.FixtureRequest) -> Iterator[Inferena]:
    """Measures models on engines in a test of one's own; the marker `inferena` says what, where the call does not."""
    from pytest_inferena.session.own import Inferena, Workers

    stash, session = request.config.stash, _session(request.config)
    has_benchmark = request.config.pluginmanager.hasplugin("pytest-benchmark")  # its session, in whatever way it came
    benchmark = request.getfixturevalue("benchmark") if has_benchmark else None
    if WORKERS not in stash:
        stash[WORKERS] = Workers(_engines(request.config))
        request.session.addfinalizer(stash[WORKERS].close)
    made = Inferena(request.node, session.settings, stash[WORKERS])
    yield made
    made.close()
    if benchmark is not None and getattr(benchmark, "stats", benchmark) is None:
        benchmark.skipped = True  # it is there for --benchmark-only and -skip; rows are made of records
