"""The Fisher of the model's own distribution, from sampled labels: an unbiased estimate of the Gauss-Newton matrix.

Let y~ be drawn from p_t independently for every labelled place t of sequence i, and r~_t = p_t - e_{y~_t}. Given the
text, E r~_t = 0 and E r~_t r~_t' = diag p_t - p_t p_t', and places are independent, so for the gradient of the
sequence's mean loss at the drawn labels, g~_i = (1/T_i) sum_t J_t' r~_t,

    E[T_i g~_i g~_i'] = (1/T_i) sum_t J_t' (diag p_t - p_t p_t') J_t,

the Gauss-Newton matrix of sequence i. With G~ (N x d) the rows sqrt(T_i) g~_i, H = G~'G~/N. By Woodbury

    G (H + tau I)^-1 G' = (1/tau) [G G' - G G~'(G~ G~' + N tau I)^-1 G~ G'] =: M,

so zeta^2 = 1'M1/N^2, and its expectation under random signs, the noise floor, is tr M / N^2. H does not depend on the
labels: M holds for every weighting of the sequences.
"""

import torch
from torch import Tensor

from zetaplan.scoring.backward.statistics import SampledGram
from zetaplan.scoring.curvature import ModuleStep, OnePass, columnwise
from zetaplan.scoring.curvature._cross_fitting import off_diagonal_mean, over_halves
from zetaplan.scoring.curvature._jackknife import jackknife_error


class McFisher(OnePass):
    """H = G~'G~/N with one draw per place, of rank at most min(N, d)."""

    statistic = SampledGram

    def __init__(self, gram: SampledGram) -> None:
        n = len(gram.products) // 2
        true, drawn = gram.products[:n], gram.products[n:]
        self._within, self._across, self._sampled = true[:, :n], true[:, n:], drawn[:, n:]
        self._sequences = n
        self._eigenvalues = torch.linalg.eigvalsh(self._sampled / n).clamp(min=0)
        self.trace = float(self._eigenvalues.sum())
        self.rank = min(n, gram.parameters)

    def gain(self, tau: float) -> float:
        return float(self._products(tau).sum().clamp(min=0)) / self._sequences**2

    def noise_floor(self, tau: float) -> float:
        return float(self._products(tau).trace()) / self._sequences**2

    def standard_error(self, tau: float) -> float:
        """The jackknife over the sequences in g; H does not depend on the labels and is unchanged."""
        m = self._products(tau)
        return jackknife_error((m.sum() - 2 * m.sum(1) + m.diagonal()) / (self._sequences - 1) ** 2)

    def cross_fitted(self, tau: float) -> tuple[float, float] | None:
        def one(half: slice, other: slice) -> float:
            within, across = self._within[half][:, half], self._across[half][:, other]
            return off_diagonal_mean(_damped(within, across, self._sampled[other][:, other], tau))

        return over_halves(one, self._sequences)

    def effective_dimension(self, tau: float) -> float:
        return float((self._eigenvalues / (self._eigenvalues + tau)).sum())

    def step(self, tau: float) -> ModuleStep:
        """-(1/tau) [g - G~'(G~G~' + N tau I)^-1 G~ g], a combination of the rows of G and of G~."""
        n = self._sequences
        true = torch.full((n,), 1 / n, dtype=torch.float64)
        sampled = -torch.linalg.solve(_shifted(self._sampled, n * tau), self._across.mT @ true)
        weights = torch.cat([true, sampled]) / tau
        return columnwise(lambda rows: -(weights.to(rows) @ rows))

    def _products(self, tau: float) -> Tensor:
        """M, (N, N)."""
        return _damped(self._within, self._across, self._sampled, tau)


def _damped(within: Tensor, across: Tensor, sampled: Tensor, tau: float) -> Tensor:
    inverse = torch.linalg.solve(_shifted(sampled, len(sampled) * tau), across.mT)
    damped: Tensor = (within - across @ inverse) / tau
    return damped


def _shifted(matrix: Tensor, shift: float) -> Tensor:
    shifted: Tensor = matrix + shift * torch.eye(len(matrix), dtype=matrix.dtype)
    return shifted
