"""zeta^2 of a curvature that is only known by its products: enclosed, not estimated.

Lanczos in the model's precision finds x, near (H + tau I)^-1 g. One gradient g and one product in float64 then say how
far off it is. With the residual r = g - (H + tau I) x, and a > 0 below the spectrum of H + tau I,

    zeta^2 = g'x + r'x + r'(H + tau I)^-1 r,    so    g'x + r'x  <=  zeta^2  <=  g'x + r'x + |r|^2 / a,

whatever x is. The difference of the two products at x, per |x|, is the measured error epsilon of a product, by which
Gauss and Gauss-Radau are widened; the enclosure is the meeting of both intervals. It is of zeta^2 of the weights as
they are, in real arithmetic up to float64, whichever precision the model computes in.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from zetaplan.scoring.curvature import MatrixFree
from zetaplan.scoring.lanczos import Krylov, Product, lanczos
from zetaplan.scoring.products import LinearisedBlock

#: Relative width at which Lanczos stops, and the steps after which the interval stays as wide as it is.
WIDTH = 1e-3
STEPS = 100
#: Random sign vectors of Hutchinson's estimate of the trace (Hutchinson 1990), and where they start.
PROBES = 4
SEED = 20260303
#: Relative error granted to sums and products in float64.
ROUNDING = 1e-13
#: How far a measured error may underestimate that of other vectors.
SAFETY = 4.0


class _Solved(NamedTuple):
    low: float
    high: float
    x: Tensor


class KrylovCurvature(MatrixFree):
    """A curvature H with products, positive semi-definite unless `lower_end` says otherwise, of d eigenvalues."""

    def __init__(self, block: LinearisedBlock) -> None:
        self.block = block
        self.rank = block.dimension
        self._solved: dict[float, _Solved] = {}

    @staticmethod
    @abstractmethod
    def product(block: LinearisedBlock, v: Tensor) -> Tensor:
        """H v, (d,), on that block."""

    @cached_property
    def trace(self) -> float:  # type: ignore[override]
        """tr(H), the mean of s'Hs over random signs s."""
        return hutchinson(lambda v: self.product(self.block, v), self._gradient)

    def gain(self, tau: float) -> float:
        low, high, _ = self._at(tau)
        return (low + high) / 2

    def enclosure(self, tau: float) -> tuple[float, float]:
        low, high, _ = self._at(tau)
        return low, high

    def step(self, tau: float) -> Tensor:
        return -self._at(tau).x

    @cached_property
    def _gradient(self) -> Tensor:
        return self.block.gradient()

    def _at(self, tau: float) -> _Solved:
        if tau not in self._solved:
            self._solved[tau] = self._solve(tau)
        return self._solved[tau]

    def _solve(self, tau: float) -> _Solved:
        if not self._gradient.any():
            return _Solved(0.0, 0.0, self._gradient)
        floor = self.lower_end(tau)
        krylov = lanczos(lambda v: self.product(self.block, v), self._gradient, _narrow(tau, floor), STEPS)
        return self._proved(krylov, tau, floor)

    def lower_end(self, tau: float) -> float:
        """A number below every eigenvalue of H, above -tau: zero for a positive semi-definite one."""
        return 0.0

    def error(self, v: Tensor, scale: float) -> float:
        """epsilon, such that a product is wrong by at most epsilon |v|: measured at v, of a curvature of that scale."""
        exact = self.product(self.block.in_float64(), v.double())
        measured = float((self.product(self.block, v).double() - exact).norm()) / float(v.norm())
        return SAFETY * max(measured, torch.finfo(torch.float64).eps * scale)

    def _proved(self, krylov: Krylov, tau: float, floor: float) -> _Solved:
        x = krylov.solution(tau, floor)
        exact, wide = self.block.in_float64(), x.double()
        image, gradient = self.product(exact, wide), exact.gradient()
        residual = gradient - image - tau * wide
        low = float(gradient @ wide + residual @ wide)
        high = low + float(residual.square().sum()) / (floor + tau)
        gauss, radau = krylov.bounds(tau, floor, self.error(x, krylov.largest()))
        length, shift = float(wide.norm()), float((gradient - self._gradient.double()).norm())
        moved = SAFETY * shift * (2 * length + shift / (floor + tau))  # g itself is rounded: g'H~^-1 g moves by that
        rounding = ROUNDING * length * float(gradient.norm() + image.norm())
        low, high = max(low - rounding, gauss - moved, 0.0), min(high + rounding, radau + moved)
        return _Solved(low, max(low, high), x)


def hutchinson(product: Product, like: Tensor) -> float:
    """tr(H) as the mean of s'Hs over seeded random signs s, shaped and placed as `like` (d,)."""
    generator = torch.Generator().manual_seed(SEED)
    signs = (2.0 * torch.randint(0, 2, like.shape, generator=generator) - 1.0 for _ in range(PROBES))
    return math.fsum(float(s.double() @ product(s).double()) for s in (s.to(like) for s in signs)) / PROBES


def _narrow(tau: float, floor: float) -> Callable[[Krylov], bool]:
    def enough(krylov: Krylov) -> bool:
        low, high = krylov.bounds(tau, floor)
        return high - low <= WIDTH * high

    return enough
