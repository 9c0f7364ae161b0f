"""Recognises architectures in a Program, for engines that take a checkpoint and have the architecture built in.

Such an engine computes what its own code says, whatever the Program is. So nothing is assumed: every operator, its
wiring and its constants are compared with the architecture's. A difference raises `Unsupported`, which names the node
and what is different about it.
"""

from pytest_inferena.program.checkpoint.llama import Llama, llama
from pytest_inferena.program.checkpoint.match import Affine
from pytest_inferena.program.checkpoint.recognise import ENTRIES, recognise
from pytest_inferena.program.checkpoint.whisper import Whisper, whisper

__all__ = ["ENTRIES", "Affine", "Llama", "Whisper", "llama", "recognise", "whisper"]
