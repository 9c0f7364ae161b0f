"""Models as people bring them, as real cells of the three core engines, in one run: what becomes of each."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from tests import brought, together
from tests.in_ci import long

from pytest_inferena import results

ROOT = Path(__file__).parents[1]
ENGINES = ("pytorch-eager", "jax-xla", "onnxruntime-cpu")
METRICS = ("inference", "training")
CHOOSES = ("error", r"tests/brought.py:\d+ .*: the forward calls cond")
COUNTS = ("error", r"tests/brought.py:\d+ .*: the forward changes the buffer n in place")
FEW_BITS = ("unsupported", "parameters in bfloat16: l.weight, l.bias; verdicts are calibrated for float32 only")
NOT_TRAINED = ("unsupported", "nothing is to be trained: no parameter of the model has requires_grad")
TWICE = ("unsupported", "unsupported operator brought::twice, node twice")
ALIGN = ("unsupported", "unsupported operator torchvision::roi_align, node roi_align")
PASS = ("pass", "")
OTHERS = {
    "bf16": dict.fromkeys(METRICS, FEW_BITS),
    "cond": dict.fromkeys(METRICS, CHOOSES),
    "counter": dict.fromkeys(METRICS, COUNTS),
    "frozen": {"training": NOT_TRAINED},
    "customop": {f"{engine}-{metric}": TWICE for engine in ENGINES[1:] for metric in METRICS},
    "roialign": {f"{engine}-{metric}": ALIGN for engine in ENGINES[1:] for metric in METRICS},
    # PyTorch's fused attention has another gradient where all scores of a row vanish in the mask; see test_exact.py
    "mask_min": {"pytorch-eager-training": ("fail", "grad:l.weight has NRMSE")},
}
"""Outcome, and a pattern in the reason, of what is no PASS, by `metric` or `engine-metric`; these have own cells."""
pytestmark = long
MODELS = {"plain": "tests.together:plain", "hundreds": "tests.together:hundreds"}
MODELS |= {name: f"tests.brought:{name}" for name in OTHERS}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Outcome and reason of every cell."""
    file = tmp_path_factory.mktemp("brought") / "journal.jsonl"
    options = [f"--inferena-model={source}" for source in MODELS.values()]
    chosen = [
        f"benchmarks/test_{metric}.py::test_{metric}[{model}-{engine}]"
        for metric in METRICS for model in MODELS for engine in ENGINES
    ]  # fmt: skip
    options += ["--benchmark-disable", "--inferena-threads=1", f"--inferena-results={file}", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *chosen, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert file.exists(), done.stdout[-4000:] + done.stderr[-2000:]
    return {str(record): (record.outcome, record.reason) for record in results.read(file).records}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", MODELS)
def test_cells(found: dict[str, tuple[str, str]], model: str, engine: str, metric: str) -> None:
    """Each passes, or is refused for the reason that it has, or shows what is known of the engine."""
    known = OTHERS.get(model, {})
    outcome, reason = known.get(f"{engine}-{metric}", known.get(metric, PASS))
    got = found[f"{model}-{engine}-{metric}"]

    assert outcome == got[0], got
    assert re.search(reason, got[1]), got


def test_all_have_cells() -> None:
    """None is left out."""
    there = {name for name, made in vars(brought).items() if isinstance(made, partial) and name.islower()}

    assert there | {"exported"} == {*together.PLAIN, *together.HUNDREDS, *OTHERS}
