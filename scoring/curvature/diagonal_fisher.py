"""The diagonal of the empirical Fisher, F_jj = (1/N) sum_i G_ij^2.

zeta^2 = sum_j g_j^2 / (F_jj + tau). Under random signs E[g_j^2] = F_jj / N, so the noise floor is
(1/N) sum_j F_jj / (F_jj + tau). Both grow with the number of parameters. The leave-one-out gains need every
sequence's gradient after tau is known, so there is no standard error. Over n sequences with mean m and mean square s,
the mean of G_ij G_i'j over i != i' is (n m^2 - s) / (n - 1).
"""

from torch import Tensor

from zetaplan.scoring.backward.statistics import HALVES, Moments
from zetaplan.scoring.curvature import ModuleStep, OnePass, columnwise
from zetaplan.scoring.curvature._cross_fitting import over_halves


class DiagonalFisher(OnePass):
    """H = diag(F), with d eigenvalues F_jj."""

    statistic = Moments

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self.trace = sum(_total(square) for _, square in moments.over_all())
        self.rank = sum(means.shape[1] for means, _ in moments.chunks)

    def gain(self, tau: float) -> float:
        return sum(_total(mean.square() / (square + tau)) for mean, square in self._moments.over_all())

    def noise_floor(self, tau: float) -> float:
        return self.effective_dimension(tau) / self._moments.sequences

    def effective_dimension(self, tau: float) -> float:
        return sum(_total(square / (square + tau)) for _, square in self._moments.over_all())

    def cross_fitted(self, tau: float) -> tuple[float, float] | None:
        def one(half: slice, other: slice) -> float:
            i, j = HALVES.index(half), HALVES.index(other)
            n = self._moments.halves[i]
            products = (((n * m[i].square() - s[i]) / (n - 1), s[j]) for m, s in self._moments.chunks)
            return sum(_total(product / (square + tau)) for product, square in products)

        return over_halves(one, self._moments.sequences)

    def step(self, tau: float) -> ModuleStep:
        def of_chunk(gradients: Tensor) -> Tensor:
            return -gradients.mean(0) / (gradients.square().mean(0) + tau)

        return columnwise(of_chunk)


def _total(values: Tensor) -> float:
    return float(values.double().sum())
