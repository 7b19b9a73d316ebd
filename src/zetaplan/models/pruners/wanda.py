"""Wanda: the smallest |W_ij| |X_j| of every output row are removed (Sun et al. 2023, "A Simple and Effective Pruning
Approach for Large Language Models", arXiv 2306.11695).

Every row loses floor(count / out) weights. The remaining count mod out weights are removed one each from the rows whose
next-smallest score is smallest. The total is therefore exact, and the counts of the rows differ by at most one.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from zetaplan.models.pruners import Pruner, smallest, smallest_of_group


class Wanda(Pruner):
    calibrated = True

    def observe(self, inputs: Tensor) -> Tensor:
        """|X_j|^2, shape (in,)."""
        return inputs.square().sum(0)

    def energy(self, observed: Tensor) -> Tensor:
        return observed

    def prune(self, weight: Tensor, count: int, observed: Tensor | None, groups: bool) -> tuple[Tensor, Tensor]:
        scores = weight.abs() * cast(Tensor, observed).sqrt().to(weight)
        removed = smallest_of_group(scores) if groups else smallest_by_row(scores, count)
        return weight.masked_fill(removed, 0), removed


def smallest_by_row(scores: Tensor, count: int) -> Tensor:
    """A mask of exactly `count` scores (out, in), the smallest of each row; rows differ by at most one in number."""
    each, lacking = divmod(count, len(scores))
    ordered, order = scores.sort(dim=1, stable=True)
    going = torch.full((len(scores), 1), each, device=scores.device)
    if lacking:
        going += smallest(ordered[:, each : each + 1], lacking)
    first = torch.arange(scores.shape[1], device=scores.device) < going
    return torch.zeros_like(first).scatter_(1, order, first)
