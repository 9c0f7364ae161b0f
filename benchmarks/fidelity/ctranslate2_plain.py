"""Is CTranslate2 on a model of its own converter, called as its documentation says, faster than our adapter?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctranslate2
import numpy as np
from benchmarks.fidelity.common import arguments, compiled, prepared, side_by_side, stepping
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from pytest_inferena import Program
from pytest_inferena.machine import thread_budget
from pytest_inferena.prepare.sources import load_case

if TYPE_CHECKING:
    from collections.abc import Callable


def converted(case: Any, folder: Path) -> Path:
    """What TransformersConverter makes of a module, whose tokenizer has a word for every number."""
    case.module.save_pretrained(folder / "hf")
    words = {f"t{number}": number for number in range(case.module.config.vocab_size)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="t0")),  # noqa: S106 - a word
        unk_token="t0", bos_token="t0", eos_token="t0",  # noqa: S106 - the same
    )  # fmt: skip
    tokenizer.save_pretrained(folder / "hf")
    return Path(ctranslate2.converters.TransformersConverter(str(folder / "hf")).convert(str(folder / "ct2")))


def plain(model: Path, tokens: np.ndarray[Any, Any]) -> Callable[[], Any]:
    """Token ids (B, T) to logits, by the class that the documentation names."""
    settings = {"device": "cpu", "compute_type": "float32", "intra_threads": thread_budget()}
    generator = ctranslate2.Generator(str(model), **settings)
    rows = tokens.tolist()
    return lambda: generator.forward_batch(rows)


def main() -> None:
    """SmolLM2, both of its metrics; Whisper's call in the adapter is the engine's one call as it stands."""
    options = arguments(__doc__)
    target, ready = prepared("smollm2", "ctranslate2", "cpu", options.size)
    case = load_case(target.model.source, options.size)
    case.module.load_state_dict(load_file(ready.program / "weights.safetensors"), strict=False)
    case.module.config.architectures = ["LlamaForCausalLM"]
    with tempfile.TemporaryDirectory() as folder:
        model = converted(case, Path(folder))
        for metric in ("inference", "latency"):
            [tokens] = Program.read(ready.program).entry(metric).arrays("inputs").values()
            by_hand, step = plain(model, tokens), compiled(target, ready, metric)
            step()
            error = np.abs(np.asarray(by_hand()) - step.outputs()["output"]).max()
            ways = {"converter, Generator.forward_batch": by_hand, "adapter": stepping(step)}
            side_by_side(f"{target.model.title}, {metric}, difference {error:.1e}", ways, options.rounds)


if __name__ == "__main__":
    main()
