"""Which ML framework runs this model best on this machine, and does it still compute the right thing?

What models, adapters and tests of others may import by `from pytest_inferena import …`; it stays, and is imported
when it is asked for.

A model's file: `Case`.

An adapter, in a worker process: `Adapter`, or `Exchange` where `prepare` writes files and may `refuse` an entry;
`Setup`, which it is made with; `Step`, which it compiles an entry to; the `Program` and what it consists of, `Entry`,
`Node`, `Ref` and `TensorSpec`; `evaluate`, which walks an entry with an operator table; `Operators`, the type of what
an engine says it has, and `Lazily`, for those of a table that only `prepare` imports; and `Unsupported`.

A test: the types of the fixture `inferena`: `Inferena` itself, a `Result` of it, its `Outcome` and its `Record`; and
`judge`, the gate as a function, with its `Verdict`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_inferena.cell import Outcome
    from pytest_inferena.prepare.case import Case
    from pytest_inferena.results import Record
    from pytest_inferena.session.own import Inferena
    from pytest_inferena.session.result import Result
    from pytest_inferena.verdict.gate import Verdict, judge
    from pytest_inferena.worker import (
        Adapter,
        Entry,
        Exchange,
        Lazily,
        Node,
        Operators,
        Program,
        Ref,
        Setup,
        Step,
        TensorSpec,
        Unsupported,
        evaluate,
        refuse,
    )

__all__ = [
    "Adapter",
    "Case",
    "Entry",
    "Exchange",
    "Inferena",
    "Lazily",
    "Node",
    "Operators",
    "Outcome",
    "Program",
    "Record",
    "Ref",
    "Result",
    "Setup",
    "Step",
    "TensorSpec",
    "Unsupported",
    "Verdict",
    "evaluate",
    "judge",
    "refuse",
]

_ELSEWHERE = {
    "Case": "prepare.case", "Inferena": "session.own", "Outcome": "cell", "Record": "results",
    "Result": "session.result", "Verdict": "verdict.gate", "judge": "verdict.gate",
}  # fmt: skip
"""Where those lie that are not the worker's."""


if not TYPE_CHECKING:  # a type checker would take any name for one of these

    def __getattr__(name: str) -> Any:
        """Import what is public when it is asked for: pytest loads this module and needs none of it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_ELSEWHERE.get(name, 'worker')}"), name)
