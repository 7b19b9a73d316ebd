"""Lanczos: bounds of the quadratic form g'(H + tau I)^-1 g from products H v (Golub & Meurant 1994, 2010).

k steps from g give orthonormal V with first column g/|g| and the tridiagonal T = V'(H + tau I)V. With S the
spectrum of H + tau I, and a > 0 below all of it,

    Gauss          |g|^2 e_1' T^-1 e_1                                    <= g'(H + tau I)^-1 g
    Gauss-Radau    the same with one more row, so that a is an eigenvalue  >= g'(H + tau I)^-1 g

because the error of each rule is a derivative of 1/s of known sign: even ones are positive, odd ones negative.

Products are rounded. If each is wrong by at most epsilon |v|, Lanczos has met H + E with |E| <= sqrt(k) epsilon. With
x and y the solutions for H and for H + E, |g'y - g'x| = |x'E y| <= |E| |x| |y|, and |x| <= |y| / (1 - |E|/a). The
bounds are widened by that, and Radau's node moves down to a - |E|.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Krylov:
    """What k steps of Lanczos on H from a start vector leave behind; independent of the damping.

    Attributes:
        basis: (k, d) orthonormal rows V', in the precision of the products.
        diagonal: (k,) of T, float64.
        off: (k,) below the diagonal; the last is the norm of the residual that step k + 1 would start from.
        norm: of the start vector.
    """

    basis: Tensor
    diagonal: Tensor
    off: Tensor
    norm: float

    @property
    def steps(self) -> int:
        """k."""
        return len(self.diagonal)

    @property
    def tridiagonal(self) -> Tensor:
        """T for tau = 0, (k, k)."""
        return _tridiagonal(self.diagonal, self.off[:-1])

    @property
    def full(self) -> bool:
        """Whether the steps have exhausted the Krylov space, so that the Ritz values are eigenvalues."""
        return float(self.off[-1]) == 0.0

    def lowest(self) -> float:
        """The lowest Ritz value."""
        return float(torch.linalg.eigvalsh(self.tridiagonal)[0])

    def largest(self) -> float:
        """The largest Ritz value."""
        return float(torch.linalg.eigvalsh(self.tridiagonal)[-1])

    def solution(self, tau: float, floor: float) -> Tensor:
        """x, near (H + tau I)^-1 g, (d,): |g| T^-1 e_1 in the basis.

        Ritz values that rounding put below the floor of the spectrum count as the floor: any x will do where its
        residual is measured.
        """
        values, vectors = torch.linalg.eigh(self.tridiagonal)
        inside = vectors @ (vectors[0] * self.norm / (values.clamp(min=floor) + tau))
        x: Tensor = inside.to(self.basis) @ self.basis
        return x

    def bounds(self, tau: float, floor: float, epsilon: float = 0.0) -> tuple[float, float]:
        """Gauss below and Gauss-Radau above g'(H + tau I)^-1 g.

        Args:
            tau: damping.
            floor: a number below every eigenvalue of H, 0 if it is positive semi-definite; floor + tau > 0.
            epsilon: the relative-to-|v| error of a product H v.
        """
        wrong = math.sqrt(self.steps) * epsilon
        node = floor + tau - wrong
        values, vectors = torch.linalg.eigh(self.tridiagonal)
        if node <= 0 or float(values[0]) + tau <= 0:
            return 0.0, math.inf
        spread = vectors[0] * self.norm / (values + tau)
        length, gauss = float(spread.norm()), self.norm * float(vectors[0] @ spread)
        slack = wrong * length**2 / (1 - wrong / (floor + tau))
        return max(gauss - slack, 0.0), max(self._radau(tau, node), gauss) + slack

    def _radau(self, tau: float, node: float) -> float:
        """|g|^2 e_1' T_a^-1 e_1, with the last row such that `node` is an eigenvalue of T_a; 0 if the space is full."""
        damped = _tridiagonal(self.diagonal + tau, self.off[:-1])
        last = float(self.off[-1])
        corner = torch.zeros(self.steps, dtype=torch.float64)
        corner[-1] = last**2
        shifted = damped - node * torch.eye(self.steps, dtype=torch.float64)
        end = node + float(torch.linalg.solve(shifted, corner)[-1]) if last > 0 else math.inf
        if last == 0 or not math.isfinite(end):
            return 0.0
        extended = _tridiagonal(torch.cat([self.diagonal + tau, torch.tensor([end], dtype=torch.float64)]), self.off)
        first = torch.zeros(self.steps + 1, dtype=torch.float64)
        first[0] = self.norm**2
        return float(torch.linalg.solve(extended, first)[0])


def lanczos(product: Product, start: Tensor, enough: Callable[[Krylov], bool], steps: int) -> Krylov:
    """Up to `steps` steps from `start` (d,), orthogonalised in full twice; ends when `enough` says so.

    The Krylov space is full when a residual is rounding of the basis' precision; then it ends by itself.
    """
    norm = float(start.double().norm())
    basis = [start / norm]
    diagonal: list[float] = []
    off: list[float] = []
    tiny = 8 * math.sqrt(len(start)) * torch.finfo(start.dtype).eps
    while True:
        image = product(basis[-1])
        diagonal.append(float(image.double() @ basis[-1].double()))
        rows = torch.stack(basis)
        for _ in range(2):
            image = image - (rows @ image) @ rows
        left = float(image.double().norm())
        full = left <= tiny * max(map(abs, [*diagonal, *off])) or len(basis) == len(start)
        off.append(0.0 if full else left)
        krylov = Krylov(rows, _vector(diagonal), _vector(off), norm)
        if full or len(basis) >= steps or enough(krylov):
            return krylov
        basis.append(image / left)


def _vector(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _tridiagonal(diagonal: Tensor, off: Tensor) -> Tensor:
    return torch.diag(diagonal) + torch.diag(off, 1) + torch.diag(off, -1)
