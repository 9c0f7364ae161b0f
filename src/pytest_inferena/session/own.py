"""Tests of one's own: the fixture `inferena`, with which a test of any suite measures a model on engines."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import pytest
from msgspec import structs

from pytest_inferena.cell import Outcome
from pytest_inferena.collect.loop import changed, shared, unused_of
from pytest_inferena.collect.misuse import ChoiceError
from pytest_inferena.processes.marks import marks
from pytest_inferena.ranges import RangeError
from pytest_inferena.results import Record, plain
from pytest_inferena.session.bench import Bench, Harness
from pytest_inferena.session.celltest import broken
from pytest_inferena.session.choice import Choice, choose, wanted
from pytest_inferena.session.figures import figures
from pytest_inferena.session.result import Result, Tensors
from pytest_inferena.session.story import cut_off
from pytest_inferena.session.travel import TOLD
from pytest_inferena.store.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_inferena.collect.registry import Registry
    from pytest_inferena.collect.settings import Settings
    from pytest_inferena.collect.source import Source

ROUNDS = 9
"""How often `compare` measures each engine in turn. Of 9 quotients the second smallest and the second largest enclose
the median at 95 %, so one round in which something else ran decides nothing."""


class Options(TypedDict, total=False):
    """What else a call can choose; `Inferena` says what it means."""

    metric: str
    size: str
    weights: str | Path
    threads: int
    batch: int
    seq: int
    inputs: str


class Workers:
    """The workers of a session's own tests. They live as long as test after test asks for the same ones."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._models: dict[str, Source] = {}
        self._harnesses: dict[Any, Harness] = {}
        self._benches: dict[Any, Bench] = {}

    def choose(self, item: pytest.Item, given: Mapping[str, Any], settings: Settings) -> Choice:
        """What a test measures.

        Raises:
            ChoiceError: there is no such thing, or another test has called something else so.
        """
        choice = choose(wanted(item, given), self.registry, settings, item.path.parent)
        model = choice.target.model
        if (other := self._models.setdefault(model.name, model.source)) != model.source:
            raise ChoiceError(f"two models are named {model.name!r}: {other} and {model.source}; rename one")
        return choice

    def bench(self, choice: Choice, used: set[Any]) -> Bench:
        """The worker of a choice, fresh or as the last test left it.

        Args:
            choice: what it measures.
            used: those that the test has used. It grows by this one; any other worker ends before a new one starts.
        """
        settings, target = choice.settings, choice.target
        common = settings.size, settings.weights, settings.threads
        key = *common, target.id
        used.add(key)
        if key not in self._benches:
            for other in self._benches.keys() - used:
                self._benches.pop(other).close()
            if common not in self._harnesses:
                self._harnesses[common] = Harness(settings)
            self._benches[key] = Bench(self._harnesses[common], target)
        return self._benches[key]

    def close(self) -> None:
        """End all workers, and remove what only this session needed."""
        for bench in self._benches.values():
            bench.close()
        for harness in self._harnesses.values():
            harness.close()


class Inferena:
    """The fixture `inferena`: it measures models on engines, and judges what they compute.

    What a call does not say is taken from `parametrize`, then from the marker `inferena`, then from pytest's options:

    - `model`: the name of a registered one, or a source: the path of a model's file from the test's folder
      (`"my_net.py"`), `"my_package.nets:make"`, `"hf:FOLDER"` and what else `--inferena-model` takes.
    - `framework`: an engine (`"my_engine"`), with its backend where it has several (`"my_engine-cpu"`).
    - `metric`: `"inference"` (the default), `"latency"`, `"training"` or `"compile"`.
    - `size`: `"full"` or `"tiny"`. `weights`: `"own"`, `"seeded"`, `"package"`, `"hub"` or a path.
    - `threads`: their number. `batch`, `seq`: of the inputs. `inputs`: `"noise"` or `"smooth"`.

    A test is skipped if an engine is not installed, and fails if one breaks. The marker `benchmark` of pytest-benchmark
    names a `group` for its table, and says how long to measure: `min_rounds`, `max_time`, `precision`, `warmup`.
    """

    def __init__(self, item: pytest.Item, settings: Settings, workers: Workers) -> None:
        self._item, self._settings, self._workers = item, settings, workers
        self._scratch = Scratch()
        marks().watch(self._scratch.folder)
        self._used: set[Any] = set()
        mark = item.get_closest_marker("benchmark")
        self._asked: Mapping[str, Any] = mark.kwargs if mark else {}
        self._told = item.stash[TOLD] = []  # what an earlier try has told is over

    def measure(
        self, model: str | Path | None = None, *, framework: str | None = None, **options: Unpack[Options]
    ) -> Result:
        """Measure a model on an engine, and judge every tensor that it computes."""
        return self._measured([{"model": model, "framework": framework, **options}], rounds=1)[0]

    def compare(
        self, *frameworks: str, model: str | Path | None = None, **options: Unpack[Options]
    ) -> tuple[Result, ...]:
        """Measure a model on several engines in turns, so that whatever slows the machine down slows all of them.

        Returns:
            A result for each engine, in their order; `Result.slower_than` compares two of them.
        """
        given = [{"model": model, "framework": framework, **options} for framework in frameworks]
        return self._measured(given, rounds=ROUNDS)

    def close(self) -> None:
        """Forget what was computed. The workers wait for the next test."""
        self._scratch.close()

    def _measured(self, given: Sequence[Mapping[str, Any]], rounds: int) -> tuple[Result, ...]:
        try:
            settings = self._loop(rounds)
            choices = [self._workers.choose(self._item, one, settings) for one in given]
        except (ChoiceError, RangeError) as error:
            raise pytest.fail.Exception(f"{self._item.nodeid}: {error}", pytrace=False) from None
        found: list[list[Record]] = [[] for _ in choices]
        files = [Path(tempfile.mkdtemp(dir=self._scratch.folder)) / "outputs.safetensors" for _ in choices]
        for turn in range(1 if self._settings.judges_only else rounds):
            order = [*range(len(choices))][:: -1 if turn % 2 else 1]
            for place in order:
                found[place].append(self._run(choices[place], files[place]))
            if not all(records[-1].outcome.judged for records in found):
                break
        results = [self._result(*one) for one in zip(choices, found, files, strict=True)]
        for result in results:
            self._stop(result.record)
        return tuple(results)

    def _run(self, choice: Choice, file: Path) -> Record:
        bench = self._workers.bench(choice, self._used)
        bench.settings, bench.tensors = choice.settings, file
        try:
            return bench.run(choice.cell, choice.settings.loop)
        except BaseException as error:  # a time limit of pytest's: the test ends here, and its record is this one
            blank = Record.of(choice.cell, Outcome.ERROR, command=self._again(choice))
            self._tell(cut_off(structs.replace(blank, **bench.facts()), error), choice)
            raise

    def _again(self, choice: Choice) -> str:
        return choice.settings.call.again(choice.target, choice.cell, self._item.path, self._item.nodeid)

    def _tell(self, record: Record, choice: Choice) -> None:
        """Let the report of this test have a record, and how its model is named."""
        model = choice.target.model
        self._told.append({"record": plain(record), "title": model.title, "unit": [model.unit, model.items]})

    def _loop(self, rounds: int) -> Settings:
        """The session's settings, with what the marker `benchmark` says, for one of several rounds."""
        if self._settings.judges_only:
            return self._settings
        loop = changed(self._settings.loop, self._asked)
        if rounds > 1:  # engines take turns, which noise hits alike; a process for each turn would take minutes
            return replace(self._settings, loop=shared(loop, rounds), processes=1, calibrates=False)
        return replace(self._settings, loop=loop)

    def _result(self, choice: Choice, records: Sequence[Record], file: Path) -> Result:
        """All rounds as one; the worst verdict counts."""
        worst = max(records, key=lambda record: [*Outcome].index(record.outcome))
        turns = zip_longest(*(record.samples for record in records), fillvalue=())
        samples = [[*chain.from_iterable(process)] for process in turns]
        notes = [note for record in records for note in record.extra.get("notes", ())] + [*unused_of(self._asked)]
        said: dict[str, Any] = {"group": self._asked.get("group"), "extra_info": {}}
        record = structs.replace(
            worst,
            started=records[0].started,
            wall=sum(record.wall for record in records),
            flags=tuple(dict.fromkeys(flag for record in records for flag in record.flags)),
            command=self._again(choice),
            extra={**worst.extra, **({"notes": notes} if notes else {}), "benchmark": said},
            **(figures(samples) if samples else {}),
        )
        self._tell(record, choice)
        medians = tuple(record.median for record in records if record.median is not None)
        return Result(record, Tensors(file), medians if len(medians) > 1 else ())

    @staticmethod
    def _stop(record: Record) -> None:
        """End the test where there is nothing to assert on."""
        if record.outcome is Outcome.NOT_INSTALLED:
            pytest.skip(record.reason)
        if record.outcome.broke:
            pytest.fail(broken(record), pytrace=False)
