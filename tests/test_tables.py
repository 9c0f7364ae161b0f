"""Tests of the engines' operator tables: through the adapter, each operator computes what PyTorch's does.

An engine is one line in `ENGINES`. What it lacks stands there too, and has to be refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest
import torch
from tests.layer_cases import LAYERS
from tests.operator_cases import CASES
from tests.outside import Exchanging, Outside
from tests.programs import entry_of, golden, inference, run
from tests.programs import training as training_of
from tests.small_entries import differentiable, forward, spec, training
from tests.test_program_page import FIRST, SECOND
from tests.zoo import model

from pytest_inferena.engines.framework import Framework
from pytest_inferena.program.expand import expand
from pytest_inferena.worker import Adapter, Program, Setup, Unsupported
from pytest_inferena.worker.capabilities import require
from pytest_inferena.worker.channels_last import ANCHORS
from pytest_inferena.worker.loading import load_adapter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from pytest_inferena.worker import Entry

    Way: TypeAlias = Adapter | Exchanging | Outside

pytestmark = pytest.mark.filterwarnings("default")  # what an engine warns of is its own affair
ZOO = ("bert", "convnet", "llama", "resnet", "unet", "whisper")
ADAPTERS = Path(__file__).parents[1] / "adapters"
JOINT_ONLY = SECOND.keys()


@dataclass(frozen=True)
class Engine:
    """An adapter whose table is tested."""

    name: str
    backend: str
    lacks: frozenset[str] = frozenset()
    """Operators, or cases of them, that it has to refuse."""
    together: bool = False
    """All operators in one entry: for engines that take seconds for each that they compile."""
    zoo: bool = True
    """Whether small networks are run as well."""
    forward_only: frozenset[str] = frozenset()
    """Operators that it computes and refuses to differentiate."""
    few_gradients: bool = False
    """Gradients of layers only: for engines that start a compiler for each kernel."""
    env: tuple[tuple[str, str], ...] = ()
    """Settings that make it compile sooner, and compute the same."""
    share: float = 1e-5
    """How far a result may be off, as a share of its largest element."""

    def framework(self) -> Framework:
        """What adapter.toml says."""
        return _framework(self.name)

    def cases(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Those it is asked for: the operators of joint entries only where it runs them."""
        joint = self.framework().training == "joint"
        return {name: case for name, case in CASES.items() if joint or case[0] not in JOINT_ONLY}

    def has(self, name: str) -> bool:
        """Whether it is expected to do a case; with a dot, it lacks the case alone that is called as its operator."""
        return not {name, f"{name}.", CASES[name][0]} & self.lacks


GGML_LACKS = (
    *(f"{name}-{kind}" for name in ("add", "sub", "mul") for kind in ("integer", "integers")),
    *(f"{name}-integers" for name in ("bitwise_and", "bitwise_or", "bitwise_not", "clamp", "cumsum", "sum")),
    *("floor_divide", "pow-tensor"),
)
"""Arithmetic on integers, for ggml computes in floats, and a power whose base may be negative: it has exp and log."""
INTEGERS = ("floor_divide", "bitwise_and-integers", "bitwise_or-integers", "bitwise_not-integers")
"""What has no expansion, for want of exact integers in what engines have beside."""
RTEN_LACKS = ("bitwise_and-integers", "bitwise_or-integers", "bitwise_not-integers")
"""Bits of integers, which arithmetic does not reach."""
MEGANEURA_LACKS = (
    *INTEGERS,
    *(f"{name}-{kind}" for name in ("add", "sub", "mul") for kind in ("integer", "integers")),
    *("cumsum-integers", "clamp", "sum-integers", "full-scalar", "to.", "to-small", "bitwise_or"),
    *("cos", "sin", "erf", "sqrt", "rsqrt", "logical_or", "maximum", "minimum", "amax", "pow-tensor"),
    *("gather", "index", "matmul-batch", "softmax-outer", "log_softmax-outer", "conv1d-groups", "conv2d."),
    *("max_pool2d-spread", "batch_norm", "layer_norm-bare", "layer_norm-plane", "rms_norm-plane"),
    *("upsample_nearest2d", "scaled_dot_product_attention", "rotary_embedding"),
    *(f"cross_entropy_loss-{kind}" for kind in ("each", "smooth", "weights")),
)
"""It computes in float32 alone, has no comparison to build a maximum of, and reads rows by known numbers only."""
ENGINES = (
    Engine("burn", "flex", frozenset(INTEGERS)),
    Engine("candle", "cpu", frozenset(INTEGERS)),
    Engine("executorch", "xnnpack", together=True),
    Engine("ggml", "cpu", lacks=frozenset(GGML_LACKS)),
    Engine("jax", "xla"),
    Engine("luminal", "cpu", frozenset({*INTEGERS, "pow-tensor"})),
    Engine("meganeura", "vulkan", frozenset(MEGANEURA_LACKS), zoo=False, forward_only=frozenset({"max_pool2d"})),
    Engine("mlx", "cpu", env=(("MLX_DISABLE_COMPILE", "1"),)),  # it would run g++ for every few operators
    Engine("openvino", "cpu"),
    Engine("rten", "cpu", frozenset(RTEN_LACKS)),
    Engine("tinygrad", "cpu", frozenset({"floor_divide-floats"}), together=True, zoo=False, few_gradients=True,
           env=(("PARALLEL", "0"),)),
)  # fmt: skip


@cache
def _framework(name: str) -> Framework:
    return Framework.read(ADAPTERS / name)


@cache
def _differentiable() -> frozenset[str]:
    return frozenset(differentiable({name: case for name, case in CASES.items() if case[0] not in JOINT_ONLY}))


def _forward() -> Iterator[Any]:
    """Parameters of a test: an engine with one case, or with all it does."""
    for engine in ENGINES:
        names = [name for name in engine.cases() if engine.has(name)]
        for group in [names] if engine.together else [[name] for name in names]:
            yield pytest.param(engine, group, id=f"{engine.name}-{'all' if engine.together else group[0]}")


BACKWARD = [engine for engine in ENGINES if engine.framework().training == "autograd"]
REFUSED = [
    pytest.param(engine, name, id=f"{engine.name}-{name}")
    for engine in ENGINES
    for name in engine.cases()
    if not engine.has(name)
]


@pytest.fixture
def adapter(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    """The engine's adapter in this process, or a skip that says how to install it."""
    torch.set_num_threads(1)
    framework = engine.framework()
    backend = next(way for way in framework.backends if way.name == engine.backend)
    if reason := framework.missing(backend):
        pytest.skip(reason)
    if not framework.cargo:  # else they are for its own process: this one finds its executable in the cache they move
        for name, value in (*framework.environment(backend, tmp_path, 1).items(), *engine.env):
            monkeypatch.setenv(name, value)
    exchange = tmp_path / "exchange" if framework.exchange else None
    setup = Setup(backend.name, backend.device, 1, tmp_path, exchange)
    if exchange:
        exchange.mkdir()
    kind: type[Adapter] | None = _module(engine.name).Adapter if exchange or not framework.cargo else None
    if framework.cargo:
        outside = Outside(framework, backend, setup, kind)
        yield outside
        outside.worker.kill()
    elif kind:
        yield Exchanging(kind, setup) if exchange else kind(setup)


@cache
def _module(name: str) -> Any:
    return load_adapter(name, _framework(name).adapter)


def computed(adapter: Way, entry: Entry, parameters: Mapping[str, Tensor]) -> Mapping[str, Any]:
    """What the adapter makes of an entry, in a step that follows another; what it lacks is expanded."""
    if adapter.operators is not None:
        arrays, entry = entry.arrays("inputs"), entry_of(expand(entry, adapter.operators)[0], entry.name)
        entry._arrays["inputs"] = arrays
        if isinstance(adapter, Adapter):  # as the worker does; the others have a table of their own
            require(adapter.operators, entry)
    specs = {name: spec(name, value) for name, value in parameters.items()}
    trainable = frozenset(name for name, value in parameters.items() if value.requires_grad)
    program = Program(adapter.setup.scratch, "small", specs, trainable)
    adapter.load(program, {name: value.detach().numpy() for name, value in parameters.items()})
    step = adapter.compile(entry)
    for _ in range(2):
        step()
        step.synchronize()
    return step.outputs()


def differences(expected: Mapping[str, Tensor], actual: Mapping[str, Any], share: float) -> dict[str, str]:
    """What is not as expected; kinds of numbers have to be equal, their widths need not."""
    found = dict.fromkeys(expected.keys() ^ actual.keys(), "is on one side only")
    for name in expected.keys() & actual.keys():
        right, result = expected[name].detach().numpy(), np.asarray(actual[name])
        scale = max(float(np.abs(right.astype(float)).max()), 1e-3)
        if (right.shape, right.dtype.kind) != (result.shape, result.dtype.kind):
            found[name] = f"{result.dtype}{result.shape} in place of {right.dtype}{right.shape}"
        elif not np.allclose(right.astype(float), result.astype(float), 0, share * scale):
            found[name] = f"{result.ravel()[:4]} in place of {right.ravel()[:4]}"
    return found


@pytest.mark.parametrize(("engine", "names"), [*_forward()])
def test_operator(engine: Engine, names: list[str], adapter: Way) -> None:
    """The same as PyTorch, for every way of calling it."""
    made, entry, expected = forward({name: CASES[name] for name in names})

    assert {} == differences(expected, computed(adapter, entry, made.parameters), engine.share)


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine.name == "jax"], ids=["jax"])
def test_integers_have_the_width_of_the_program(engine: Engine, adapter: Way) -> None:
    """Also where the engine computes with fewer bits: their values are judged, and the gate reads the dtype too."""
    del engine
    made, entry, expected = forward({name: CASES[name] for name in ("sum-integers", "to-small", "add-integers")})
    found = computed(adapter, entry, made.parameters)

    assert {name: right.numpy().dtype for name, right in expected.items()} == {n: x.dtype for n, x in found.items()}


@pytest.mark.parametrize("engine", BACKWARD, ids=lambda engine: engine.name)
def test_gradients(engine: Engine, adapter: Way) -> None:
    """Its own autograd finds what PyTorch's does, for every floating argument of every case."""
    tried = _differentiable() & LAYERS.keys() if engine.few_gradients else _differentiable()
    names = {name for name in tried if engine.has(name) and CASES[name][0] not in engine.forward_only}
    made, entry, expected = training({name: CASES[name] for name in sorted(names)})
    actual = dict(computed(adapter, entry, made.parameters))
    found = {key: actual.pop(f"grad:{key.partition(':')[2]}", None) for key in expected if key != "loss"}
    found["loss"] = actual.pop("loss")

    assert {} == {key: "is not zero" for key, value in actual.items() if np.any(value)}
    assert {} == differences(expected, found, 3 * engine.share)


@pytest.mark.parametrize(
    ("engine", "name"),
    [pytest.param(engine, name, id=f"{engine.name}-{name}") for engine in ENGINES if engine.zoo for name in ZOO],
)
def test_zoo(engine: Engine, name: str, adapter: Way) -> None:
    """Operators in the combinations of real models; engines with autograd are asked for gradients."""
    module, inputs = model(name)
    autograd = engine.framework().training == "autograd"
    entry = training_of(name) if autograd else inference(name)
    entry._arrays["inputs"] = {key: value.numpy() for key, value in inputs.items()}
    expected = golden(module, inputs) if autograd else run(entry, module, inputs)
    actual = dict(computed(adapter, entry, dict(module.named_parameters())))
    largest = max(float(value.detach().abs().max()) for value in expected.values())
    nothing = [key for key, value in expected.items() if float(value.detach().abs().max()) < 1e-5 * largest]

    assert {} == {key: "is not zero" for key in nothing if np.abs(actual.pop(key)).max() > 1e-5 * largest}
    assert {} == differences(
        {key: value for key, value in expected.items() if key not in nothing}, actual, 10 * engine.share
    )


@pytest.mark.parametrize(("engine", "name"), REFUSED)
def test_what_it_lacks_is_refused(engine: Engine, name: str, adapter: Way) -> None:
    """It says so by the operator's name before anything is computed, and computes nothing wrong."""
    made, entry, _ = forward({name: CASES[name]})

    in_onnx = r"|unsupported operator ONNX \w+, node " if engine.framework().exchange else ""
    in_part = r"|unsupported operator aten.\w+, node \w+~"  # of what the expansion gave
    with pytest.raises(Unsupported, match=rf"\b{CASES[name][0]}\b{in_onnx}{in_part}"):
        computed(adapter, entry, made.parameters)
    assert engine.lacks


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_the_table_is_documented(engine: Engine, adapter: Way) -> None:
    """Every operator it has stands on the page of the format; what it is said to lack are cases that there are."""
    del adapter
    table = {} if engine.framework().cargo else getattr(_module(engine.name), "OPERATORS", {})
    moved = {f"{name}_channels_last" for name in ANCHORS}

    assert set() == table.keys() - FIRST.keys() - SECOND.keys() - moved
    assert set() == {lack.removesuffix(".") for lack in engine.lacks} - CASES.keys() - {
        operator for operator, _ in CASES.values()
    }


def test_every_operator_has_a_case() -> None:
    """The page's operators are all tried, each with as many arguments, in this order."""
    page = {**FIRST, **SECOND}

    assert page.keys() == {operator for operator, _ in CASES.values()}
    assert {} == {name: tuple(given) for name, (operator, given) in CASES.items() if tuple(given) != page[operator]}
