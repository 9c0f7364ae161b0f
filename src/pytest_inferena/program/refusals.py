"""What an exported forward may not do: draw random numbers, keep something, or forget gradients that are asked for.

Every refusal says where in the user's code, what the cause is, and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pytest_inferena.program.graph import NotExportable
from pytest_inferena.program.places import at, blamed, placed, raised_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NO_FORWARD = "torch.export needs a forward without data-dependent Python (see 'torch.export' in PyTorch's docs)"

VALUES = "the forward branches on the value of a tensor, or makes a shape of it"
CAUSES = (
    ("GuardOnDataDependentSymNode", VALUES, "use torch.where for the branch, and numbers known beforehand for sizes"),
    (".numpy() is not supported", "the forward leaves PyTorch for NumPy", "compute it with torch"),
    ("was assigned during export", "the forward keeps a tensor in an attribute of the module", "return it instead"),
)
"""What an error of torch.export has in it, what it means, and what to do."""


def refuse_random(fx: torch.fx.Graph) -> None:
    """Raise NotExportable for random numbers."""
    for node in fx.nodes:
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()) and not _is_off(node):
            raise NotExportable(
                f"{at(node)}the forward draws random numbers ({node.target}), so no two engines could agree; make it "
                "an input, or leave dropout to modules, which eval() turns off"
            )


def _is_off(node: torch.fx.Node) -> bool:
    """Whether an operator that may drop numbers, such as dropout or LSTM, does not: in eval(), or with a share of 0."""
    schema = node.target._schema.arguments
    given = {argument.name: argument.default_value for argument in schema}
    given |= dict(zip(given, node.args, strict=False)) | node.kwargs
    if "dropout_p" in given:
        return True  # attention, whose rule looks at it
    return not given.get("train", given.get("training", True)) or 0 in {given.get("p"), given.get("dropout")}


def refuse_changes(exported: torch.export.ExportedProgram, inputs: Iterable[str]) -> None:
    """Raise NotExportable for a forward that changes a buffer, a parameter or one of its inputs."""
    signature = exported.graph_signature
    nodes = {node.name: node for node in exported.graph.nodes}
    names = dict(zip(signature.user_inputs, inputs, strict=True))
    kept = "give it in as an input and return its new value as an output, or leave it as it is in eval()"
    for kind, changed, remedy in (
        ("buffer", signature.buffers_to_mutate, kept),
        ("parameter", signature.parameters_to_mutate, "compute with a new tensor (of an embedding: no max_norm)"),
        ("input", signature.user_inputs_to_mutate, "work on a clone()"),
    ):
        for made, changed_name in changed.items():
            name = names.get(changed_name, changed_name).removeprefix("case_module.")
            raise NotExportable(
                f"{at(nodes[made])}the forward changes the {kind} {name} in place, and a step has to leave everything "
                f"as it was; {remedy}"
            )


def refuse_strided(fx: torch.fx.Graph) -> None:
    """Raise NotExportable for strides in a memory that is not that of the tensor row by row."""
    for node in fx.nodes:
        if getattr(node.target, "_opname", "") == "as_strided" and not node.args[0].meta["val"].is_contiguous():
            raise NotExportable(
                f"{at(node)}the forward reads the memory of a tensor that does not lie there row by row, and a Program "
                "has tensors without a memory; call contiguous() before as_strided()"
            )


def explained(error: Exception, forward: Callable[[], object]) -> NotExportable:
    """Why a forward has no graph, with the true cause: where it cannot run at all, that.

    Args:
        error: what torch.export raised.
        forward: runs it as it is.
    """
    try:
        with torch.no_grad():
            forward()
    except NotExportable as refused:
        return NotExportable(placed(str(refused), refused))
    except Exception as raised:  # noqa: BLE001 - it is the model's
        what = blamed(raised)[0] or "the forward"
        return NotExportable(placed(f"{what} itself raises {type(raised).__name__}: {_first(raised)}", raised))
    for sign, cause, remedy in CAUSES:
        if sign in f"{type(error).__name__}: {error}":
            return NotExportable(placed(f"{cause}; {remedy}", error))
    place = raised_at(error)
    return NotExportable(
        f"{place}: " * bool(place)
        + f"the forward does not export: {type(error).__name__}: {_first(error)}; {NO_FORWARD}"
    )


def _first(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:300]
