#!/usr/bin/env python3
"""A whole worker, to be read beside worker-protocol.md: it uses nothing of pytest-inferena, and computes with NumPy.

A worker in another language has the same parts: an operator table, a timing loop, and answers to seven requests.
"""

import json
import math
import os
import statistics
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

OPERATORS = {
    "linear": lambda x, weight, bias: x @ weight.T + bias,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
}
CONDITIONS = {"linear": {"bias": ["tensor"]}, "relu": {}, "tanh": {}}  # under which it has them, for hello
LOOP = {
    "min_rounds": 10, "max_rounds": 100, "max_time": 10.0, "give_up": 30.0, "few": 3, "precision": 0.01, "warmup": True,
}  # fmt: skip


class UnsupportedError(Exception):
    """The engine lacks something; the message says what."""


class Entry:
    """One entry of a Program with its inputs, parameters and constants in memory."""

    def __init__(self, folder, name, weights):
        self.document = json.loads((folder / f"{name}.json").read_text())
        inputs, constants = (load_file(folder / f"{name}.{kind}.safetensors") for kind in ("inputs", "constants"))
        self.values = {**weights, **inputs, **constants}
        self.results = None

    def check(self):
        for node in self.document["nodes"]:
            if node["op"] not in OPERATORS:
                name = node["out"][0]["name"]
                raise UnsupportedError(f"unsupported operator aten.{node['op']}, node {name} (engine example)")

    def step(self):
        """Walk the nodes; an argument is a number, or {"ref": the name of a tensor}."""
        values = dict(self.values)
        for node in self.document["nodes"]:
            given = [values[a["ref"]] if isinstance(a, dict) else a for a in node["args"].values()]
            values[node["out"][0]["name"]] = OPERATORS[node["op"]](*given)
        self.results = {name: values[tensor] for name, tensor in self.document["outputs"].items()}


def timed(step, count=1):
    start = time.monotonic_ns()
    for _ in range(count):
        step()
    return time.monotonic_ns() - start  # here an engine with a queue would wait for it first


def interval(samples):
    """The median's 95 % interval, between order statistics."""
    ordered, rank, tail = sorted(samples), -1, 1
    while 2 * tail <= 0.05 * 2 ** len(ordered):
        rank += 1
        tail += math.comb(len(ordered), rank + 1)
    cut = max(rank, 0)
    return ordered[cut], ordered[-1 - cut]


def batch_of(duration):
    return 1 if duration >= 1e6 else min(1000, round(1e6 / max(duration, 1)))


def enough(samples, seconds, loop):
    count = len(samples)
    if count >= max(loop["max_rounds"], loop["min_rounds"]):
        return True
    if count < loop["min_rounds"]:
        return seconds >= loop["give_up"] and count >= loop["few"]
    low, high = interval(samples)
    median = statistics.median(samples)
    precise = count >= 6 and max(high - median, median - low) <= loop["precision"] * median
    return seconds >= loop["max_time"] or precise


def measure(step, loop):
    if unknown := loop.keys() - LOOP.keys():
        raise ValueError(f"unknown fields of loop: {unknown}")
    loop, warm = LOOP | loop, []
    begin = time.monotonic_ns()
    while loop["warmup"] and (not warm or warm[-1] <= 2e9) and (len(warm) < 3 or time.monotonic_ns() - begin < 2e8):
        warm.append(timed(step))
    warmups, batch, samples = len(warm), batch_of(statistics.median(warm[-3:])) if warm else 1, []
    start, processor = time.monotonic_ns(), time.process_time_ns()
    while True:
        duration = timed(step, batch)
        samples.append(duration / batch)
        if batch > 1 and duration > 1e9:
            warmups += batch * len(samples)
            batch, samples = min(batch - 1, batch_of(samples[-1])), []
        elif enough(samples, (time.monotonic_ns() - start) / 1e9, loop):
            break
    working = (time.process_time_ns() - processor) / (time.monotonic_ns() - start)
    few = len(samples) < loop["min_rounds"]
    return {"ns": samples, "steps_per_sample": batch, "warmups": warmups, "few": few, "cpu_per_wall": working}


class Engine:
    """One method for each request, its fields as arguments."""

    def __init__(self):
        self.entries, self.ready = None, {}

    def hello(self, protocol, backend, device, threads, scratch, exchange):
        del backend, device, threads, scratch, exchange  # one backend; the threads are NumPy's, by environment
        if protocol != 1:
            raise ValueError(f"protocol version {protocol}; this worker speaks version 1")
        self.entries = ()
        versions, ran = {"numpy": np.__version__}, f"NumPy {np.__version__} on cpu"
        return {"protocol": 1, "versions": versions, "ran": ran, "operators": CONDITIONS}

    def load(self, program, entries):
        if self.entries is None:
            raise ValueError("load comes before hello")
        folder = Path(program)
        if json.loads((folder / "program.json").read_text())["version"] != 1:
            raise ValueError("another version of the Program; this worker reads 1")
        start = time.monotonic_ns()
        weights = load_file(folder / "weights.safetensors")
        spent = time.monotonic_ns() - start
        self.entries, self.ready = {name: Entry(folder, name, weights) for name in entries}, {}
        return {"ns": spent}

    def compile(self, entry):
        if not self.entries or entry not in self.entries:
            raise ValueError(f"entry {entry!r} is not loaded")
        start = time.monotonic_ns()
        self.entries[entry].check()
        self.entries[entry].step()
        self.ready[entry] = self.entries[entry]
        return {"ns": time.monotonic_ns() - start, "ran": f"NumPy {np.__version__} on cpu"}

    def measure(self, entry, loop):
        return measure(self.compiled(entry).step, loop)

    def outputs(self, entry, file):
        results = self.compiled(entry).results
        save_file({name: np.ascontiguousarray(result) for name, result in results.items()}, file)
        return {}

    def compiled(self, entry):
        if entry not in self.ready:
            raise ValueError(f"entry {entry!r} is not compiled")
        return self.ready[entry]


def answer(engine, line):
    """The answer to one request; whatever goes wrong is an answer too."""
    try:
        if len(line) > 1 << 20:
            raise ValueError("a line of more than 1048576 bytes")
        try:
            fields = dict(json.loads(line))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"not a JSON object: {error}") from None
        request = fields.pop("request")
        if request not in {"hello", "load", "compile", "measure", "outputs", "quit"}:
            raise ValueError(f"unknown request {request!r}")
        return {"ok": True} | ({} if request == "quit" and not fields else getattr(engine, request)(**fields))
    except UnsupportedError as error:
        return {"ok": False, "kind": "unsupported", "message": str(error)}
    except MemoryError as error:
        return {"ok": False, "kind": "oom", "message": str(error)}
    except Exception as error:
        return {"ok": False, "kind": "error", "message": f"{type(error).__name__}: {error}"}


def main():
    engine = Engine()
    reading, writing = (int(os.environ[f"INFERENA_{end}_FD"]) for end in ("READ", "WRITE"))
    for number in (reading, writing):
        os.set_inheritable(number, False)
    requests, answers = os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
    for line in requests:
        reply = answer(engine, line)
        answers.write(json.dumps(reply).encode() + b"\n")
        answers.flush()
        if reply["ok"] and json.loads(line)["request"] == "quit":
            return


if __name__ == "__main__":
    main()
