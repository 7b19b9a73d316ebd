"""Magnitude pruning: the smallest |W_ij| of the matrix are removed (the rule to beat in LeCun, Denker & Solla 1990)."""

from __future__ import annotations

from torch import Tensor

from zetaplan.models.pruners import Pruner, smallest, smallest_of_group


class Magnitude(Pruner):
    calibrated = False

    def prune(self, weight: Tensor, count: int, observed: Tensor | None, groups: bool) -> tuple[Tensor, Tensor]:
        removed = smallest_of_group(weight.abs()) if groups else smallest(weight.abs(), count)
        return weight.masked_fill(removed, 0), removed
