"""First order: |g'e|, the absolute first-order change of the loss by the rounding error e.

The standard error of g'e treats the gradients of different weights as uncorrelated over sequences.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zetaplan.measuring.estimators import Blocks, Estimate, Estimator, Rounding
from zetaplan.measuring.moments import moments
from zetaplan.scoring.text.sequences import Batch


class FirstOrder(Estimator):
    def __init__(self, model: nn.Module, data: Sequence[Batch], blocks: Blocks, seed: int) -> None:
        self.moments = moments(model, data, [weight for members in blocks.values() for weight in members])
        self.tokens = sum(int((batch["labels"][:, 1:] >= 0).sum()) for batch in data)

    def estimate(self, block: str, rounding: Rounding) -> Estimate:
        errors = rounding.errors()
        change = sum(_sum(self.moments[name].mean * e) for name, e in errors.items())
        variance = sum(_sum(self.moments[name].square * e.square()) for name, e in errors.items()) / self.tokens
        return Estimate(abs(change), variance**0.5)


def _sum(values: Tensor) -> float:
    return float(values.sum(dtype=torch.float64))
