"""Low-rank replacements in steps. budget : the share of the linear weights to remove, above 0 and below 1.

At a share, every linear W (m x n) of the block is replaced by the product of two factors of r (m + n) weights together,
r = floor((1 - share) m n / (m + n)); at 0 it stays as it is. "svd" has the least error of the weights, and "svd-llm" of
the outputs on the calibration text (see `zetaplan.models.low_rank`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zetaplan.errors import ScoringError
from zetaplan.measuring.blocks import grouped
from zetaplan.menus.bits import Weight
from zetaplan.menus.low_rank import RankFacts, kept_weights, rank_of
from zetaplan.models.inputs import GRAM, Inputs, Observe
from zetaplan.models.inverse_hessian import gram_of
from zetaplan.models.layer_pass import Observed, in_memory_with
from zetaplan.models.low_rank import factors, principal_directions
from zetaplan.models.operating_point import Changes
from zetaplan.models.statistic import FEW, statistics_of
from zetaplan.models.weights import in_place, matrices, weights
from zetaplan.refining.levels import Levels
from zetaplan.refining.levels._shares import Shares, default_blocks, require_calibration

#: The method of the least error of the weights, and that of the outputs.
PLAIN, WHITENED = "svd", "svd-llm"


def methods() -> tuple[str, ...]:
    return PLAIN, WHITENED


def levels(
    method: str, *, inputs: Inputs, blocks: str | None = None, moves: str = "measured", **settings: Any
) -> Levels:
    return Replacement(method, inputs, blocks or default_blocks(moves), **settings)


class Replacement(Shares):
    def __init__(self, method: str, inputs: Inputs, kind: str, **settings: Any) -> None:
        if method != PLAIN:
            require_calibration(method, inputs, PLAIN)
        self.weights = grouped((weight for weight in weights(inputs.model) if weight.layer), kind)
        sizes = {block: sum(weight.numel for weight in members) for block, members in self.weights.items()}
        super().__init__(method, inputs, kind, sizes, **settings)

    def cost(self, block: str, option: str) -> int:
        return sum(kept_weights(weight, option) for weight in self.weights[block])

    def values(self, block: str, option: str) -> Changes:
        found, model = dict[str, Tensor | None](), self.inputs.model
        for weight in self.weights[block]:
            if (rank := rank_of(weight, option)) is not None:
                with in_memory_with(model, [model.get_submodule(weight.module)]):
                    left, right = low_rank_factors(self.inputs, self.method, weight, rank)
                found[weight.name] = as_stored(self.inputs, weight, left @ right)
        return found

    def parameters(self, block: str) -> tuple[str, ...]:
        return tuple(weight.name for weight in self.weights[block])

    def observations(self) -> Mapping[str, Observe]:
        return {} if self.method == PLAIN else {GRAM: gram_of}

    def facts(self) -> dict[str, Any]:
        return RankFacts(
            model=self.inputs.name,
            model_sha256=self.inputs.sha256,
            blocks=self.kind,  # type: ignore[arg-type]
            method=self.method,  # type: ignore[arg-type]
            calibration_sha256=None if self.method == PLAIN else self.inputs.facts["calibration"],  # type: ignore[arg-type]
            weights=dict(self.weights),
        ).model_dump(mode="json")


def low_rank_factors(inputs: Inputs, method: str, weight: Weight, rank: int) -> tuple[Tensor, Tensor]:
    """The factors (count, rows, rank) and (count, rank, columns) of this rank, at least float32.

    The directions of a weight are computed once for all ranks.
    """
    facts = {"method": method, "weight": weight.name, **({"few": FEW} if weight.count > 1 else {})}
    found = inputs.kept(facts, lambda: {"directions": _directions(inputs, method, weight)})["directions"]
    return factors(matrices(inputs.model, weight), found[..., :rank])


def as_stored(inputs: Inputs, weight: Weight, values: Tensor) -> Tensor:
    """Values (count, rows, columns) in the shape and the number type of the parameter."""
    parameter = inputs.model.get_parameter(weight.name)
    return in_place(weight, values).reshape(parameter.shape).to(parameter.dtype)


def _directions(inputs: Inputs, method: str, weight: Weight) -> Tensor:
    observed = Observed() if method == PLAIN else inputs.observed(GRAM, gram_of, weight.name)
    parts = zip(matrices(inputs.model, weight), statistics_of(weight, observed), strict=True)
    try:
        return torch.stack([principal_directions(part, seen.value) for part, seen in parts])
    except ScoringError as error:
        raise ScoringError(f"model: {weight.name!r}: {error}") from error
