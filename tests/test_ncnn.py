"""The adapter of ncnn: what pnnx makes of TorchScript, the precision that is asked for, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.conformance import ROOT
from tests.operator_cases import CASES
from tests.outside import Exchanging
from tests.programs import entry_of
from tests.small_entries import Small, forward, spec

from pytest_inferena.program.expand import expand
from pytest_inferena.worker import Entry, Program, Setup, Unsupported
from pytest_inferena.worker.format import Ref
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("ncnn", reason="the extra 'ncnn' is not installed")
pytest.importorskip("pnnx", reason="the extra 'ncnn' is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")  # TorchScript is what pnnx reads
FILE = ROOT / "adapters" / "ncnn" / "adapter.py"


def _prepared(small: Small, outputs: dict[str, str], folder: Path) -> tuple[Any, Entry]:
    """The adapter with a Program loaded, both of whose entries are this one; and the entry."""
    entry, exchange = small.entry(outputs), folder / "exchange"
    for name in ("inference", "latency"):
        (folder / f"{name}.json").write_text(json.dumps(entry.to_json() | {"entry": name}))
        save_file(small.inputs, folder / f"{name}.inputs.safetensors")
        save_file(small.constants, folder / f"{name}.constants.safetensors")
    save_file({name: value.detach() for name, value in small.parameters.items()}, folder / "weights.safetensors")
    program = Program(
        folder, "small", {name: spec(name, value) for name, value in small.parameters.items()}, frozenset()
    )
    program.write()
    exchange.mkdir()
    made = load_adapter("ncnn", FILE).Adapter
    made.prepare(program, exchange)
    adapter = made(Setup("cpu", "cpu", 1, folder, exchange))
    adapter.load(program, {})
    return adapter, program.entry("inference")


def _run(adapter: Any, entry: Entry) -> dict[str, Any]:
    """The results of a second step."""
    step = adapter.compile(entry)
    for _ in range(2):
        step()
        step.synchronize()
    return dict(step.outputs())


def test_a_batch_of_images(tmp_path: Path) -> None:
    """Convolution, pooling and product of a batch of two, each image of which is its own result."""
    torch.manual_seed(0)
    small = Small()
    x, weight, head = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3), torch.randn(5, 4)
    window = {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1}
    conv = small.add("conv2d", {"input": x, "weight": weight, "bias": None, **window})[0]
    mean = small.add("mean", {"self": Ref(conv), "dim": [2, 3], "keepdim": False})[0]
    result = small.add("linear", {"input": Ref(mean), "weight": head, "bias": None})[0]
    adapter, entry = _prepared(small, {"output": result}, tmp_path)
    expected = torch.conv2d(x, weight, padding=1).mean((2, 3)) @ head.T

    np.testing.assert_allclose(expected.numpy(), _run(adapter, entry)["output"], rtol=0, atol=1e-5)


def test_causal_attention_of_tokens(tmp_path: Path) -> None:
    """Token numbers go in, and a causal mask is written out, for which pnnx has no rule; two results come out."""
    torch.manual_seed(0)
    small = Small()
    table, tokens = torch.randn(7, 8), torch.tensor([[1, 4, 2, 0, 6]])
    rows = small.add("embedding", {"weight": table, "indices": tokens})[0]
    heads = small.add("reshape", {"self": Ref(rows), "shape": [1, 1, 5, 8]})[0]
    how = {"attn_mask": None, "is_causal": True, "scale": 0.3, "enable_gqa": False}
    attended = small.add(
        "scaled_dot_product_attention", {"query": Ref(heads), "key": Ref(heads), "value": Ref(heads), **how}
    )[0]
    adapter, entry = _prepared(small, {"rows": rows, "attended": attended}, tmp_path)
    results = _run(adapter, entry)

    np.testing.assert_allclose(small.made[rows].detach().numpy(), results["rows"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(small.made[attended].detach().numpy(), results["attended"], rtol=0, atol=1e-5)


def _case(name: str, folder: Path) -> tuple[Any, Any]:
    """What PyTorch and the adapter make of a case of the operator tables; what it lacks is expanded."""
    small, entry, expected = forward({name: CASES[name]})
    kind, arrays = load_adapter("ncnn", FILE).Adapter, entry.arrays("inputs")
    entry = entry_of(expand(entry, kind.operators)[0], entry.name)
    entry._arrays["inputs"] = arrays
    (folder / "exchange").mkdir()
    way = Exchanging(kind, Setup("cpu", "cpu", 1, folder, folder / "exchange"))
    specs = {key: spec(key, value) for key, value in small.parameters.items()}
    way.load(Program(folder, "small", specs, frozenset()), {k: v.detach().numpy() for k, v in small.parameters.items()})
    return expected[name].detach().numpy(), _run(way, entry)[name]


@pytest.mark.parametrize("kind", ["mask", "bias", "groups-mask", "groups-bias"])
def test_masked_attention(kind: str, tmp_path: Path) -> None:
    """Truth values become numbers that are added: pnnx reads them as such."""
    expected, found = _case(f"scaled_dot_product_attention-{kind}", tmp_path)

    np.testing.assert_allclose(expected, found, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["avg_pool2d-divisor", "layer_norm-bare", "layer_norm-weight", "mse_loss-1", "pow-cube"]
)
def test_what_is_expanded(name: str, tmp_path: Path) -> None:
    """Its converter has no layer for it, or a wrong one; written with other operators it is right."""
    expected, found = _case(name, tmp_path)

    np.testing.assert_allclose(expected, found, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["layer_norm-plane", "rms_norm-plane"])
def test_what_it_gets_wrong(name: str, tmp_path: Path) -> None:
    """It norms each row by itself where two dimensions are meant: a model that has it is shown as FAIL."""
    expected, found = _case(name, tmp_path)

    assert expected.shape == found.shape
    assert not np.allclose(expected, found, 1e-2)


@pytest.mark.parametrize(
    "name", ["add-integers", "avg_pool2d-ceil", "gather", "lt", "max_pool2d-spread", "pad-circular"]
)
def test_what_it_lacks(name: str, tmp_path: Path) -> None:
    """What it has no layer for, or would compute in floats, is refused by operator and node."""
    with pytest.raises(Unsupported, match=r"unsupported operator (aten|F)\.\w+, node \w+"):
        _case(name, tmp_path)


def test_nothing_is_calculated_in_lower_precision(tmp_path: Path) -> None:
    """By default ncnn calculates with 16 bits; the net's own options say that it does not, and are shown."""
    small = Small()
    adapter, entry = _prepared(small, {"output": small.add("relu", {"self": torch.ones(3, 4)})[0]}, tmp_path)
    before = adapter.describe()
    adapter.compile(entry)

    assert before.endswith(", nothing compiled yet")
    assert adapter.describe().endswith(", CPU, float32, 1 threads")
    adapter.net.opt.use_fp16_storage = True
    assert adapter.describe().endswith(", CPU, use_fp16_storage, 1 threads")


def test_an_operator_without_a_layer(tmp_path: Path) -> None:
    """What pnnx leaves as PyTorch's operator is refused by its name: here rows of a table that is computed."""
    small = Small()
    table = small.add("relu", {"self": torch.randn(3, 4)})[0]
    result = small.add("embedding", {"weight": Ref(table), "indices": torch.tensor([2, 0])})[0]
    adapter, entry = _prepared(small, {"output": result}, tmp_path)

    with pytest.raises(Unsupported, match=r"unsupported operator F\.embedding, node .*: pnnx has no ncnn layer for it"):
        adapter.compile(entry)


def test_a_converter_that_fails(tmp_path: Path) -> None:
    """The error names it and how it ended, and not its whole command line."""
    small = Small()
    adapter, entry = _prepared(small, {"output": small.add("relu", {"self": torch.ones(2, 3)})[0]}, tmp_path)
    (tmp_path / "exchange" / "inference.pt").write_bytes(b"no TorchScript")

    with pytest.raises(RuntimeError, match=r"^pnnx, which converts models for ncnn, ended by (SIG\w+|exit code \d+); "):
        adapter.compile(entry)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(2, 3, dtype=torch.bool), "input of bool, x: ncnn takes float32 and int64"),
        (torch.ones(2, 3, dtype=torch.int64), "output of int64, out_0: ncnn makes float32"),
    ],
)
def test_dtypes(x: torch.Tensor, message: str, tmp_path: Path) -> None:
    """What is neither a number nor a token's is refused."""
    small = Small(inputs={"x": x})
    adapter, entry = _prepared(small, {"output": small.add("flip", {"self": Ref("x"), "dims": [1]})[0]}, tmp_path)

    with pytest.raises(Unsupported, match=message):
        adapter.compile(entry)


def test_what_was_not_prepared(tmp_path: Path) -> None:
    """The preparer's reason is the cell's, and missing exchange files are named."""
    small = Small()
    adapter, entry = _prepared(small, {"output": small.add("relu", {"self": torch.ones(3, 4)})[0]}, tmp_path)
    (tmp_path / "exchange" / "inference.unsupported").write_text("unsupported operator aten.nonsense, node n")

    with pytest.raises(Unsupported, match=r"aten\.nonsense, node n"):
        adapter.compile(entry)
    adapter.setup = Setup("cpu", "cpu", 1, tmp_path)
    with pytest.raises(ValueError, match="none were prepared"):
        adapter.load(None, {})
