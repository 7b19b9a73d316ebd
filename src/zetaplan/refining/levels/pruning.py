"""Sparsity in steps. budget : the share of the linear weights to remove, above 0 and below 1."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import Any

from torch import Tensor

from zetaplan.menus.sparsity import SparsityFacts
from zetaplan.models.apply import divided, pruned
from zetaplan.models.inputs import Inputs, Observe
from zetaplan.models.layer_pass import Observed, in_memory_with
from zetaplan.models.matrices import Matrix, matrices_of
from zetaplan.models.operating_point import Changes
from zetaplan.models.pruners import find_pruner, pruner_names
from zetaplan.models.statistic import statistic_of
from zetaplan.refining.levels import Levels
from zetaplan.refining.levels._shares import Shares, default_blocks, require_calibration
from zetaplan.scoring.model.blocks import Block, partition


def methods() -> tuple[str, ...]:
    return pruner_names()


def levels(
    method: str, *, inputs: Inputs, blocks: str | None = None, moves: str = "measured", **settings: Any
) -> Levels:
    return Sparsity(method, inputs, blocks or default_blocks(moves), **settings)


class Sparsity(Shares):
    def __init__(self, method: str, inputs: Inputs, kind: str, **settings: Any) -> None:
        self.parts = {block.name: block for block in partition(inputs.model, kind)}
        self.calibrated = find_pruner(method).calibrated
        if self.calibrated:
            require_calibration(method, inputs, "magnitude")
        sizes = {name: block.linear_parameters for name, block in self.parts.items()}
        super().__init__(method, inputs, kind, sizes, **settings)

    def cost(self, block: str, option: str) -> int:
        return self.sizes[block] - self.removed(block, option)

    def removed(self, block: str, option: str) -> int:
        """The number of weights removed: at least the share, so that equal shares never exceed the budget."""
        return ceil(Fraction(option) * self.sizes[block])

    def values(self, block: str, option: str) -> Changes:
        part = self.parts[block]
        with in_memory_with(self.inputs.model, part.modules.values()):
            return pruned_weights(self.inputs, self.method, part, self.removed(block, option))

    def parameters(self, block: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(matrix.stack.parameter for matrix in matrices_of(self.parts[block]).values()))

    def observations(self) -> Mapping[str, Observe]:
        return {_name(self.method): find_pruner(self.method).observe} if self.calibrated else {}

    def facts(self) -> dict[str, Any]:
        return SparsityFacts(
            model=self.inputs.name,
            model_sha256=self.inputs.sha256,
            blocks=self.kind,  # type: ignore[arg-type]
            method=self.method,
            calibration_sha256=self.inputs.facts["calibration"] if self.calibrated else None,  # type: ignore[arg-type]
            sizes=dict(self.sizes),
        ).model_dump(mode="json")


def pruned_weights(inputs: Inputs, method: str, part: Block, count: int) -> dict[str, Tensor]:
    """The weights of a block without `count` of them, by the name of the parameter; those that lose none are left."""
    matrices, found = matrices_of(part), dict[str, Tensor]()
    for name, lost in divided(part, count).items():
        if not lost:
            continue
        stack, own = matrices[name].stack, matrices[name].stored(_pruned(inputs, method, matrices[name], lost))
        if stack.single:
            found[stack.parameter] = own
        else:
            found.setdefault(stack.parameter, stack.values.clone())[matrices[name].place] = own
    return found


def _name(method: str) -> str:
    """The name of what is observed for the method."""
    return f"inputs of {method}"


def _pruned(inputs: Inputs, method: str, matrix: Matrix, count: int) -> Tensor:
    """Methods that use X'X take seconds for a level, so that their weights are kept; others take less than a pass."""
    pruner = find_pruner(method)
    known = inputs.observed(_name(method), pruner.observe, matrix.name) if pruner.calibrated else Observed()
    seen = statistic_of(matrix, known).value
    if seen is None or seen.ndim == 1:
        return pruned(matrix, count, pruner, False, seen)[0]
    facts = {"method": method, "linear": matrix.name, "count": count}
    return inputs.kept(facts, lambda: {"weight": pruned(matrix, count, pruner, False, seen)[0]})["weight"]
