"""A plan of low-rank replacements applied to the weights: the model gets exactly the weights that were measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from zetaplan.menus.low_rank import rank_facts, ranks_by
from zetaplan.menus.plan import ChoicePlan
from zetaplan.models.inputs import Inputs
from zetaplan.models.layer_pass import layers_in_memory
from zetaplan.models.quantize import require_match
from zetaplan.models.weights import weights
from zetaplan.refining.levels._shares import require_calibration
from zetaplan.refining.levels.replacement import PLAIN, as_stored, low_rank_factors
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.measure import Batches
from zetaplan.scoring.model.streamed import keep, require_changeable
from zetaplan.scoring.text.sequences import checked_batches


def replaced_layers(
    loaded: LoadedModel, plan: ChoicePlan, calibration: Batches | None = None
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Replace the linears of the model in place, layer by layer. The inputs are those of the unchanged model.

    Yields the name of every layer with its factors: (count, rows, rank) as NAME.left and (count, rank, columns) as
    NAME.right, in the number type of the parameter NAME.

    Raises:
        SpecError: the plan decides no ranks, or has other matrices than the model.
        ScoringError: the method needs text and none is given.
    """
    method, ranks, model = rank_facts(plan).method, ranks_by(plan), loaded.model
    require_match(model, rank_facts(plan).items())
    require_changeable(model)
    inputs = Inputs(model, None if calibration is None else checked_batches(calibration, model=model), None)
    if method != PLAIN:
        require_calibration(method, inputs, PLAIN)
    for layer in layers_in_memory(model):
        own = {name: rank for name, rank in ranks.items() if name.startswith(f"{layer.name}.")}
        yield layer.name, _replaced(inputs, method, own)
        keep(model, model.get_submodule(layer.name))


@torch.no_grad()
def _replaced(inputs: Inputs, method: str, ranks: Mapping[str, int | None]) -> dict[str, Tensor]:
    """Replace these matrices in place. Returns their factors."""
    found: dict[str, Tensor] = {}
    for weight in weights(inputs.model):
        if (rank := ranks.get(weight.name)) is not None:
            parameter = inputs.model.get_parameter(weight.name)
            left, right = low_rank_factors(inputs, method, weight, rank)
            parameter.copy_(as_stored(inputs, weight, left @ right))
            pair = {f"{weight.name}.left": left, f"{weight.name}.right": right}
            found |= {name: part.to(parameter.dtype).contiguous() for name, part in pair.items()}
    return found
