"""The empirical Fisher F = G'G/N of the whole block, through the N x N Gram matrix A = GG'/N.

With g = G'1/N and the push-through identity G (G'G/N + tau I)^-1 = (GG'/N + tau I)^-1 G:

    zeta^2 = 1'G (F + tau I)^-1 G'1 / N^2 = 1'(A + tau I)^-1 GG' 1 / N^2 = (1/N) 1' A (A + tau I)^-1 1.

With A = V diag(a) V' this is (1/N) sum_i (v_i'1)^2 a_i / (a_i + tau), hence 0 <= zeta^2 <= 1. Random signs s in
place of 1 have E[ss'] = I, so the noise floor is (1/N) sum_i a_i / (a_i + tau). The step is
-(F + tau I)^-1 g = -(1/N) G'(A + tau I)^-1 1.
"""

import torch
from torch import Tensor

from zetaplan.scoring.backward.statistics import Gram
from zetaplan.scoring.curvature import ModuleStep, OnePass, columnwise
from zetaplan.scoring.curvature._cross_fitting import off_diagonal_mean, over_halves
from zetaplan.scoring.curvature._jackknife import jackknife_error


class BlockFisher(OnePass):
    """H = F. Its trace is tr(A), its rank at most min(N, d); tr(F)/d would average over zero eigenvalues."""

    statistic = Gram

    def __init__(self, gram: Gram) -> None:
        self._products = gram.products
        self._sequences = len(gram.products)
        eigenvalues, vectors = torch.linalg.eigh(gram.products / self._sequences)
        self._eigenvalues = eigenvalues.clamp(min=0)
        self._vectors = vectors
        self._ones = vectors.sum(0)
        self.trace = float(self._eigenvalues.sum())
        self.rank = min(self._sequences, gram.parameters)

    def gain(self, tau: float) -> float:
        return float((self._ones.square() * self._filter(tau)).sum() / self._sequences)

    def noise_floor(self, tau: float) -> float:
        return self.effective_dimension(tau) / self._sequences

    def effective_dimension(self, tau: float) -> float:
        return float(self._filter(tau).sum())

    def _filter(self, tau: float) -> Tensor:
        damped: Tensor = self._eigenvalues / (self._eigenvalues + tau)
        return damped

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

    def cross_fitted(self, tau: float) -> tuple[float, float] | None:
        """The cross-fitted gains. With n sequences in the other half o:

        (F_o + tau I)^-1 = (1/tau) [I - G_o'(K_oo + n tau I)^-1 G_o].
        """

        def one(half: slice, other: slice) -> float:
            within, across, outside = (
                self._products[i][:, j] for i, j in ((half, half), (half, other), (other, other))
            )
            damped = outside + len(outside) * tau * torch.eye(len(outside), dtype=torch.float64)
            return off_diagonal_mean(within - across @ torch.linalg.solve(damped, across.mT)) / tau

        return over_halves(one, self._sequences)

    def step(self, tau: float) -> ModuleStep:
        weights = self._vectors @ (self._ones / (self._eigenvalues + tau)) / self._sequences
        return columnwise(lambda gradients: -(weights.to(gradients) @ gradients))
