"""What a worker shares with the harness: the Program, the protocol and the timing loop.

This package needs the standard library, NumPy and safetensors, nothing else, so that it runs in any
interpreter; `__main__.py` starts it by file path.
"""

from pytest_inferena.worker.adapter import Adapter, Setup, Step
from pytest_inferena.worker.capabilities import Lazily, Operators
from pytest_inferena.worker.exchange import Exchange, refuse
from pytest_inferena.worker.format import Entry, Node, Program, Ref, TensorSpec, Unsupported, evaluate

__all__ = [
    "Adapter",
    "Entry",
    "Exchange",
    "Lazily",
    "Node",
    "Operators",
    "Program",
    "Ref",
    "Setup",
    "Step",
    "TensorSpec",
    "Unsupported",
    "evaluate",
    "refuse",
]
