"""The Gauss-Newton matrix seen through a few products: its Nystrom approximation, and zeta^2 of that in closed form.

With Y = H Omega for r random orthonormal vectors Omega, H ~ Y (Omega'Y)^-1 Y' = U diag(h) U', computed with a small
shift that is taken back (Tropp, Yurtsever, Udell & Cevher 2017; Frangella, Tropp & Udell 2023). It agrees with H on
Omega and is below H elsewhere; what it has not seen it takes to be flat, so that its gain is never below that of H:

    gain = sum_j (u_j'g)^2 / (h_j + tau) + (|g|^2 - |U'g|^2) / tau.

The enclosure is of zeta^2 of H, the Gauss-Newton matrix, and holds the gain too: what the few products are worth. Below
by one more product, at the step (see `enclosure`); above by the gain at tau - w, where w is the shift and what the
measured error of the products can do.
"""

import math
from functools import cached_property

import torch
from torch import Tensor

from zetaplan.scoring.curvature import MatrixFree
from zetaplan.scoring.enclosure import SEED, enclosed
from zetaplan.scoring.products import LinearisedBlock

#: r, the number of products.
RANK = 16


class Nystrom(MatrixFree):
    """H = U diag(h) U', U (d, r); its trace is the sum of h and its rank r. The products are r, whatever the width."""

    def __init__(self, block: LinearisedBlock, width: float) -> None:
        self._block = block
        generator = torch.Generator().manual_seed(SEED)
        r = min(RANK, block.dimension)
        omega = torch.randn(block.dimension, r, generator=generator).to(block.device, block.dtype)
        omega = torch.linalg.qr(omega).Q
        image = torch.stack([block.ggn(column) for column in omega.mT], dim=1)
        omega, image, eps = omega.double(), image.double(), torch.finfo(image.dtype).eps
        seen = omega.mT @ image
        image += omega @ (seen.mT - seen) / 2  # as a symmetric matrix has it
        lowest = float(torch.linalg.eigvalsh(_symmetric(seen))[0])  # below zero by rounding alone
        least = torch.finfo(torch.float64).tiny  # where H is zero
        self._shift = max(math.sqrt(block.dimension) * eps * float(image.norm()), -2 * lowest, least)
        image += self._shift * omega
        lower = torch.linalg.cholesky(_symmetric(omega.mT @ image))
        self._vectors, singular, _ = torch.linalg.svd(
            torch.linalg.solve_triangular(lower, image.mT, upper=False).mT, full_matrices=False
        )
        self._values = (singular.square() - self._shift).clamp(min=0)
        self._inside = self._vectors.mT @ self._gradient
        self._outside = float((self._gradient - self._vectors @ self._inside).square().sum())
        self.trace = float(self._values.sum())
        self.rank = r

    def gain(self, tau: float) -> float:
        return float((self._inside.square() / (self._values + tau)).sum()) + self._outside / tau

    def enclosure(self, tau: float) -> tuple[float, float]:
        if not self._gradient.any():
            return 0.0, 0.0
        gain, step = self.gain(tau), self.step(tau)
        found = enclosed(lambda block, v: block.ggn(v), self._block, self._gradient, -step, tau)
        wrong = self._shift + math.sqrt(2 * self.rank) * found.error
        above = self.gain(tau - wrong) if wrong < tau else math.inf
        return min(found.low, gain), max(gain, min(found.high, above))

    def effective_dimension(self, tau: float) -> float:
        return float((self._values / (self._values + tau)).sum())

    def step(self, tau: float) -> Tensor:
        kept = 1 / (self._values + tau) - 1 / tau
        x: Tensor = self._gradient / tau + self._vectors @ (kept * self._inside)
        return -x.to(self._block.dtype)

    @cached_property
    def _gradient(self) -> Tensor:
        """g in float64."""
        return self._block.in_float64().gradient()


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.mT) / 2
