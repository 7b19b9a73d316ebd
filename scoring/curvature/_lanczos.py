"""Lanczos: bounds of the quadratic form g'(H + tau I)^-1 g from products H v (Golub & Meurant 1994, 2010).

k steps from g give orthonormal V with first column g/|g| and the tridiagonal T = V'HV. With t a damping for which
H + t I is positive definite, and a > 0 below its whole spectrum,

    Gauss          |g|^2 e_1'(T + t I)^-1 e_1                              <= g'(H + t I)^-1 g
    Gauss-Radau    the same with one more row, so that a is an eigenvalue  >= g'(H + t I)^-1 g

because the error of each rule is a derivative of 1/s of known sign: even ones are positive, odd ones negative. Gauss is
also the result g'x of k steps of conjugate gradients, with x = |g| V (T + t I)^-1 e_1.

Products are rounded. If each has an error of at most epsilon |v|, Lanczos has used H + E with a symmetric E, zero
outside the subspace it explored, |E| <= sqrt(2k) epsilon =: w. H + E - w I <= H <= H + E + w I in the order of Loewner,
and inversion reverses that order. Therefore Gauss at tau + w, and Gauss-Radau at tau - w with a = floor + tau - 2w, are
still bounds from below and above.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]

#: Rounding of float64 in the arithmetic of T, and of the vectors' precision in a residual that is rounding only.
ROUNDING = 32.0


@dataclass(frozen=True, eq=False)
class Krylov:
    """Result of k steps of Lanczos on H from a start vector; independent of the damping.

    Attributes:
        basis: the k orthonormal columns of V, (d,) each, in the precision of the products.
        diagonal: (k,), the diagonal of T, float64.
        off: (k,), the subdiagonal of T; the last entry is the norm of the residual that step k + 1 would start from.
        norm: length of the start vector.
        full: whether the steps have exhausted the Krylov space, so that the Ritz values are eigenvalues.
    """

    basis: tuple[Tensor, ...]
    diagonal: Tensor
    off: Tensor
    norm: float
    full: bool

    @property
    def steps(self) -> int:
        """k."""
        return len(self.diagonal)

    @property
    def tridiagonal(self) -> Tensor:
        """T, (k, k)."""
        return _tridiagonal(self.diagonal, self.off[:-1])

    def lowest(self) -> float:
        """The lowest Ritz value."""
        return float(torch.linalg.eigvalsh(self.tridiagonal)[0])

    def largest(self) -> float:
        """The largest Ritz value."""
        return float(torch.linalg.eigvalsh(self.tridiagonal)[-1])

    def solution(self, tau: float, floor: float) -> Tensor:
        """x, near (H + tau I)^-1 g, (d,): |g| T^-1 e_1 in the basis.

        Ritz values below the floor of the spectrum because of rounding are raised to the floor. Any x is valid where
        its residual is measured.
        """
        values, vectors = torch.linalg.eigh(self.tridiagonal)
        inside = vectors @ (vectors[0] * self.norm / (values.clamp(min=floor) + tau))
        x = torch.zeros_like(self.basis[0])
        for weight, row in zip(inside.tolist(), self.basis, strict=True):
            x += weight * row
        return x

    def residual(self, tau: float) -> float:
        """|g - (H + tau I)x| at the solution x, if products were exact."""
        last = torch.zeros(self.steps, dtype=torch.float64)
        last[0] = self.norm
        damped = self.tridiagonal + tau * torch.eye(self.steps, dtype=torch.float64)
        return float(self.off[-1]) * abs(float(torch.linalg.solve(damped, last)[-1]))

    def bounds(self, tau: float, floor: float, epsilon: float = 0.0) -> tuple[float, float]:
        """Gauss below and Gauss-Radau above g'(H + tau I)^-1 g; infinity if the error is too large for an upper bound.

        Args:
            tau: damping.
            floor: a number below every eigenvalue of H, 0 if it is positive semi-definite; floor + tau > 0.
            epsilon: the error of a product H v per |v|.
        """
        size = float(self.diagonal.abs().max()) + float(self.off.max()) + tau
        wrong = math.sqrt(2 * self.steps) * epsilon + ROUNDING * torch.finfo(torch.float64).eps * size
        return self._gauss(tau + wrong), self._radau(tau - wrong, floor + tau - 2 * wrong)

    def _gauss(self, t: float) -> float:
        values, vectors = torch.linalg.eigh(self.tridiagonal)
        if float(values[0]) + t <= 0:
            return 0.0
        return self.norm**2 * float((vectors[0].square() / (values + t)).sum())

    def _radau(self, t: float, node: float) -> float:
        """The quadrature with a last row such that `node` is an eigenvalue of the extended T + t I."""
        shifted = self.tridiagonal + (t - node) * torch.eye(self.steps, dtype=torch.float64)
        values, vectors = torch.linalg.eigh(shifted)
        if node <= 0 or float(values[0]) <= 0:
            return math.inf
        end = node + float(self.off[-1]) ** 2 * float((vectors[-1].square() / values).sum())
        extended = _tridiagonal(torch.cat([self.diagonal + t, torch.tensor([end], dtype=torch.float64)]), self.off)
        values, vectors = torch.linalg.eigh(extended)
        return self.norm**2 * float((vectors[0].square() / values.clamp(min=node)).sum())


def lanczos(product: Product, start: Tensor, enough: Callable[[Krylov], bool], steps: int) -> Krylov:
    """Up to `steps` steps from `start` (d,), fully orthogonalised twice, until `enough` is true.

    The iteration also ends when the Krylov space is full: after d steps, or when a residual is rounding of the
        products.
    """
    norm = float(start.double().norm())
    basis = [start / norm]
    diagonal: list[float] = []
    off: list[float] = []
    tiny = ROUNDING * torch.finfo(start.dtype).eps
    while True:
        image = product(basis[-1])
        diagonal.append(float(image.double() @ basis[-1].double()))
        for _ in range(2):
            for row in basis:
                image = image - (row @ image) * row
        left = float(image.double().norm()) if len(basis) < len(start) else 0.0
        off.append(left)
        full = left <= tiny * max(map(abs, [*diagonal, *off]))
        krylov = Krylov(tuple(basis), _vector(diagonal), _vector(off), norm, full)
        if full or len(basis) >= steps or enough(krylov):
            return krylov
        basis.append(image / left)


def _vector(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _tridiagonal(diagonal: Tensor, off: Tensor) -> Tensor:
    return torch.diag(diagonal) + torch.diag(off, 1) + torch.diag(off, -1)
