"""The Hessian. If H + tau I is not positive definite, zeta^2 is no decrease and is refused; it is never clamped.

The lower end of its spectrum is not known beforehand. After k steps of Lanczos from a random vector (seeded, uniform on
the sphere) the extreme Ritz values are within e (lambda_max - lambda_min) of the extreme eigenvalues, except with a
probability of at most 1.648 sqrt(d) exp(-sqrt(e) (2k - 1)) each (Kuczynski & Wozniakowski 1992, Theorem 3.2); k = d
steps are exact. The enclosure therefore fails for at most one start vector in a million. Relative damping refers to the
mean curvature of the Gauss-Newton matrix, because the Hessian's own mean may be negative.
"""

import math
from functools import cached_property

import torch
from torch import Tensor

from zetaplan.errors import ScoringError
from zetaplan.scoring.curvature._enclosure import SEED, measured
from zetaplan.scoring.curvature._krylov import KrylovCurvature, hutchinson
from zetaplan.scoring.curvature._lanczos import lanczos
from zetaplan.scoring.curvature._products import LinearisedBlock

#: Steps of the search for the lower end, and its probability of failure.
SEARCH = 100
FAILURE = 1e-6


class Hessian(KrylovCurvature):
    """H = the matrix of second derivatives of the loss."""

    @staticmethod
    def product(block: LinearisedBlock, v: Tensor) -> Tensor:
        return block.hessian(v)

    @cached_property
    def trace(self) -> float:  # type: ignore[override]
        return hutchinson(self.block.ggn, self.block)

    def lower_end(self, tau: float) -> float:
        lowest, end = self._ends
        if end + tau <= 0:
            first = next(iter(self.block.parameters))
            raise ScoringError(
                f"curvature: the Hessian of the block of {first!r} cannot be shown to be positive definite with "
                f"damping {tau:.6g}: its most negative Ritz value is {lowest:.6g}, and an eigenvalue may be as low as "
                f"{end:.6g}; give an absolute damping above {-end:.6g}, or use a semi-definite surrogate such as ggn"
            )
        return end

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """The lowest Ritz value, and a lower bound on every eigenvalue."""
        generator = torch.Generator().manual_seed(SEED)
        start = torch.randn(self.rank, generator=generator).to(self.block.device, self.block.dtype)
        krylov = lanczos(self.multiply, start, lambda _: False, SEARCH)
        lowest, largest = krylov.lowest(), krylov.largest()
        error = measured(self.product, self.block, krylov.basis[-1]).error + self.arithmetic(krylov)
        rounded = math.sqrt(2 * krylov.steps) * error
        if krylov.full:
            return lowest, lowest - rounded
        e = (math.log(1.648 * math.sqrt(self.rank) / FAILURE) / (2 * krylov.steps - 1)) ** 2
        return lowest, lowest - rounded - e / (1 - 2 * e) * (largest - lowest) if e < 0.25 else -math.inf
