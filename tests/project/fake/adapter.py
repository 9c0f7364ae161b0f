"""A right engine in NumPy that goes wrong on request: `fault.json` beside this file says where and how.

Its fields: `phase` (import, hello, load, compile, measure, outputs), `action` (a key of ACTIONS), `entry` (the only
one that is wrong), `result` (a key of RESULTS), `lacks` (an operator), `sleep` (seconds a step takes longer). The
file is no part of an adapter's hash.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_inferena import Adapter as Base
from pytest_inferena import Unsupported, evaluate

from .chaos import ACTIONS as CHAOS
from .chaos import child, fault, grow, overwrite, pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_inferena import Entry, Program

    Arrays = dict[str, np.ndarray[Any, Any]]

HERE = Path(__file__).parent


def raises(error: Exception, said: str = "") -> None:
    """Raise, as an expression."""
    print(said, file=sys.stderr)
    raise error


def close() -> None:
    """Close the protocol's pipe and live on."""
    os.close(int(os.environ["INFERENA_WRITE_FD"]))
    time.sleep(600)


def hang() -> None:
    """Say where it hangs, and wait for the end."""
    (HERE / "hanging").touch()
    time.sleep(600)


ACTIONS: dict[str, Callable[[], Any]] = CHAOS | {
    "signal": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exit": lambda: os._exit(3),
    "hang": hang,
    "child": child,
    "grow": grow,
    "print": lambda: print('{"ok": false}\n' * 100, flush=True),
    "pipe": lambda: pipe(b"Segmentation fault? No, just talking.\n"),
    "long": lambda: pipe(b"x" * (2 << 20) + b"\n"),
    "list": lambda: pipe(b"[1, 2]\n"),
    "close": close,
    "memory": lambda: raises(MemoryError("no room for 9 GiB")),
    "unsupported": lambda: raises(Unsupported("no rows longer than 7")),
    "raise": lambda: raises(RuntimeError("kernel of 3 heads"), "about to raise"),
    "import": lambda: raises(ImportError("libfake.so.2: cannot open shared object file")),
}
RESULTS: dict[str, Callable[[np.ndarray[Any, Any]], Any]] = {
    "shape": lambda array: array.reshape(1, -1),
    "float64": lambda array: array.astype(np.float64),
    "float16": lambda array: array.astype(np.float16),
    "nan": lambda array: np.full_like(array, np.nan),
    "zeros": np.zeros_like,
    "close": lambda array: array * np.float32(1.001),
    "wrong": lambda array: array * np.float32(1.1),
}


def misbehave(phase: str, entry: str | None = None) -> None:
    """Do in a phase what `fault.json` asks for."""
    found = fault(entry)
    if found.get("phase") == phase:
        ACTIONS[found["action"]]()


misbehave("import")

OPERATORS: dict[str, Callable[..., Any]] = {
    "linear": lambda x, weight, bias: x @ weight.T + bias,
    "tanh": np.tanh,
    "sub": np.subtract,
    "pow": np.power,
    "mean": lambda x, dim, keepdim: x.mean(tuple(dim), keepdims=keepdim),
}


class Adapter(Base):
    """Forward by the operator table, backward by hand."""

    parameters: Arrays

    def describe(self) -> str:
        """NumPy, whatever it was asked for."""
        misbehave("hello")
        return f"NumPy {np.__version__}"

    def load(self, program: Program, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Read all parameters."""
        misbehave("load")
        self.parameters = {name: weights[name] for name in program.parameters}

    def compile(self, entry: Entry) -> Step:
        """There is nothing to compile; but an operator may be missing."""
        misbehave("compile", entry.name)
        if (name := fault(entry.name).get("zeroed")) and entry.folder:
            overwrite(entry.folder / name)
        return Step(entry, self.parameters)


class Step:
    """One run of an entry."""

    def __init__(self, entry: Entry, parameters: Arrays) -> None:
        self.entry, self.runs = entry, 0
        lacks = fault(entry.name).get("lacks")
        self.operators = {name: function for name, function in OPERATORS.items() if name != lacks}
        self.values = {**parameters, **entry.arrays("inputs"), **entry.arrays("constants")}
        self.results: Arrays = {}

    def __call__(self) -> None:
        """The first run belongs to `compile`, all others to `measure`."""
        self.runs += 1
        if self.runs == 2:
            misbehave("measure", self.entry.name)
        time.sleep(fault(self.entry.name).get("sleep", 0))
        self.results = evaluate(self.entry, self.operators, self.values)
        if self.entry.name == "training":
            self.results |= gradients(self.values)

    def synchronize(self) -> None:
        """NumPy is done when it returns."""

    def outputs(self) -> Arrays:
        """What was computed, or what `fault.json` makes of it."""
        misbehave("outputs", self.entry.name)
        results = {name: np.asarray(array, np.float32) for name, array in self.results.items()}
        kind = fault(self.entry.name).get("result", "")
        if kind == "missing":
            return dict(list(results.items())[1:])
        if kind == "extra":
            return results | {"surplus": np.ones(3, np.float32)}
        return {name: RESULTS[kind](array) for name, array in results.items()} if kind else results


def gradients(values: Arrays) -> Arrays:
    """Of the mean squared error, by the chain rule."""
    names = ["first", "second", "third"]
    layers = [values["x"]]  # inputs of the linear layers, then the output
    for name in names:
        made = OPERATORS["linear"](layers[-1], values[f"{name}.weight"], values[f"{name}.bias"])
        layers.append(made if name == "third" else np.tanh(made))
    grad = 2 * (layers[3] - values["y"]) / layers[3].size  # (B, 4)
    found = {}
    for index in (2, 1, 0):
        found[f"grad:{names[index]}.weight"] = grad.T @ layers[index]
        found[f"grad:{names[index]}.bias"] = grad.sum(0)
        grad = (grad @ values[f"{names[index]}.weight"]) * (1 - layers[index] ** 2)
    return found
