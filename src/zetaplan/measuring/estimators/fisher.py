"""Fisher: e' F e / 2 with the diagonal of the empirical Fisher matrix F and the rounding error e.

The divergence of a model with slightly changed weights is e' F e / 2 + O(|e|^3). The diagonal is estimated from the
gradients of whole sequences (see `zetaplan.measuring.moments`). The standard error is that of the mean of |g|^2 of the
block, which is exact for an error of equal size in all weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from zetaplan.measuring.estimators import Blocks, Estimate, Estimator, Rounding
from zetaplan.measuring.estimators.measured import standard_error
from zetaplan.measuring.moments import moments
from zetaplan.scoring.text.sequences import Batch


class Fisher(Estimator):
    def __init__(self, model: nn.Module, data: Iterable[Batch], blocks: Blocks, seed: int) -> None:
        self.moments = moments(model, data, [weight for members in blocks.values() for weight in members])
        self.squares = {name: own.square for name, own in self.moments.items()}

    def estimate(self, block: str, rounding: Rounding) -> Estimate:
        errors = rounding.errors()
        loss = quadratic(self.squares, errors.items())
        norms = np.sum([self.moments[name].norms for name in errors], axis=0)
        relative = standard_error(norms) / norms.mean() if norms.any() else 0.0
        return Estimate(loss, loss * float(relative))


def quadratic(squares: Mapping[str, Tensor], errors: Iterable[tuple[str, Tensor]]) -> float:
    """e' F e / 2 of errors e (count, rows, columns) with the names of their parameters, F having these squares."""
    terms = (squares[name] * error.square() for name, error in errors)
    return sum(float(term.sum(dtype=torch.float64)) for term in terms) / 2
