"""A refined plan of sparsity applied to the weights: the model gets exactly the weights that were measured."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zetaplan.errors import SpecError
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.sparsity import removed_by, sparsity_facts
from zetaplan.models.apply import Applied, Removal
from zetaplan.models.inputs import Inputs
from zetaplan.models.layer_pass import layers_in_memory
from zetaplan.models.matrices import matrices_of
from zetaplan.refining.levels.pruning import pruned_weights
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.measure import Batches
from zetaplan.scoring.model.blocks import Block, partition
from zetaplan.scoring.model.streamed import keep, require_changeable
from zetaplan.scoring.text.sequences import checked_batches


def apply_refined(loaded: LoadedModel, plan: ChoicePlan, method: str, calibration: Batches | None = None) -> Applied:
    """Prune the model in place by a plan of sparsity. The inputs of every linear are those of the unpruned model.

    Raises:
        SpecError: the plan decides no sparsity, or has other blocks than the model.
        ScoringError: the method needs text and none is given.
    """
    facts, counts, network = sparsity_facts(plan), removed_by(plan), loaded.model
    parts = {block.name: block for block in partition(network, facts.blocks)}
    for name in set(parts) ^ set(counts):
        raise SpecError(f"plan: layer {name!r} is in only one of the plan and the model")
    for name, block in parts.items():
        if block.linear_parameters != facts.sizes[name]:
            raise SpecError(
                f"plan: layer {name!r} has {block.linear_parameters:,} linear weights, it was made for "
                f"{facts.sizes[name]:,}"
            )
    require_changeable(network)
    data = None if calibration is None else checked_batches(calibration, model=network)
    inputs, records = Inputs(network, data, None), dict[str, Removal]()
    for layer in layers_in_memory(network):
        for name in (name for name, block in parts.items() if layer.modules.keys() >= block.modules.keys()):
            _prune(network, pruned_weights(inputs, method, parts[name], counts[name]))
            records[name] = _removal(parts[name], counts[name])
        keep(network, network.get_submodule(layer.name))
    return Applied(method, "unstructured", tuple(records[name] for name in parts))


@torch.no_grad()
def _prune(model: nn.Module, changes: Mapping[str, Tensor]) -> None:
    for name, value in changes.items():
        model.get_parameter(name).copy_(value)


def _removal(block: Block, count: int) -> Removal:
    zeros = sum(int((matrix.weight == 0).sum()) for matrix in matrices_of(block).values())
    return Removal(block.name, block.linear_parameters, count, count, zeros)
