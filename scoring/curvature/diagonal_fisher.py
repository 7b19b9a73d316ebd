"""The diagonal of the empirical Fisher, F_jj = (1/N) sum_i G_ij^2.

zeta^2 = sum_j g_j^2 / (F_jj + tau), and under random signs E[g_j^2] = F_jj / N, so the noise floor is
(1/N) sum_j F_jj / (F_jj + tau). Both grow with the number of parameters. The leave-one-out gains need every
sequence's gradient after tau is known, hence no standard error here.
"""

import torch
from torch import Tensor

from zetaplan.scoring.curvature import Curvature
from zetaplan.scoring.statistics import Moments


class DiagonalFisher(Curvature):
    """H = diag(F), with d eigenvalues F_jj."""

    statistic = Moments

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self.trace = float(sum(square.sum(dtype=torch.float64) for _, square in moments.chunks))
        self.rank = sum(len(square) for _, square in moments.chunks)

    def gain(self, tau: float) -> float:
        return sum(_total(mean.double().square() / (square + tau)) for mean, square in self._moments.chunks)

    def noise_floor(self, tau: float) -> float:
        total = sum(_total(square.double() / (square + tau)) for _, square in self._moments.chunks)
        return total / self._moments.sequences

    def standard_error(self, tau: float) -> None:
        return None


def _total(values: Tensor) -> float:
    return float(values.sum())
