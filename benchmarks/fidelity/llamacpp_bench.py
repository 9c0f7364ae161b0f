"""Is llama-bench, llama.cpp's own tool, faster than our adapter on the same GGUF file?

    python -m benchmarks.fidelity.llamacpp_bench LLAMA_BENCH

LLAMA_BENCH is the tool built from the same source: `pip download --no-binary :all: llama-cpp-python`, then cmake in
its vendor/llama.cpp, target llama-bench. It computes the logits of the last token only, the adapter those of all of
them, so the adapter's step is timed both ways. The tool keeps keys and values in 16 bits: it has no option for 32.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from typing import TYPE_CHECKING, Any

from benchmarks.fidelity.common import SETTLE, arguments, compiled, prepared, stepping

from pytest_inferena.machine import thread_budget

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TURNS = 3


def tool(command: str, model: Path, length: int, rounds: int) -> list[float]:
    """Seconds of each repetition of a prompt, after the tool's own warm-up."""
    options = {
        "-m": model, "-p": length, "-n": 0, "-b": length, "-ub": length, "-r": rounds, "-t": thread_budget(),
        "-fa": 0, "-ngl": 0, "-o": "json",
    }  # fmt: skip
    written = [str(part) for pair in options.items() for part in pair]
    done = subprocess.run([command, *written], check=True, stdout=subprocess.PIPE, text=True)
    [report] = json.loads(done.stdout)
    return [ns / 1e9 for ns in report["samples_ns"]]


def last_only(step: Any) -> Any:
    """A step of the adapter that wants the logits of its last token only."""
    for index in range(step.batch.n_tokens):
        step.batch.logits[index] = index == step.batch.n_tokens - 1
    return step


def taken(run: Callable[[], None], rounds: int) -> list[float]:
    """Seconds of each call, after one that is not counted."""
    samples = []
    time.sleep(SETTLE)
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        samples.append(time.perf_counter() - start)
    return samples[1:]


def main() -> None:
    """SmolLM2's prompt and its single token, in turns with the tool."""
    given = arguments(__doc__, "llama_bench")
    target, ready = prepared("smollm2", "llamacpp", "cpu", given.size)
    assert ready.exchange is not None
    model = ready.exchange / "model.gguf"
    for metric in ("inference", "latency"):
        steps = [compiled(target, ready, metric), last_only(compiled(target, ready, metric))]
        length = steps[1].batch.n_tokens
        samples: dict[str, list[float]] = {"adapter, all logits": [], "adapter, last logits": [], "llama-bench": []}
        for _ in range(TURNS):
            for name, step in zip(samples, steps, strict=False):
                samples[name] += taken(stepping(step), given.rounds)
            samples["llama-bench"] += tool(given.llama_bench, model, length, given.rounds)
        print(f"\n{target.model.title}, {metric}, {length} tokens, medians of {TURNS} x {given.rounds}")
        first = statistics.median(samples["llama-bench"])
        for name, seconds in samples.items():
            median = statistics.median(seconds)
            print(f"  {name:<22} {median * 1e3:9.2f} ms   {median / first - 1:+.1%}")


if __name__ == "__main__":
    main()
