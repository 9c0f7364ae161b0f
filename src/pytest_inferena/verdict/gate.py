"""The one verdict: whether an engine's tensors are the model's, or another model's.

Every tensor is measured as `scale` says. Its limit follows from how far PyTorch in float32 is off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from pytest_inferena.cell import Outcome
from pytest_inferena.results import VerdictFigures
from pytest_inferena.verdict.scale import FLOORS, denominators, kind, limit
from pytest_inferena.verdict.tensors import Array, Distance, distance

Tensors: TypeAlias = Mapping[str, Array | None]

CLOSE = 1e-2  # the same model at reduced precision lies below
_BEST_FIRST = [outcome for outcome in Outcome if outcome.judged]


class Verdict(VerdictFigures, frozen=True, kw_only=True):
    """What the gate found. Its figures are those of the worst tensor: its NRMSE is the most times its limit."""

    def explain(self) -> list[str]:
        """Lines for pytest's assertion report, the verdict first."""
        lines = [f"{self.outcome}: {self.message}"]
        if self.nrmse is not None and self.limit is not None and self.reference is not None:
            lines += [
                f"tensor: {self.tensor} (the worst of {self.tensors})",
                f"NRMSE: {self.nrmse:.2e}, passes up to {self.limit:.2e}, is close up to {CLOSE:.0e}",
                f"PyTorch float32: {self.reference:.2e}",
            ]
        if self.index is not None:
            lines.append(f"worst index: {list(self.index)}")
        if self.loss is not None and self.loss_golden is not None:
            within = abs(self.loss - self.loss_golden) <= 0.01 * abs(self.loss_golden)
            share = "within 1 %, which alone proves nothing" if within else "not within 1 %"
            lines.append(f"loss: {self.loss:.6g} against {self.loss_golden:.6g}: {share}")
        return lines

    def figures(self) -> VerdictFigures:
        """The verdict as a record has it: figures that are not finite are none."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        infinite = [name for name, value in fields.items() if isinstance(value, float) and not math.isfinite(value)]
        return VerdictFigures(**fields | dict.fromkeys(infinite))


@dataclass(frozen=True)
class _Finding:
    """One tensor, measured.

    `problem` says why it has no NRMSE; `detail` where it is farthest off; `note` is told also of what passes.
    """

    name: str
    size: int = 0
    rms: float = 0.0
    rmse: float = 0.0
    reference: float = 0.0  # NRMSE where `reference_is_relative`, else RMSE
    reference_is_relative: bool = True
    index: tuple[int, ...] | None = None
    detail: str = ""
    problem: str = ""
    note: str = ""


@dataclass(frozen=True)
class _Weighed:
    """One tensor against its limit."""

    finding: _Finding
    outcome: Outcome
    nrmse: float | None = None
    limit: float | None = None
    reference: float | None = None

    @property
    def badness(self) -> tuple[int, float]:
        """Orders tensors from best to worst."""
        if self.nrmse is None or self.limit is None:
            return _BEST_FIRST.index(self.outcome), math.inf
        return _BEST_FIRST.index(self.outcome), self.nrmse / self.limit


def judge(
    golden: Tensors,
    reference: Mapping[str, Any],
    result: Tensors,
    dtype: str = "float32",
    notes: Sequence[str] = (),
) -> Verdict:
    """Judge every tensor of a result. The mappings may read lazily: one tensor of each is held at a time.

    Args:
        golden: what is right: outputs by name, `loss`, `grad:PARAMETER`; None for a gradient that does not exist.
        reference: the same of PyTorch float32 eager: for each tensor its NRMSE against golden, or the tensor itself. Of
            integers and booleans the choices that float32 cannot decide, if any: pairs of a flat index and a value that
            is as right there as golden's.
        result: what the engine computed. Floating-point tensors have `dtype`; others have golden's dtype and values.
        dtype: what the engine was asked to compute in.
        notes: what the verdict has to say beside its finding.

    Raises:
        ValueError: `dtype` is not calibrated, golden is empty or all of a tensor not finite, or the reference unusable.
    """
    floors = FLOORS.get(dtype)
    if floors is None:
        raise ValueError(f"The gate is not calibrated for {dtype}: ask for one of {', '.join(FLOORS)}.")
    if not golden:
        raise ValueError("There is nothing to judge: golden has no tensors.")
    known, given = list(golden), set(result)
    surplus = given.difference(known)
    findings = [
        _measure(name, golden[name], result[name] if name in given else None, reference, dtype) for name in known
    ]
    extra = [name for name in result if name in surplus and result[name] is not None]
    findings += [_Finding(name, problem="is not a tensor of this entry") for name in extra]
    scales = denominators({finding.name: finding.rms for finding in findings})
    weighed = [_weigh(finding, scales[finding.name], floors) for finding in findings]
    worst = max(weighed, key=lambda one: one.badness)
    missed = sum(one.outcome is not Outcome.PASS for one in weighed)
    return Verdict(
        outcome=worst.outcome,
        tensor=worst.finding.name,
        nrmse=worst.nrmse,
        limit=worst.limit,
        reference=worst.reference,
        index=worst.finding.index,
        tensors=len(weighed),
        loss=_scalar(result["loss"]) if "loss" in given else None,
        loss_golden=_scalar(golden["loss"]) if "loss" in known else None,
        message="; ".join([_message(worst, missed, len(weighed)), *(f.note for f in findings if f.note), *notes]),
    )


def _measure(name: str, right: Array | None, given: Array | None, reference: Mapping[str, Any], dtype: str) -> _Finding:
    if right is None:
        wrong = given is not None and bool(np.any(given))
        return _Finding(name, problem="has values other than zero, and should not exist" if wrong else "")
    if given is None:
        return _Finding(name, problem="is missing")
    if given.shape != right.shape:
        return _Finding(name, problem=f"has shape {list(given.shape)} instead of {list(right.shape)}")
    exact = right.dtype.kind in "iub"
    expected_dtype = right.dtype if exact else np.dtype(dtype)
    if given.dtype != expected_dtype:
        return _Finding(name, problem=f"is {_type(given)} instead of {expected_dtype.name}")
    if exact:
        return _equal(name, right, given, reference.get(name, ()))
    gap = distance(right, given)
    if not math.isfinite(gap.rms):
        raise ValueError(f"The golden tensor {name} is not finite: check the weights and inputs it was made from.")
    index = _unravel(gap.worst, right)
    if not gap.agrees:
        problem = (
            f"has {_values(index or (), given, right)}"
            if gap.special
            else f"has {given[index or ()]} at {list(index or ())}"
        )
        return _Finding(name, rms=gap.rms, index=index, problem=problem)
    return _with_reference(name, right, given, gap, reference)


def _with_reference(name: str, right: Array, given: Array, gap: Distance, reference: Mapping[str, Any]) -> _Finding:
    if name not in reference:
        raise ValueError(f"The reference has nothing for {name}: write golden and reference together.")
    value = reference[name]
    as_array = isinstance(value, np.ndarray)
    error = distance(right, value).rmse if as_array else float(value)
    if not math.isfinite(error) or error < 0:
        raise ValueError(f"The reference of {name} is not finite: check the weights and inputs it was made from.")
    index = _unravel(gap.worst, right)
    detail = "" if index is None else _values(index, given, right)
    note = f"{gap.special} of {right.size} values of {name} are not finite, as in golden" if gap.special else ""
    return _Finding(name, right.size, gap.rms, gap.rmse, error, not as_array, index, detail, note=note)


def _equal(name: str, right: Array, given: Array, ties: Sequence[Sequence[int]]) -> _Finding:
    unequal = given != right
    flat, tied = unequal.reshape(-1), 0
    for at, value in ties:
        if flat[at] and given.reshape(-1)[at] == value:
            flat[at], tied = False, tied + 1
    note = f"{tied} of {right.size} values of {name} are another choice where float32 cannot decide" if tied else ""
    if not flat.any():
        return _Finding(name, size=right.size, note=note)
    index = _unravel(int(flat.argmax()), right)
    problem = f"differs in {int(flat.sum())} of {right.size} values, at {_values(index or (), given, right)}"
    return _Finding(name, index=index, problem=problem, note=note)


def _weigh(finding: _Finding, denominator: float, floors: Mapping[str, float]) -> _Weighed:
    if finding.problem:
        return _Weighed(finding, Outcome.FAIL)
    nrmse = finding.rmse / denominator
    reference = finding.reference / (1 if finding.reference_is_relative else denominator)
    passes = limit(reference, finding.size, floors[kind(finding.name)])
    outcome = Outcome.PASS if nrmse <= passes else Outcome.CLOSE if nrmse <= CLOSE else Outcome.FAIL
    return _Weighed(finding, outcome, nrmse, passes, reference)


def _message(worst: _Weighed, missed: int, count: int) -> str:
    finding = worst.finding
    others = f"; {missed} of {count} tensors miss their limits" if count > 1 and missed > 1 else ""
    if worst.nrmse is None or worst.limit is None:
        return f"{finding.name} {finding.problem}{others}"
    figures = f"NRMSE {worst.nrmse:.1e}, limit {worst.limit:.1e}, PyTorch float32 {worst.reference:.1e}"
    text = f"{finding.name} has {figures}"
    if worst.outcome is Outcome.PASS:
        return text if count == 1 else f"{text}: the worst of {count} tensors"
    where = f", worst at {finding.detail}" if finding.detail else ""
    meaning = " (the same model at reduced precision)" if worst.outcome is Outcome.CLOSE else ""
    return f"{text}{meaning}{where}{others}"


def _values(index: tuple[int, ...], given: Array, right: Array) -> str:
    return f"{list(index)}: {given[index]:.6g} instead of {right[index]:.6g}"


def _unravel(flat: int | None, tensor: Array) -> tuple[int, ...] | None:
    return None if flat is None else tuple(int(i) for i in np.unravel_index(flat, tensor.shape))


def _type(tensor: Array) -> str:
    metadata: Mapping[str, str] = tensor.dtype.metadata or {}
    return metadata.get("name", tensor.dtype.name)


def _scalar(value: Array | None) -> float | None:
    if value is None or value.size != 1 or value.dtype.kind not in "iuf":
        return None
    return float(value.reshape(-1)[0])
