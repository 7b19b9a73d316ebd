"""Measured: the block alone is rounded, and the divergence from the unrounded model is measured on the text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from zetaplan.measuring.estimators import Blocks, Estimate, Estimator, Rounding
from zetaplan.models.operating_point import OperatingPoint
from zetaplan.scoring.text.sequences import Batch


class Measured(Estimator):
    def __init__(self, model: nn.Module, data: Sequence[Batch], blocks: Blocks, seed: int) -> None:
        self.point = OperatingPoint(model, data)
        self.loss = self.point.reading({}).loss

    def estimate(self, block: str, rounding: Rounding) -> Estimate:
        reading = self.point.reading(rounding.stored)
        rise = float((reading.loss - self.loss).mean())
        return Estimate(float(reading.divergence.mean()), standard_error(reading.divergence), {"rise": rise})


def standard_error(values: NDArray[np.float64]) -> float:
    """Of the mean of N independent values."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))
