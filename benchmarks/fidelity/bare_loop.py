"""Is the reported median that of a bare loop around the same call, in the same process?"""

from __future__ import annotations

import statistics
import time

from benchmarks.fidelity.common import arguments, compiled, prepared

from pytest_inferena.worker.timing import Loop, measure

ENGINES = (("pytorch", "inductor"), ("pytorch", "eager"), ("jax", "xla"), ("onnxruntime", "cpu"))


ONE = Loop(min_rounds=1, max_rounds=1, few=1, warmup=False)


def main() -> None:
    """Our loop and a bare one, a sample each in turns, so that a slow spell of the machine meets both."""
    options = arguments(__doc__)
    for model in ("smollm2", "resnet50"):
        for framework, backend in ENGINES:
            step = compiled(*prepared(model, framework, backend, options.size), "inference")
            measure(step, Loop(min_rounds=3, max_rounds=3))
            ours, bare = [], []
            for _ in range(3 * options.rounds):
                ours += measure(step, ONE).samples
                start = time.monotonic_ns()
                step()
                step.synchronize()
                bare.append(time.monotonic_ns() - start)
            reported, loop = statistics.median(ours) / 1e6, statistics.median(bare) / 1e6
            name = f"{model} {framework} {backend}"
            print(f"{name:<28} reported {reported:9.3f} ms  bare loop {loop:9.3f} ms  {reported / loop - 1:+.1%}")


if __name__ == "__main__":
    main()
