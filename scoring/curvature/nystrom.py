"""The Nystrom approximation of the Gauss-Newton matrix from a few products, and its zeta^2 in closed form.

With Y = H Omega for r random orthonormal vectors Omega, H ~ Y (Omega'Y)^-1 Y' = U diag(h) U', computed with a small
shift that is subtracted again (Tropp, Yurtsever, Udell & Cevher 2017; Frangella, Tropp & Udell 2023). The approximation
equals H on Omega and is below H elsewhere. It is zero outside the range of U, so its gain is never below that of H:

    gain = sum_j (u_j'g)^2 / (h_j + tau) + (|g|^2 - |U'g|^2) / tau.

The enclosure is of zeta^2 of H, the Gauss-Newton matrix, and contains the gain. The lower end uses one more product, at
the step (see `enclosure`). The upper end is the gain at tau - w, where w is the shift plus the measured error of the
products.
"""

import math
from functools import cached_property

import torch
from torch import Tensor

from zetaplan.scoring.curvature import MatrixFree
from zetaplan.scoring.curvature._enclosure import ROUNDING, SEED, Gradient, enclosed, measured_gradient
from zetaplan.scoring.curvature._products import LinearisedBlock

#: r, the number of products; and the number of columns in float64 at once.
RANK = 16
CHUNK = 1 << 18


class Nystrom(MatrixFree):
    """H = U diag(h) U', U (d, r), with trace sum h and rank r. The number of products is r for every width."""

    numbers = 4 * RANK

    def __init__(self, block: LinearisedBlock, width: float) -> None:
        self._block = block
        self.rank = min(RANK, block.dimension)
        omega = torch.randn(block.dimension, self.rank, generator=torch.Generator().manual_seed(SEED))
        omega, _ = _factored(omega.to(block.device, block.dtype))
        image = torch.empty_like(omega)
        for row, v in zip(image, omega, strict=True):
            row.copy_(block.ggn(v))
        seen, eps = _products(omega, image), torch.finfo(omega.dtype).eps
        lowest = float(torch.linalg.eigvalsh(_symmetric(seen))[0])  # negative by rounding only
        least = torch.finfo(torch.float64).tiny  # for H = 0
        self._shift = max(math.sqrt(block.dimension) * eps * float(image.norm()), -2 * lowest, least)
        shift = self._shift * torch.eye(self.rank, dtype=torch.float64)
        image += ((seen - seen.mT) / 2 + shift).to(omega) @ omega  # symmetrised and shifted
        lower = torch.linalg.cholesky(_symmetric(seen) + shift)
        self._basis, triangle = _factored(image.mT)
        root = torch.linalg.cholesky(_symmetric(_products(self._basis, self._basis)))  # the basis is rounded
        right = torch.linalg.solve_triangular(lower, triangle.mT @ root, upper=False)
        turn, singular, _ = torch.linalg.svd(right.mT)
        self._turn = torch.linalg.solve_triangular(root.mT, turn, upper=True)  # U = basis' turn
        self._values = (singular.square() - self._shift).clamp(min=0)
        g = self._gradient.value
        self._inside = self._turn.mT @ _products(self._basis, g[None])[:, 0]
        self._outside = max(float(g @ g - self._inside @ self._inside), 0.0)
        self.trace = float(self._values.sum())

    def gain(self, tau: float) -> float:
        return float((self._inside.square() / (self._values + tau)).sum()) + self._outside / tau

    def enclosure(self, tau: float) -> tuple[float, float]:
        if not self._gradient.value.any():
            return 0.0, 0.0
        gain, step = self.gain(tau), self.step(tau)
        found = enclosed(lambda block, v: block.ggn(v), self._block, self._gradient, -step, tau)
        wrong = self._shift + math.sqrt(2 * self.rank) * found.error
        above = self._above(tau - wrong) if wrong < tau else math.inf
        return min(found.low, gain), max(gain, min(found.high, above))

    def _above(self, tau: float) -> float:
        """The gain at that damping, maximised over all gradients within the error of g."""
        g, unsure = self._gradient
        length = float(g.norm())
        return self.gain(tau) + (unsure * (2 * length + unsure) + ROUNDING * length**2) / tau

    def effective_dimension(self, tau: float) -> float:
        return float((self._values / (self._values + tau)).sum())

    def step(self, tau: float) -> Tensor:
        kept = 1 / (self._values + tau) - 1 / tau
        x = (self._gradient.value / tau).to(self._basis)
        x += (self._turn @ (kept * self._inside)).to(self._basis) @ self._basis
        return -x

    @cached_property
    def _gradient(self) -> Gradient:
        return measured_gradient(self._block)


def _factored(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Q' (r, d) and R (r, r), in float64 on the CPU, of (d, r) columns."""
    q, triangle = torch.linalg.qr(columns)
    return q.mT.contiguous(), triangle.double().cpu()


def _products(first: Tensor, second: Tensor) -> Tensor:
    """first second' of matrices with long rows, in float64, on the CPU."""
    pieces = zip(torch.split(first, CHUNK, dim=1), torch.split(second, CHUNK, dim=1), strict=True)
    return torch.stack([(a.double() @ b.double().mT).cpu() for a, b in pieces]).sum(0)


def _symmetric(matrix: Tensor) -> Tensor:
    symmetric: Tensor = (matrix + matrix.mT) / 2
    return symmetric
