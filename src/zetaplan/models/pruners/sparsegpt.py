"""SparseGPT: columns are pruned from left to right, each by the optimal brain surgeon (Frantar & Alistarh 2023,
"SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", arXiv 2301.00774).

With the factor U of `zetaplan.models.inverse_hessian`, removing w_j costs w_j^2 / (2 U_jj^2) and changes the columns
right of it by -(w_j / U_jj) U_j,j: . The weights to remove are chosen for `WIDTH` columns at a time, over all rows
together. Their number keeps the removed share of the columns so far at count / (out * in) to within one weight. The
weights of an input that is zero at every token have no effect on the text. All of them are set to zero, and among
`WIDTH` columns they are removed first.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from zetaplan.models.inverse_hessian import gram_of, inverse_factor
from zetaplan.models.pruners import GROUP, Pruner, smallest, smallest_of_group

#: Columns whose removals are chosen together: as in the paper.
WIDTH = 128


class SparseGPT(Pruner):
    calibrated, clears = True, True

    def observe(self, inputs: Tensor) -> Tensor:
        """X'X, shape (in, in)."""
        return gram_of(inputs)

    def energy(self, observed: Tensor) -> Tensor:
        return observed.diagonal()

    def prune(self, weight: Tensor, count: int, observed: Tensor | None, groups: bool) -> tuple[Tensor, Tensor]:
        gram = cast(Tensor, observed)
        factor = inverse_factor(gram.to(weight))
        left, removed = weight.masked_fill(self.energy(gram) == 0, 0), torch.zeros_like(weight, dtype=torch.bool)
        columns, width = weight.shape[1], GROUP if groups else WIDTH
        for start in range(0, columns, width):
            stop = min(start + width, columns)
            scores = (left[:, start:stop] / factor.diagonal()[start:stop]).square()
            share = count * stop // columns - count * start // columns
            removed[:, start:stop] = smallest_of_group(scores) if groups else smallest(scores, share)
            _sweep(left, removed, factor, start, stop)
        return left, removed


def _sweep(left: Tensor, removed: Tensor, factor: Tensor, start: int, stop: int) -> None:
    """Remove the marked weights of the columns start..stop - 1 and correct all columns to the right, in place."""
    columns, gone = left[:, start:stop].mT.contiguous(), removed[:, start:stop].mT  # a column of W is contiguous
    errors = torch.zeros_like(columns)
    for j in range(stop - start):
        row = factor[start + j, start + j : stop]
        errors[j] = torch.where(gone[j], columns[j] / row[0], 0)
        columns[j:].addr_(row, errors[j], alpha=-1)
    left[:, start:stop] = columns.mT.masked_fill(gone.mT, 0)  # removes the rounding of cancelled weights
    left[:, stop:] -= errors.mT @ factor[start:stop, stop:]
