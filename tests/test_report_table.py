"""Tests of the tables: figures, marks, notes, names and facts, before any format dresses them."""

from typing import Any

import pytest
from tests.records import broken, make_record, make_results, make_verdict, timed

from pytest_inferena.report.table import Table, tables
from pytest_inferena.report.texts import Text, figure, number, scientific
from pytest_inferena.results import Record


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (0.842, "0.842"),
        (0.08421, "0.0842"),
        (0.0009, "9e-4"),
        (9.1234, "9.12"),
        (9.996, "10.0"),
        (99.96, "100"),
        (232.4, "232"),
        (999.6, "1 000"),
        (1208.4, "1 208"),
        (1234567, "1 234 567"),
    ],
)
def test_numbers_have_three_significant_digits(value: float, expected: str) -> None:
    """Numbers are as exact as a timing can be, and rounding never changes their width of meaning."""
    assert expected == number(value)


@pytest.mark.parametrize(
    ("value", "expected"), [(2.13e-6, "2.1e-6"), (1e-5, "1e-5"), (0.98, "0.98"), (12345, "1.2e4"), (0, "0")]
)
def test_errors_are_written_short(value: float, expected: str) -> None:
    """Error figures have two significant digits and no padded exponent."""
    assert expected == scientific(value)


@pytest.mark.parametrize(
    ("metric", "changes", "expected"),
    [
        ("inference", {}, "232 ±0.9 %"),
        ("compile", {}, "0.232 ±0.9 %"),
        ("compile", {"interval": None, "samples": [[0.232]]}, "0.232"),
        ("latency", timed(0.001, 0.0002), "1.00 ±20 %"),
        ("training", timed(0.0, 0.0), "0"),
        ("training", {"median": None, "interval": None}, ""),
    ],
)
def test_figure_has_its_unit_and_spread(metric: str, changes: dict[str, Any], expected: str) -> None:
    """Compile is in seconds, steps in milliseconds, and the spread is half the interval."""
    assert expected == figure(make_record(metric, **changes))


def _bests(*records: Record) -> list[str]:
    """Name the frameworks whose inference is marked as best."""
    (table,) = tables(make_results(records))
    return [row.framework for row in table.rows if row.texts[1].best]


A, B, C = timed(0.100, 0.002), timed(0.103, 0.002), timed(0.106, 0.002)


@pytest.mark.parametrize(
    ("zeta", "alpha", "mu", "expected"),
    [
        (A, timed(0.2, 0.01), timed(0.3, 0.01), ["Zeta"]),
        (B, A, timed(0.3, 0.01), ["Zeta", "Alpha"]),
        (A, B, C, ["Zeta", "Alpha"]),  # C overlaps with B alone, so it is not among the best
        ({**A, "interval": [0.09, 0.11]}, B, C, ["Zeta", "Alpha", "Mu"]),
        (A, broken("crash", "x"), broken("oom", "x"), []),
        (A, {**timed(0.05, 0.001), "outcome": "fail"}, timed(0.2, 0.001), ["Zeta"]),
        (A, timed(0.05, 0.001, flags=["implausible"]), timed(0.2, 0.001), ["Zeta"]),
        (A, timed(0.05, 0.001, flags=["noisy", "few"]), timed(0.2, 0.001), ["Alpha"]),
        (A, {**timed(0.05, 0.001), "outcome": "close"}, timed(0.2, 0.001), ["Alpha"]),
        (A, {"median": 0.05, "interval": None, "samples": [[0.05]]}, timed(0.2, 0.001), ["Zeta"]),
    ],
)
def test_best_lies_apart_or_is_shared(
    zeta: dict[str, Any], alpha: dict[str, Any], mu: dict[str, Any], expected: list[str]
) -> None:
    """Only a right, plausible figure with an interval is best; what cannot be told from it is best too."""
    found = _bests(
        make_record(framework="zeta", **zeta),
        make_record(framework="alpha", **alpha),
        make_record(framework="mu", **mu),
    )

    assert expected == found


def test_work_that_differs_never_shares_a_table() -> None:
    """Model, size, weights, dtype, batch, seq, inputs and threads each make a table of their own."""
    changes: list[dict[str, Any]] = [
        {},
        {"model": "bert"},
        {"model": "new"},
        {"size": "tiny"},
        {"weights": "package: pkg 1"},
        {"dtype": "bfloat16"},
        {"batch": 4},
        {"seq": 64},
        {"inputs": "smooth"},
        {"threads": 1},
    ]
    titles = [table.title for table in tables(make_results([make_record(**change) for change in changes]))]

    assert {"Small U-Net", "BERT", "new", "Small U-Net, tiny", "Small U-Net, weights from package: pkg 1"} | {
        "Small U-Net, bfloat16",
        "Small U-Net, batch 4",
        "Small U-Net, seq 64",
        "Small U-Net, smooth inputs",
        "Small U-Net, threads 1",
    } == set(titles)
    assert ("Small U-Net", "BERT", "new") == (titles[0], *titles[-2:])


def test_engines_are_named_by_what_tells_them_apart() -> None:
    """Backend, device and variant show where a framework has several, and a tuned one always."""
    records = [
        make_record(framework="zeta"),
        make_record(framework="alpha", backend="fast"),
        make_record(framework="alpha", backend="main"),
        make_record(framework="alpha", backend="main", device="cuda"),
        make_record(framework="mu", variant="tuned"),
    ]
    (table,) = tables(make_results(records))
    rows = [(row.framework, row.platform) for row in table.rows]

    assert [
        ("Zeta", "Acme One @ 2.10GHz"),
        ("Alpha (fast, cpu)", "Acme One @ 2.10GHz"),
        ("Alpha (main, cpu)", "Acme One @ 2.10GHz"),
        ("Alpha (main, cuda)", "Acme G1"),
        ("Mu (tuned)", "Acme One @ 2.10GHz"),
    ] == rows


def test_unknown_device_names_its_machine() -> None:
    """A device that the header does not list is not mistaken for another."""
    (table,) = tables(make_results([make_record(device="cuda:1")]))

    assert "cuda:1 on Acme One @ 2.10GHz" == table.rows[0].platform


def test_metrics_of_others_get_a_column() -> None:
    """A metric that another plugin defines is not dropped."""
    (table,) = tables(make_results([make_record("compile_warm"), make_record()]))

    assert "Compile warm (s)" == table.columns[6]
    assert Text("0.232 ±0.9 %") == table.rows[0].texts[4]


def test_wrong_training_strikes_its_loss() -> None:
    """The loss of a training that FAILs does not count either."""
    verdict = make_verdict(outcome="fail", loss=9.5, loss_golden=10.0, message="grad:w is zero")
    (table,) = tables(make_results([make_record("training", outcome="fail", verdict=verdict)]))

    assert Text("9.5000", struck=True, note=1) == table.rows[0].texts[-1]
    said = "Alpha, training: FAIL: grad:w is zero (NRMSE 2.1e-7 of limit 1e-5 on output)"
    assert (f"{said}; where: inferena explain unet-alpha-main-training",) == table.notes


def test_models_that_only_the_run_named_are_in_the_hint() -> None:
    """With them `inferena explain` finds the cell. A command that is no command names none."""
    command = "pytest x.py --inferena-model='a=hf:my bert' --inferena-model=nets:make --inferena-weights=seeded"
    cell = "inferena explain unet-alpha-main-inference"

    assert f"{cell} '--model=a=hf:my bert' --model=nets:make --weights=seeded" == make_record(command=command).explain
    assert cell == make_record(command="'--inferena-model=").explain


def test_doubts_about_a_figure_are_noted() -> None:
    """Few samples, noise and implausible speed stand beside the figure, resumed does not."""
    flags = ["noisy", "implausible", "few", "resumed"]
    (table,) = tables(make_results([make_record(flags=flags), make_record("latency", flags=["resumed"])]))

    assert ("Alpha, inference: few: only 10 samples; noisy; implausible",) == table.notes
    assert "few (Alpha inference); resumed (Alpha inference, Alpha latency)" in _fact(table, "Flags")


def test_different_programs_are_pointed_out() -> None:
    """Where the hashes of one metric differ, the table says that its figures do not compare."""
    hashes = [{"program": "aaaa"}, {"program": "aaaa"}, {"program": "bbbb"}]
    names = ("zeta", "alpha", "mu")
    (table,) = tables(make_results([make_record("latency", n, hashes=h) for n, h in zip(names, hashes, strict=True)]))

    assert "program (cells: aaaa in 2, bbbb in 1); not all figures compare" == _fact(table, "Differs")


def test_inputs_may_differ_between_metrics() -> None:
    """Inference and latency have inputs of their own, which is nothing to warn of."""
    records = [make_record(m, hashes={"inputs": h}) for m, h in (("inference", "aaaa"), ("latency", "bbbb"))]
    (table,) = tables(make_results(records))

    assert "inputs aaaa, bbbb" == _fact(table, "Hashes")
    assert "Differs" not in dict(table.facts)


def test_what_is_not_installed_is_counted() -> None:
    """One line has the number of engines that are not there at all, and of backends that others lack."""
    lacking = broken("not_installed", "a remedy")
    records = [make_record(), make_record(backend="cuda", **lacking), make_record("latency", backend="cuda", **lacking)]
    others = [make_record(framework=name, backend=back, **lacking) for name in ("zeta", "mu") for back in ("a", "b")]
    others += [make_record("training", "zeta", backend="a", **broken("unsupported", "it does not train"))]
    (table,) = tables(make_results([*records, *others]))

    assert "2 more engines, 1 more backend: inferena doctor" == _fact(table, "Not installed")
    assert ["Alpha (main)"] == [row.framework for row in table.rows]


def _fact(table: Table, name: str) -> str:
    return dict(table.facts)[name]


def test_cells_that_never_ran_stand_with_the_others() -> None:
    """An engine that is missing or lacks a metric knows no checkpoint; it is no other work for that."""
    ran, missing = (
        make_record(weights="package: pkg 1"),
        make_record(framework="mu", weights="package", outcome="error"),
    )
    lone = make_record(framework="mu", weights="hub", outcome="error")

    assert [["Alpha", "Mu"], ["Mu"]] == sorted(
        sorted(row.framework for row in table.rows) for table in tables(make_results([ran, missing, lone]))
    )


def test_what_was_expanded_is_told() -> None:
    """By engine, each operator once; an engine that has all of them is not named."""
    lacking = make_record("inference", extra={"expanded": {"softmax": 2, "erf": 1}})
    more = make_record("training", extra={"expanded": {"softmax": 3, "layer_norm": 1}})
    (table,) = tables(make_results([lacking, more, make_record("inference", "mu", extra={"expanded": {}})]))

    assert "Alpha: erf, layer_norm, softmax" == dict(table.facts)["Expanded"]
