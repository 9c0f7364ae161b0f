"""Architectures recognised in a Program, for engines that take a checkpoint and know the architecture by heart.

Such an engine computes what its own code says, whatever the Program is, so nothing is assumed: every
operator, its wiring and its constants are compared with what the architecture has, and a difference is
`Unsupported` with the node and what is different about it.
"""

from pytest_inferena.program.checkpoint.llama import Llama, llama
from pytest_inferena.program.checkpoint.match import Affine
from pytest_inferena.program.checkpoint.recognise import ENTRIES, recognise
from pytest_inferena.program.checkpoint.whisper import Whisper, whisper

__all__ = ["ENTRIES", "Affine", "Llama", "Whisper", "llama", "recognise", "whisper"]
