"""Tests of the timing loop, most of them with a clock that no time passes on."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.timing import MS, US, S, run, vectors

from pytest_inferena.session.figures import flags
from pytest_inferena.worker.timing import Loop, measure

if TYPE_CHECKING:
    from collections.abc import Callable

ONCE = Loop(min_rounds=1, max_rounds=1, few=1, warmup=False)


@pytest.mark.parametrize("name", vectors())
def test_loop_agrees_with_the_vectors(name: str) -> None:
    """The vectors, which hold for every language, say how many steps are run, and how many of them count."""
    case = vectors()[name]
    durations = [duration for count, duration in case["durations"] for _ in range(count)]
    timing, machine = run(durations, **case["loop"])

    expected = {key: case[key] for key in ("samples", "steps_per_sample", "warmups", "few", "first_sample")}
    actual = asdict(timing) | {"samples": len(timing.samples), "first_sample": timing.samples[0]}
    assert expected == {key: actual[key] for key in expected}
    assert case["warmups"] + case["samples"] * case["steps_per_sample"] == machine.steps


@pytest.mark.parametrize("duration", [10 * US, 2 * MS, 3 * S])
def test_clock_is_read_only_when_no_step_is_under_way(duration: int) -> None:
    """Every reading of the clock follows a synchronisation, in the warm-up and in batches too."""
    _, machine = run([duration])

    assert 0 == machine.early


def test_samples_are_the_durations_of_the_steps() -> None:
    """Every step after the warm-up is kept, in its order."""
    timing, _ = run([70 * MS, 80 * MS, 90 * MS, *range(101 * MS, 112 * MS, MS)], precision=1.0)

    assert [float(value) for value in range(101 * MS, 111 * MS, MS)] == timing.samples


def test_sample_of_a_batch_is_its_mean_step() -> None:
    """Batches of a hundred steps of 10 and 30 µs in turn are 20 µs on average."""
    timing, _ = run([10 * US] * 20_000 + [10 * US, 30 * US] * 1000)

    assert {20_000.0} == set(timing.samples[:10])


@pytest.mark.parametrize("durations", [[2 * S], [2 * S, 2 * S, 9 * S, MS], [1500 * MS, MS], [MS, 6 * S]])
def test_no_step_of_the_warm_up_begins_after_its_cap(durations: list[int]) -> None:
    """The last step of the warm-up begins less than 5 s after the first."""
    timing, _ = run(durations)
    steps = [durations[min(index, len(durations) - 1)] for index in range(timing.warmups)]

    assert sum(steps[:-1]) < 5 * S


def test_a_step_slower_than_every_deadline_still_ends() -> None:
    """A step that takes a microsecond at first and a second for ever after costs one batch, no more."""
    timing, machine = run([US] * 200_001 + [S])

    assert (1, 3, True) == (timing.steps_per_sample, len(timing.samples), timing.few)
    assert machine.now < 1010 * S


@pytest.mark.parametrize("field", ["rounds", "min_round"])
def test_unknown_field_of_the_loop_is_an_error(field: str) -> None:
    """A field that the loop does not have is named."""
    with pytest.raises(TypeError, match=field):
        Loop.from_json({field: 3})


class Threads:
    """A step whose work is done by two threads, which say how much processor time they took."""

    def __init__(self, *, lasting: bool) -> None:
        self.busy, self.lasting = 0.0, lasting
        self.work: queue.Queue[Callable[[], None]] = queue.Queue()
        for _ in range(2 if lasting else 0):
            threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        """A thread of a pool."""
        while True:
            self.work.get()()
            self.work.task_done()

    def spin(self) -> None:
        """Multiply matrices for 30 ms of this thread's processor time."""
        start, matrix = time.thread_time(), np.ones((64, 64))
        while time.thread_time() - start < 0.03:
            matrix @ matrix
        self.busy += time.thread_time() - start

    def __call__(self) -> None:
        """Let two threads work."""
        for _ in range(2):
            if self.lasting:
                self.work.put(self.spin)
            else:
                thread = threading.Thread(target=self.spin)
                thread.start()
                thread.join()

    def synchronize(self) -> None:
        """Wait for the pool."""
        self.work.join()

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """Nothing."""
        return {}


@pytest.mark.parametrize("lasting", [True, False], ids=["pool", "thread per step"])
def test_processor_time_of_all_threads_counts(lasting: bool) -> None:
    """CPU seconds per wall second hold those of threads that were there before, and of threads that have ended."""
    step = Threads(lasting=lasting)
    timing = measure(step, replace(ONCE, max_rounds=3))
    total = timing.cpu_per_wall * sum(timing.samples) / S

    assert 0.9 * step.busy < total


def test_waiting_is_no_processor_time() -> None:
    """A step that sleeps keeps no CPU busy."""

    class Sleeper(Threads):
        def __call__(self) -> None:
            time.sleep(0.05)

    assert measure(Sleeper(lasting=False), ONCE).cpu_per_wall < 0.5


@pytest.mark.parametrize(
    ("few", "busy", "expected"),
    [(False, 2.19, []), (False, 2.21, ["threads"]), (True, 0.4, ["few"]), (True, 3.0, ["few", "threads"])],
)
def test_more_processors_than_the_budget_are_flagged(few: bool, busy: float, expected: list[str]) -> None:
    """A cell of which a process kept over 10 % more CPUs busy than it may has the flag `threads`."""
    calm = {"few": False, "cpu_per_wall": 1.0}

    assert expected == [*flags([calm, {"few": few, "cpu_per_wall": busy}], 2)]
