"""Targets: what one worker serves, its id and markers, and which cells it has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_inferena.cell import DEFAULTS, ENTRIES, METRICS, id_of

if TYPE_CHECKING:
    from pytest_inferena.collect.model import Model
    from pytest_inferena.engines.framework import Backend, Framework, KnownIssue

ASKED_FOR = {
    "large": "models that need a big machine; deselected unless asked for",
    "software": "backends for GPUs on a software device, such as llvmpipe; deselected unless asked for",
    "tuned": "engines that search for fast kernels, for minutes or hours; deselected unless asked for",
}
"""Markers of cells that run only where `-m` or an option of the same name asks for them."""


@dataclass(frozen=True)
class Target:
    """What one worker serves: a model on a framework's backend; the parameter of every cell's test."""

    model: Model
    framework: Framework
    backend: Backend
    dtype: str = DEFAULTS["dtype"]
    batch: int | None = None
    seq: int | None = None
    """None is the model's own, as with `batch`."""
    inputs: str = DEFAULTS["inputs"]

    @cached_property
    def id(self) -> str:
        """The id of its cells, which the metric is no part of."""
        names = self.model.name, self.framework.name, self.backend.name, self.backend.device
        return id_of(names, self.dtype, self.batch, self.seq, self.inputs)

    def marks(self) -> list[str]:
        """Names of the markers: model, framework, backend, device, language."""
        names = [
            self.model.name, self.framework.name, self.backend.name, self.backend.device, self.framework.language
        ]  # fmt: skip
        asked = {
            "large": self.model.large,
            "software": self.framework.in_software(self.backend),
            "tuned": self.backend.tuned,
        }
        return list(dict.fromkeys([*names, *(name for name, is_set in asked.items() if is_set)]))

    def entry(self, metric: str) -> str:
        """The entry of the Program that a metric runs here: training is `joint` where the engine has no autograd."""
        is_joint = metric == "training" and self.framework.training == "joint"
        return "joint" if is_joint else ENTRIES[metric]

    def entries(self) -> list[str]:
        """All entries this target may run."""
        metrics = [metric for metric in METRICS if not self.absent(metric)]
        return list(dict.fromkeys(self.entry(metric) for metric in metrics))

    def absent(self, metric: str) -> str:
        """Why the engine does not have a metric; "" if it has."""
        for item in self.framework.absent:
            if item.metric == metric and item.model in {None, self.model.name}:
                return item.reason
        if metric == "training" and self.framework.training == "none":
            return f"{self.framework.title} does not train"
        return ""

    def known_issue(self, metric: str) -> KnownIssue | None:
        """The upstream bug that makes a cell fail with the version that is installed."""
        from packaging.specifiers import SpecifierSet

        versions, _ = self.framework.installed()
        for issue in self.framework.known_issues:
            if issue.metric != metric or issue.model not in {None, self.model.name}:
                continue
            distribution = issue.distribution or next(iter(self.framework.requirements), "")
            if not issue.versions or versions.get(distribution, "") in SpecifierSet(issue.versions, prereleases=True):
                return issue
        return None
