"""What the preparer writes for Inferi's executable: the Llama that it recognises in the Program."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from pytest_inferena import Exchange, refuse

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_inferena import Program


class Adapter(Exchange):
    """Only its files: the worker is `inferena-inferi`."""

    @classmethod
    def prepare(cls, program: Program, folder: Path) -> None:
        """Write sizes and the names of weights as llama.json, or ENTRY.unsupported with the reason."""
        from pytest_inferena.program.checkpoint import llama, recognise

        found, reasons = recognise(program, llama)
        for name, reason in reasons.items():
            refuse(folder, name, f"Inferi runs architectures that it knows: {reason}")
        if found is not None:
            (folder / "llama.json").write_text(json.dumps(dataclasses.asdict(found)))
