"""The Gauss-Newton matrix seen through a few products: its Nystrom approximation, and zeta^2 of that in closed form.

With Y = H Omega for r random orthonormal vectors Omega, H ~ Y (Omega'Y)^-1 Y' = U diag(h) U', computed with a small
shift that is taken back (Tropp, Yurtsever, Udell & Cevher 2017; Frangella, Tropp & Udell 2023). It agrees with H on
Omega and is below H elsewhere; what it has not seen it takes to be flat, so that zeta^2 is never below that of H:

    zeta^2 = sum_j (u_j'g)^2 / (h_j + tau) + (|g|^2 - |U'g|^2) / tau.
"""

import math

import torch
from torch import Tensor

from zetaplan.scoring.curvature import MatrixFree
from zetaplan.scoring.krylov import SEED
from zetaplan.scoring.products import LinearisedBlock

#: r, the number of products.
RANK = 16


class Nystrom(MatrixFree):
    """H = U diag(h) U', U (d, r); its trace is the sum of h and its rank r."""

    def __init__(self, block: LinearisedBlock) -> None:
        self._gradient = block.gradient()
        generator = torch.Generator().manual_seed(SEED)
        r = min(RANK, block.dimension)
        omega = torch.randn(block.dimension, r, generator=generator).to(self._gradient)
        omega = torch.linalg.qr(omega).Q
        image = torch.stack([block.ggn(column) for column in omega.mT], dim=1)
        shift = math.sqrt(block.dimension) * torch.finfo(image.dtype).eps * float(image.norm())
        shifted = (image + shift * omega).double()
        lower = torch.linalg.cholesky(_symmetric(omega.double().mT @ shifted))
        self._vectors, singular, _ = torch.linalg.svd(
            torch.linalg.solve_triangular(lower, shifted.mT, upper=False).mT, full_matrices=False
        )
        self._values = (singular.square() - shift).clamp(min=0)
        self._inside = self._vectors.mT @ self._gradient.double()
        self._outside = float((self._gradient.double() - self._vectors @ self._inside).square().sum())
        self.trace = float(self._values.sum())
        self.rank = r

    def gain(self, tau: float) -> float:
        return float((self._inside.square() / (self._values + tau)).sum()) + self._outside / tau

    def effective_dimension(self, tau: float) -> float:
        return float((self._values / (self._values + tau)).sum())

    def step(self, tau: float) -> Tensor:
        kept = 1 / (self._values + tau) - 1 / tau
        x: Tensor = self._gradient.double() / tau + self._vectors @ (kept * self._inside)
        return -x.to(self._gradient)


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.mT) / 2
