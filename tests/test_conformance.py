"""The conformance suite: every adapter and every executable that speaks the worker protocol passes it.

`INFERENA_WORKER='./worker --option' pytest tests/test_conformance.py -k given` runs it against a command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.conformance import KNOWN, QUICK, Client, Engine, client, engines, prepare, remade, with_unknown_operator
from tests.test_program_page import FIRST, SECOND

from pytest_inferena.cell import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_inferena.processes.preparer import Prepared

UNKNOWN = "unsupported operator aten.no_such_operator, node "


@pytest.fixture(scope="module", params=engines())
def engine(request: pytest.FixtureRequest) -> Engine:
    """A worker's command."""
    found = engines()[request.param]
    if reason := found.framework.missing(found.backend):
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def prepared(engine: Engine, cache: Path) -> Iterator[Prepared]:
    """The suite's model for the engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERENA_CACHE", str(cache))
        yield prepare(engine)


@pytest.fixture(scope="module")
def loaded(engine: Engine, prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A worker that has loaded the model and compiled all its entries, last first."""
    with client(engine, prepared, tmp_path_factory.mktemp("loaded") / "worker") as made:
        made.hello()
        made.load()
        for entry in reversed(engine.target().entries()):
            assert made.ask("compile", entry=entry)["ns"] > 0
        yield made


@pytest.fixture
def fresh(engine: Engine, prepared: Prepared, tmp_path: Path) -> Iterator[Client]:
    """A worker that has been asked nothing yet."""
    with client(engine, prepared, tmp_path / "worker") as made:
        yield made


def metrics(engine: Engine) -> list[str]:
    """The metrics an engine has, each an entry of its own."""
    return [metric for metric in METRICS if metric != "compile" and not engine.target().absent(metric)]


def test_results_are_golden_whatever_order_entries_were_compiled_in(loaded: Client) -> None:
    """Outputs, loss and gradients of every entry pass the gate."""
    wanted = metrics(loaded.engine)

    assert dict.fromkeys(wanted, "pass") == {metric: loaded.verdict(metric) for metric in wanted}


def test_results_are_golden_after_steps_were_timed_in_turn(loaded: Client) -> None:
    """Each entry keeps the outputs of its own last step while others run."""
    wanted = metrics(loaded.engine)
    for metric in wanted * 2:
        loaded.ask("measure", entry=loaded.engine.target().entry(metric), loop=QUICK)

    assert dict.fromkeys(wanted, "pass") == {metric: loaded.verdict(metric) for metric in wanted}


@pytest.mark.parametrize(
    ("loop", "samples", "warmups"),
    [
        ({"min_rounds": 1, "max_rounds": 1, "few": 1, "warmup": False}, 1, False),
        ({"min_rounds": 4, "max_rounds": 4, "warmup": False}, 4, False),
        ({"min_rounds": 12, "max_rounds": 10, "warmup": False}, 12, False),
        ({"min_rounds": 3, "max_rounds": 100, "max_time": 1e-9, "give_up": 30.0, "precision": 0.0}, 3, True),
        ({"min_rounds": 100, "max_rounds": 100, "give_up": 1e-9, "few": 7, "warmup": False}, 7, False),
    ],
    ids=["once", "few rounds", "more than the most", "warm-up", "give up"],
)
def test_measure_obeys_the_loop(loaded: Client, loop: dict[str, Any], samples: int, warmups: bool) -> None:
    """As many samples as the fields ask for, a warm-up only where it is wanted, and all fields of the answer."""
    reply = loaded.ask("measure", entry="inference", loop=loop)

    assert (samples, warmups) == (len(reply["ns"]), reply["warmups"] >= 3)
    assert (samples < loop["min_rounds"]) == reply["few"]
    assert min(reply["ns"]) > 0
    assert warmups or (0, 1) == (reply["warmups"], reply["steps_per_sample"])


def test_two_measures_in_a_row_both_count(loaded: Client) -> None:
    """Measuring again starts anew."""
    replies = [loaded.ask("measure", entry="latency", loop=QUICK) for _ in range(2)]

    assert [3, 3] == [len(reply["ns"]) for reply in replies]


def test_outputs_replace_the_file(loaded: Client) -> None:
    """A file of an earlier answer is no hindrance, and nothing of it is left."""
    file = loaded.folder / "inference.safetensors"
    file.write_bytes(b"x" * 1_000_000)

    assert "pass" == loaded.verdict("inference")
    assert file.stat().st_size < 100_000


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (b'{"request": "dance"}\n', "dance"),
        (b"{}\n", "request"),
        (b'{"request": "measure", "entr\n', "JSON"),
        (b"\xff\xfe\n", "JSON"),
        (b"\n", "JSON"),
        (b"[1, 2]\n", "object"),
        (b"[" * 100_000 + b"\n", "JSON"),
        (b'{"request": "' + b"x" * (1 << 20) + b'"}\n', "1048576"),
    ],
    ids=["unknown", "bare", "half", "binary", "empty", "list", "deep", "long"],
)
def test_nonsense_is_answered_and_survived(loaded: Client, line: bytes, word: str) -> None:
    """Whatever a line holds, the answer is a typed error that says what was wrong, and the next request works."""
    reply = loaded.raw(line)

    assert (False, "error") == (reply["ok"], reply["kind"])
    assert word in reply["message"]
    assert "pass" == loaded.verdict("inference")


@pytest.mark.parametrize(
    ("request_name", "fields"),
    [
        ("compile", {"entry": "no_such_entry"}),
        ("measure", {"entry": "no_such_entry", "loop": QUICK}),
        ("measure", {"entry": "inference", "loop": {"no_such_field": 1}}),
        ("outputs", {"entry": "no_such_entry", "file": "x"}),
        ("outputs", {"entry": "inference", "file": "/dev/null/x"}),
        ("compile", {}),
        ("load", {"program": "/no/such/folder", "entries": ["inference"]}),
    ],
)
def test_impossible_requests_are_errors(loaded: Client, request_name: str, fields: dict[str, Any]) -> None:
    """A request that names what is not there is answered with an error, and what was compiled still runs."""
    failure = loaded.refused(request_name, **fields)

    assert "error" == failure.outcome
    assert 3 == len(loaded.ask("measure", entry="inference", loop=QUICK)["ns"])


def test_hello_comes_first_and_in_the_workers_version(fresh: Client) -> None:
    """Before `hello`, and after one in another version, there is nothing but errors; the right one then works."""
    entries = fresh.engine.target().entries()
    early = [
        fresh.refused("load", program=str(fresh.prepared.program), entries=entries).outcome,
        fresh.refused("compile", entry="inference").outcome,
        fresh.refused("measure", entry="inference", loop=QUICK).outcome,
        fresh.refused("outputs", entry="inference", file="x").outcome,
    ]
    with pytest.raises(Exception, match="version 999"):
        fresh.hello(version=999)
    reply = fresh.hello()
    wanted = set() if fresh.engine.framework.cargo else set(fresh.engine.framework.requirements)

    assert ["error"] * 4 == early
    assert wanted <= set(reply["versions"])
    assert reply["ran"]


def test_operators_and_their_conditions_are_those_of_the_page(fresh: Client) -> None:
    """What hello says that the engine has is in the tables of the format, and conditions are on arguments of it."""
    operators = fresh.hello().get("operators") or {}
    known = {name: {*arguments, "rank", "dtype", "trains"} for name, arguments in {**FIRST, **SECOND}.items()}

    assert {} == {name: names for name, names in operators.items() if not names.keys() <= known.get(name, set())}


def test_truncated_files_are_errors(fresh: Client, tmp_path: Path) -> None:
    """Half a file or an empty one is an error or a crash that is typed, never a result."""
    outcomes, current = set(), fresh
    fresh.hello()
    for name in ("program.json", "inference.json", "weights.safetensors", "inference.inputs.safetensors"):
        for share in (0.0, 0.5):
            folder = fresh.changed(name, lambda content, share=share: content[: int(len(content) * share)])
            outcomes.add(current.refused("load", program=str(folder), entries=["inference"]).outcome)
            if current.worker.process.poll() is not None:
                current = Client(fresh.engine, fresh.prepared, tmp_path / f"{name}-{share}")
                current.hello()
    current.load()

    assert outcomes <= {"error", "crash"}
    assert current.ask("compile", entry="inference")["ns"] > 0
    current.worker.kill()


def test_unknown_operator_is_unsupported(fresh: Client) -> None:
    """An operator that the engine lacks is named with its node and the engine; other entries still run."""
    folder = fresh.changed("inference.json", with_unknown_operator)
    fresh.hello(exchange=remade(fresh.engine, folder))
    fresh.load(folder)
    failure = fresh.refused("compile", entry="inference")

    assert "unsupported" == failure.outcome
    assert str(failure).endswith(
        f" (engine {fresh.engine.framework.name})" if fresh.engine.framework.name != "given" else ")"
    )
    if fresh.engine.framework.name not in KNOWN:  # those know no operators, only models
        assert str(failure).startswith(UNKNOWN)
        assert fresh.ask("compile", entry="latency")["ns"] > 0


def test_worker_does_not_touch_its_log_or_its_input(fresh: Client) -> None:
    """Stdin is null, so nothing can wait for it; the protocol goes on whatever a library has printed."""
    fresh.hello()
    fresh.load()
    before = fresh.worker.tail()

    assert fresh.ask("compile", entry="inference")["ns"] > 0
    assert '"ok"' not in before + fresh.worker.tail()


def test_quit_ends_with_status_0(fresh: Client) -> None:
    """`quit` is answered, then the process ends by itself, also when nothing was asked before."""
    fresh.ask("quit")

    assert 0 == fresh.worker.process.wait(30)


def test_end_of_requests_ends_the_worker(fresh: Client) -> None:
    """A worker whose parent is gone ends by itself."""
    fresh.hello()
    channel = fresh.worker._channel
    channel.close()

    assert 0 <= fresh.worker.process.wait(30) <= 1
