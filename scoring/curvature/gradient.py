"""No curvature: H = I without damping, so that zeta^2 = |g|^2, the squared gradient norm.

|g|^2 = 1'K1 / N^2 with K = GG', and under random signs its expectation is tr(F)/N = tr(K)/N^2.
"""

from zetaplan.scoring.backward.statistics import Gram
from zetaplan.scoring.curvature import ModuleStep, OnePass, columnwise
from zetaplan.scoring.curvature._cross_fitting import off_diagonal_mean, over_halves
from zetaplan.scoring.curvature._jackknife import jackknife_error


class Gradient(OnePass):
    """H = I: the baseline without curvature."""

    statistic = Gram
    damped = False

    def __init__(self, gram: Gram) -> None:
        self._products = gram.products
        self._sequences = len(gram.products)
        self.trace = float(gram.parameters)
        self.rank = gram.parameters

    def gain(self, tau: float) -> float:
        return float(self._products.sum().clamp(min=0)) / self._sequences**2

    def noise_floor(self, tau: float) -> float:
        return float(self._products.trace()) / self._sequences**2

    def standard_error(self, tau: float) -> float:
        """The jackknife. Without sequence i the sum 1'K1 loses its row and its column: 1'K1 - 2 (K1)_i + K_ii."""
        totals = self._products.sum() - 2 * self._products.sum(1) + self._products.diagonal()
        return jackknife_error(totals / (self._sequences - 1) ** 2)

    def cross_fitted(self, tau: float) -> tuple[float, float] | None:
        return over_halves(lambda half, other: off_diagonal_mean(self._products[half, half]), self._sequences)

    def effective_dimension(self, tau: float) -> float:
        return float(self.rank)

    def step(self, tau: float) -> ModuleStep:
        return columnwise(lambda gradients: -gradients.mean(0))
