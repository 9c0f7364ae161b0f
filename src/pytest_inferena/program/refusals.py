"""What an exported forward may not do: draw random numbers, or forget gradients that are asked for."""

from __future__ import annotations

import torch

from pytest_inferena.program.graph import NotExportable


def refuse_random(fx: torch.fx.Graph) -> None:
    """Raise NotExportable for random numbers."""
    for node in fx.nodes:
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()) and not _is_off(node):
            raise NotExportable(
                f"the forward draws random numbers ({node.target}), so no two engines could agree; make it an input, "
                "or leave dropout to modules, which eval() turns off"
            )


def _is_off(node: torch.fx.Node) -> bool:
    """Whether an operator that may drop numbers, such as dropout or LSTM, does not: in eval(), or with a share of 0."""
    schema = node.target._schema.arguments
    given = {argument.name: argument.default_value for argument in schema}
    given |= dict(zip(given, node.args, strict=False)) | node.kwargs
    if "dropout_p" in given:
        return True  # attention, whose rule looks at it
    return not given.get("train", given.get("training", True)) or 0 in {given.get("p"), given.get("dropout")}


def refuse_no_grad(exported: torch.export.ExportedProgram, *, trains: bool) -> None:
    """Raise NotExportable for a parameter in a region without gradients: what follows forgets that region."""
    signature = exported.graph_signature
    reached: set[torch.fx.Node] = set()
    for node in exported.graph.nodes:
        if node.name in signature.inputs_to_parameters or reached.intersection(node.all_input_nodes):
            reached.add(node)
        if trains and node in reached and getattr(node.target, "__name__", "") == "wrap_with_set_grad_enabled":
            raise NotExportable(
                "the forward uses torch.no_grad() around something that depends on a parameter, which a graph "
                "cannot express; use .detach() on the result instead"
            )
