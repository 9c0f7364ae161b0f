"""SmolLM2 on three engines: this benchmark from a cold cache against the original's own runners.

    python -m benchmarks.fidelity.original CHECKOUT

CHECKOUT is a working copy of github kvark/inferena. Its runners take one sample of each figure and this
benchmark at least ten, judged; both get the same real weights, both compile from empty caches, on the
same machine, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import save_file

from pytest_inferena.commands.cli import registry
from pytest_inferena.prepare.sources import load_case
from pytest_inferena.prepare.weights import resolve_weights

ENGINES = ("pytorch", "onnxruntime", "jax")
MODEL = "SmolLM2-135M"


def provide_weights(checkout: Path) -> None:
    """Put the package's weights where the original looks for a checkpoint."""
    case = load_case(registry().models["smollm2"].source, "full")
    resolve_weights(case, "package")
    folder = checkout / "models" / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in case.module.named_parameters()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    case.module.config.architectures = ["LlamaForCausalLM"]
    case.module.config.save_pretrained(folder)


def theirs(checkout: Path) -> float:
    """Wall seconds of the original's runners, one after the other."""
    total = 0.0
    for engine in ENGINES:
        with tempfile.TemporaryDirectory() as cache:
            environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache, "PYTHON": sys.executable}
            environment |= {"HF_HUB_OFFLINE": "1", "HOME": cache}
            start = time.monotonic()
            script = checkout / "frameworks" / engine / "bench.py"
            done = subprocess.run(
                [sys.executable, script, MODEL],
                cwd=checkout,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            seconds = time.monotonic() - start
        total += seconds
        print(f"  original, {engine:<12} {seconds:7.1f} s, exit status {done.returncode}")
        if done.returncode:
            print("   ", done.stderr.strip()[-600:])
    return total


def ours() -> float:
    """Wall seconds of this benchmark's cells of the same engines, from a cold cache and from a warm one."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            sys.executable, "-m", "pytest", "benchmarks", "-q", "-k", "smollm", "-m", "inductor or onnxruntime or jax",
            "--inferena-weights=package", f"--inferena-report=json:{report}",
            "--benchmark-max-time=1",  # ten samples of up to a hundred, unless steps are quick
        ]  # fmt: skip
        environment = os.environ | {"INFERENA_CACHE": str(Path(folder) / "cache")}
        walls = []
        for state in ("cold", "warm"):
            start = time.monotonic()
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            walls.append(time.monotonic() - start)
            records = json.loads(report.read_text())["records"]
            entries = {(r["framework"], r["metric"]): r["extra"].get("compile_s", 0.0) for r in records}
            inference = {key for key in entries if key[1] == "inference"}  # compiled once, for `compile`
            compiling = sum(seconds for key, seconds in entries.items() if key not in inference)
            fewest = min(sum(map(len, r["samples"])) for r in records if r["metric"] != "compile")
            outcomes = sorted({r["outcome"] for r in records})
            print(
                f"  this one, {state} cache    {walls[-1]:7.1f} s, of it {compiling:.1f} s the engines' own compilation"
            )
            print(f"    {len(records)} cells, {outcomes}, at least {fewest} samples, exit status {done.returncode}")
    return walls[0]


def main() -> None:
    """Both, and which was quicker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    options = parser.parse_args()
    checkout = options.checkout.resolve()
    provide_weights(checkout)
    before, now = theirs(checkout), ours()
    print(f"original {before:.1f} s, this one {now:.1f} s: {now / before:.2f} times")


if __name__ == "__main__":
    main()
