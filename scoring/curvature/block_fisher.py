"""The empirical Fisher F = G'G/N of the whole block, through the N x N Gram matrix A = GG'/N.

With g = G'1/N and the push-through identity G (G'G/N + tau I)^-1 = (GG'/N + tau I)^-1 G:

    zeta^2 = 1'G (F + tau I)^-1 G'1 / N^2 = 1'(A + tau I)^-1 GG' 1 / N^2 = (1/N) 1' A (A + tau I)^-1 1.

With A = V diag(a) V' this is (1/N) sum_i (v_i'1)^2 a_i / (a_i + tau), hence 0 <= zeta^2 <= 1. Random signs s in
place of 1 have E[ss'] = I, so the noise floor is (1/N) sum_i a_i / (a_i + tau).
"""

import torch

from zetaplan.scoring.curvature import Curvature
from zetaplan.scoring.jackknife import jackknife_error
from zetaplan.scoring.statistics import Gram


class BlockFisher(Curvature):
    """H = F. Its trace is tr(A), its rank at most min(N, d): tr(F)/d would be a mean over zeros."""

    statistic = Gram

    def __init__(self, gram: Gram) -> None:
        self._products = gram.products
        self._sequences = len(gram.products)
        eigenvalues, vectors = torch.linalg.eigh(gram.products / self._sequences)
        self._eigenvalues = eigenvalues.clamp(min=0)
        self._ones = vectors.sum(0).square()
        self.trace = float(self._eigenvalues.sum())
        self.rank = min(self._sequences, gram.parameters)

    def gain(self, tau: float) -> float:
        return float((self._ones * self._eigenvalues / (self._eigenvalues + tau)).sum() / self._sequences)

    def noise_floor(self, tau: float) -> float:
        return float((self._eigenvalues / (self._eigenvalues + tau)).sum() / self._sequences)

    def standard_error(self, tau: float) -> float:
        """All N leave-one-out gains from one inverse.

        Let K = GG' and n = N - 1. Without sequence i, zeta^2 is 1 - tau 1'(K_-i + n tau I)^-1 1. With
        B = (K + n tau I)^-1 and r = B1, the inverse of that submatrix is B_-i - b_i b_i'/B_ii, and its
        entries sum to 1'r - r_i^2/B_ii.
        """
        n = self._sequences - 1
        identity = torch.eye(self._sequences, dtype=torch.float64)
        inverse = torch.linalg.inv(self._products + n * tau * identity)
        r = inverse.sum(1)
        return jackknife_error(1 - tau * (r.sum() - r.square() / inverse.diagonal()))
