"""Golden's arithmetic: float64 also where a module's code says float32, by kernels that have no fast path.

A model says float32 in many ways: `x.float() / 255`, `torch.zeros(…)`, a tensor that is no buffer, a norm that casts
up. Within `Float64` all of that is computed in float64, and the values that it starts from are still those of float32:
a cast of integers, a table of constants and `torch.finfo` give what they give when the model runs.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from pytest_inferena.program.capture import BY_SHAPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

WIDE = {
    torch.float32: torch.float64,
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.complex64: torch.complex128,
}
NARROW = {torch.float64: torch.float32, torch.complex128: torch.complex64}
CASTS = {"float": torch.float64, "half": torch.float64, "bfloat16": torch.float64, "cfloat": torch.complex128}
"""Methods of a tensor that are called like the dtype they cast to."""
MADE = frozenset({*CASTS, "to", "type", "type_as", "_to_copy", "to_copy", "convert_element_type"})
"""Functions of integers that round them, and compute nothing."""


@contextlib.contextmanager
def plain_kernels() -> Iterator[None]:
    """Attention by its definition, encoder layers as they are written, and results that repeat.

    A row of attention that may attend to nothing gives 0, as everywhere in PyTorch since 2.5. Padded rows are computed
    like all others: a fast path would fill them with 0, and no engine is given such a path.
    """
    fast, deterministic = torch.backends.mha.get_fastpath_enabled(), torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.use_deterministic_algorithms(deterministic, warn_only=warns)


class Float64(TorchFunctionMode):
    """Computes in float64 what is written for float32, float16 or bfloat16.

    A tensor in float32 gets one twin in float64, which takes its place in every call; what is written in place is
    written to the twin. A tensor in float64 says that it is float32, so that code which asks goes float32's way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.twins: Any = WeakTensorKeyDictionary()

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[Any],
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch in float64. Within it the mode is off."""
        name, kwargs = _name(function), dict(kwargs or {})
        if function == torch.Tensor.dtype.__get__:
            return NARROW.get(dtype := function(*args), dtype)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if not any(map(_is_float, tensors)):
            return self.wide(
                self._of_integers(function, name, args, kwargs, computes=bool(tensors) and name not in MADE)
            )
        args, wide = tree_map(self.wide, (args, kwargs))
        if name in CASTS:
            return args[0].to(CASTS[name])
        if name == "type":
            args = [args[0], *map(_wide_type, args[1:])]
        if name == "view" and len(args) > 1 and isinstance(args[1], torch.dtype) and args[1] != args[0].dtype:
            raise TypeError(f"the bits of a float32 are read as {args[1]}")
        if name in {"_grouped_mm", "grouped_mm"}:
            return grouped_mm(*args, **wide)
        if name == "rms_norm" and len(args) < 4 and wide.get("eps") is None:
            wide["eps"] = torch.finfo(torch.float32).eps  # what None stands for
        return self.rounded(name, args, self.wide(function(*args, **wide)))

    def rounded(self, name: str, args: Sequence[Any], result: Any) -> Any:
        """What a function gave, as it goes on. `rounding` overrides this."""
        del name, args
        return result

    def wide(self, value: Any) -> Any:
        """A tensor's twin, several of them, or the dtype that is computed in; anything else as it is."""
        if isinstance(value, torch.dtype):
            return WIDE.get(value, value)
        if isinstance(value, tuple | list):
            parts = [self.wide(part) for part in value]
            return value if all(a is b for a, b in zip(parts, value, strict=True)) else type(value)(parts)
        if not isinstance(value, torch.Tensor) or value.dtype not in WIDE:
            return value
        if value not in self.twins:
            self.twins[value] = value.to(WIDE[value.dtype])
        return self.twins[value]

    def _of_integers(self, function: Callable[..., Any], name: str, args: Any, kwargs: Any, *, computes: bool) -> Any:
        """What integers or nothing becomes: a cast and a constant are those of float32, what is computed is not."""
        if not computes or name.startswith(BY_SHAPE):
            return function(*args, **kwargs)
        args, kwargs = tree_map(self.wide, (args, kwargs))
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # of a quotient of integers
        try:
            return function(*args, **kwargs)
        finally:
            torch.set_default_dtype(default)


def grouped_mm(
    x: Tensor, y: Tensor, offs: Tensor | None = None, bias: Tensor | None = None, out_dtype: torch.dtype | None = None
) -> Tensor:
    """Products of groups of rows, or of columns, each with its own matrix: PyTorch has no kernel of it for float64."""
    del out_dtype
    if offs is None:
        result = x @ y
    else:
        ends = offs.tolist()
        groups = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        if x.ndim == 2 and y.ndim == 3:  # rows of x
            parts = [x[group] @ y[index] for index, group in enumerate(groups)]
            result = torch.cat([*parts, x.new_zeros(len(x) - ends[-1], y.shape[-1])])
        elif x.ndim == 3 and y.ndim == 2:  # columns of y
            result = torch.cat([x[index] @ y[:, group] for index, group in enumerate(groups)], -1)
        else:  # what is summed over
            result = torch.stack([x[:, group] @ y[group] for group in groups])
    return result if bias is None else result + bias


def _name(function: Any) -> str:
    """As PyTorch calls it; an overload of an operator without the overload."""
    return str(getattr(function, "__name__", "")).split(".")[0]


def _is_float(tensor: Tensor) -> bool:
    return bool(tensor.is_floating_point() or tensor.is_complex())


def _wide_type(kind: Any) -> Any:
    """What `Tensor.type` is asked for: a dtype, a class of tensors or its name."""
    narrow = any(str(kind).find(word) >= 0 for word in ("FloatTensor", "HalfTensor", "BFloat16Tensor"))
    return torch.float64 if narrow else kind
