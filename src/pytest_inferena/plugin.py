"""pytest's hooks, and nothing else. Whatever is heavy is imported when a cell needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pytest_inferena.collect.model import Model
    from pytest_inferena.collect.target import Target
    from pytest_inferena.engines.framework import Framework
    from pytest_inferena.session.bench import Bench, Harness
    from pytest_inferena.session.celltest import CellTest
    from pytest_inferena.session.own import Inferena, Workers

COLLECTED: pytest.StashKey[bool] = pytest.StashKey()
"""Whether a test that uses a fixture of ours was collected."""
HARNESS: pytest.StashKey[Harness] = pytest.StashKey()
WORKERS: pytest.StashKey[Workers] = pytest.StashKey()
OWN_MARKER = (
    "inferena(model, framework, metric, size, weights, threads, batch, seq, inputs): what that fixture measures"
)
LEDGER = "pytest-benchmark"
"""The name under which pytest-benchmark's session is a plugin, however pytest-benchmark itself was loaded."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options; `settings.py` reads them. None and False say that one is not given."""
    group = parser.getgroup("inferena", "benchmarks of ML frameworks (pytest-inferena)")
    add = group.addoption
    add(
        "--inferena-report",
        action="append",
        metavar="FORMAT[:FILE]",
        help="tables: html, md, json, csv, coverage, terminal; to the terminal or a FILE (md+:FILE appends); "
        "may be given several times",
    )
    add(
        "--inferena-size",
        choices=("full", "tiny"),
        help="tiny: the same operators on small tensors, in seconds (default: full)",
    )
    add(
        "--inferena-weights",
        metavar="own|seeded|package|hub|PATH",
        help="those that the model comes with (default), seeded normal numbers (default where it comes with none), a "
        "checkpoint from an installed package, from the model hub, or a path",
    )
    add("--inferena-model", action="append", metavar="[NAME=]SOURCE",
        help="a model beside those that are registered: hf:FOLDER_OR_ID, diffusers:FOLDER, timm:NAME, "
        "torchvision:NAME, NET.pt2, MY_NET.py or MY_PACKAGE.MODULE:CALLABLE; may be given several times")  # fmt: skip
    parser.addini("inferena_models", "models as --inferena-model names them, one a line", "linelist")
    add("--inferena-columns", metavar="NAME[,NAME…]",
        help="columns beside those of the metrics: load, memory, throughput, gflops, peak")  # fmt: skip
    parser.addini("inferena_columns", "columns as --inferena-columns names them, one a line", "linelist")
    add("--inferena-batch", metavar="N[,N…]", help="elements in a batch, each a table (default: the model's own)")
    add("--inferena-seq", metavar="N[,N…]", help="length of a text in tokens, the same way")
    add("--inferena-inputs", metavar="noise,smooth", help="smooth: pictures, chirps and repeated tokens for inputs")
    add("--inferena-threads", metavar="N", help="thread budget of every engine (default: all CPUs)")
    add("--inferena-processes", metavar="N",
        help="processes of the engine that measure a cell, one after the other (default: 1)")  # fmt: skip
    add("--inferena-device", action="append", metavar="KIND:NUMBER",
        help="one of several devices of a kind, such as cuda:1 (default: the first); once for each kind")  # fmt: skip
    add("--inferena-software", action="store_true", help="also backends for GPUs where llvmpipe or alike stands in")
    add("--inferena-large", action="store_true", help="also the models marked large")
    add("--inferena-tuned", action="store_true", help="also the engines that search for fast kernels")
    add("--inferena-dry-run", action="store_true", help="say which cells would run, the minutes and the disk they take")
    add("--inferena-results", metavar="FILE", help="the journal (default: .inferena/RUN.jsonl)")
    add("--inferena-compare", metavar="FILE|REV",
        help="show what changed since a result file, or since this machine's last run of a revision")  # fmt: skip
    add("--inferena-fail-on", metavar="RULES",
        help="'inference>5%%,verdict' fails where a median is surely larger by more, or an outcome worse")  # fmt: skip
    add("--inferena-resume", action="store_true", help="go on with the last journal of this machine")
    add(
        "--inferena-timeout",
        action="append",
        metavar="PHASE=SECONDS",
        help="deadline of prepare, hello, load, compile, measure or outputs",
    )
    add("--inferena-memory", metavar="SIZE",
        help="memory that a worker, or the preparer, may take with all that it starts, such as 8GiB")  # fmt: skip
    add("--inferena-env", action="append", metavar="NAME",
        help="a variable of the environment that models and engines get too, such as HF_TOKEN")  # fmt: skip
    add("--inferena-python", action="append", metavar="FRAMEWORK=PATH",
        help="interpreter of a framework's worker")  # fmt: skip


def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """With --pyargs, name this project's benchmarks by their path in a checkout, where they cannot be imported."""
    if early_config.known_args_namespace.pyargs and any(each.startswith("pytest_inferena.benchmarks") for each in args):
        from pytest_inferena.collect.arguments import path_of

        args[:] = map(path_of, args)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare what others can implement."""
    from pytest_inferena import hooks

    pluginmanager.add_hookspecs(hooks)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers that tests of cells write themselves, and check our options where one is given."""
    for metric in ("compile", "inference", "latency", "training"):
        config.addinivalue_line("markers", f"{metric}: cells of the metric {metric}")
    config.addinivalue_line("markers", OWN_MARKER)
    given = (value for name, value in vars(config.option).items() if name.startswith("inferena_"))
    if any(value is not None and value is not False for value in given):
        from pytest_inferena.collect.settings import Settings, counts, kinds_of_inputs, pairs

        Settings.from_config(config)
        pairs("python", config)
        counts("batch", config)
        counts("seq", config)
        kinds_of_inputs(config)
    if config.option.markers:
        from pytest_inferena.collect.offer import offer

        offer(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that uses a fixture of ours once for each target."""
    marked = (mark.name == "inferena" for mark in metafunc.definition.own_markers)
    if {"_inferena_target", "_inferena_own"} & {*metafunc.fixturenames} or any(marked):
        from pytest_inferena.collect.misuse import refuse

        refuse(metafunc)
        _keep_own(metafunc.config)
    if "_inferena_target" in metafunc.fixturenames:
        from pytest_inferena.collect.offer import offer

        metafunc.config.stash[COLLECTED] = True
        parameters = offer(metafunc.config).parameters
        metafunc.parametrize("_inferena_target", parameters, indirect=True, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Where there are cells, or one is asked for, open a session around what others do with the tests."""
    collected = config.stash.get(COLLECTED, False)
    models = config.hook.pytest_inferena_models.get_hookimpls() or config.option.inferena_model
    named = config.option.markexpr and models
    if not (collected or named or config.option.inferena_dry_run):
        return (yield)
    from pytest_inferena.session import opening

    with opening.told(config, items):
        opening.before(config, items, collected=collected)
    result = None
    with opening.told(config, items):
        result = yield
        opening.after(config, items)
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_report_from_serializable(config: pytest.Config, data: dict[str, Any]) -> None:
    """In the process that distributes: a worker of xdist's has run a test of one's own, which has records."""
    if "inferena_own" in data:
        _keep_own(config)


def _keep_own(config: pytest.Config) -> None:
    if not config.pluginmanager.hasplugin("inferena-own"):
        from pytest_inferena.session.travel import OwnTests

        config.pluginmanager.register(OwnTests(config), "inferena-own")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """Open a session in the process that distributes, as soon as a worker has collected cells."""
    from pytest_inferena.session.handover import take

    if (found := take(node.workerinput)) is not None:
        from pytest_inferena.session.opening import follow

        follow(node.config, found)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the session kept on disk."""
    harness = config.stash.get(HARNESS, None)
    if harness is not None:
        harness.close()


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    """Explain a verdict."""
    if not config.pluginmanager.hasplugin("inferena-session"):
        return None
    from pytest_inferena.session.celltest import Golden, Measured

    return left.explain() if op == "==" and isinstance(left, Measured) and isinstance(right, Golden) else None


# Others may have fixtures of the public names, so ours depend on each other by names that nobody else has. A test uses
# a fixture of this plugin exactly where pytest finds `_inferena_target` among what it needs.


@pytest.fixture(scope="session", name="_inferena_target")
def parametrised_target(request: pytest.FixtureRequest) -> Target:
    """A model on a framework's backend."""
    if not hasattr(request, "param"):
        pytest.fail("only a function's arguments can ask for a cell: pytest parametrises those", pytrace=False)
    value: Target = request.param
    return value


@pytest.fixture(scope="session", name="_inferena_worker")
def started_worker(request: pytest.FixtureRequest, _inferena_target: Target) -> Iterator[Bench]:
    """The target's worker, whoever asks for it."""
    from pytest_inferena.session.bench import Bench, Harness
    from pytest_inferena.session.opening import SESSION

    config = request.config
    if HARNESS not in config.stash:
        config.stash[HARNESS] = Harness(config.stash[SESSION].settings)
    bench = Bench(config.stash[HARNESS], _inferena_target)
    yield bench
    bench.close()


@pytest.fixture(name="_inferena_cell")
def cell_of_test(request: pytest.FixtureRequest, _inferena_worker: Bench) -> Iterator[CellTest]:
    """This test's cell, with pytest-benchmark's fixture where that plugin is there."""
    from pytest_inferena.collect.selection import metric_of
    from pytest_inferena.session.celltest import CellTest
    from pytest_inferena.session.opening import SESSION

    has_ledger = request.config.pluginmanager.hasplugin(LEDGER)
    benchmark = request.getfixturevalue("benchmark") if has_ledger else None
    session = request.config.stash[SESSION]
    cell = session.settings.cell(_inferena_worker.target, metric_of(request.node))
    yield CellTest(request.node, _inferena_worker, cell, session.finished(cell))
    if benchmark is not None and benchmark.stats is None:
        benchmark.skipped = True  # a cell without figures has used the fixture


@pytest.fixture(name="_inferena_own")
def measuring(request: pytest.FixtureRequest) -> Iterator[Inferena]:
    """What a test of one's own measures with."""
    from pytest_inferena.session.opening import engines_of, session_of
    from pytest_inferena.session.own import Inferena, Workers

    stash, session = request.config.stash, session_of(request.config)
    benchmark = request.getfixturevalue("benchmark") if request.config.pluginmanager.hasplugin(LEDGER) else None
    if WORKERS not in stash:
        stash[WORKERS] = Workers(engines_of(request.config))
        request.session.addfinalizer(stash[WORKERS].close)
    made = Inferena(request.node, session.settings, stash[WORKERS])
    yield made
    made.close()
    if benchmark is not None and getattr(benchmark, "stats", benchmark) is None:
        benchmark.skipped = True  # it is there for --benchmark-only and -skip; rows are made of records


@pytest.fixture(scope="session")
def target(_inferena_target: Target) -> Target:
    """A model on a framework's backend: what a worker serves."""
    return _inferena_target


@pytest.fixture(scope="session")
def model(_inferena_target: Target) -> Model:
    """The model of this cell."""
    return _inferena_target.model


@pytest.fixture(scope="session")
def framework(_inferena_target: Target) -> Framework:
    """The framework of this cell."""
    return _inferena_target.framework


@pytest.fixture(scope="session")
def worker(_inferena_worker: Bench) -> Bench:
    """The target's worker. The first cell that needs it starts it, and it ends with the last one."""
    return _inferena_worker


@pytest.fixture
def cell(_inferena_cell: CellTest) -> CellTest:
    """This test's cell."""
    return _inferena_cell


@pytest.fixture
def inferena(_inferena_own: Inferena) -> Inferena:
    """Measures models on engines in a test of one's own; the marker `inferena` says what, where the call does not."""
    return _inferena_own
