"""Enclosure of zeta^2 of a curvature that is available only through its products.

Lanczos in the model's precision computes x near (H + tau I)^-1 g. The enclosure is the intersection of two intervals.
The first comes from the residual of x in float64 (see `enclosure`). The second is Gauss and Gauss-Radau, widened by the
measured error of their products (see `lanczos`). If products are as coarse as in bfloat16, only the first is used. The
enclosure holds for zeta^2 of the weights as stored, in real arithmetic, in whichever precision the model computes. What
the model computes in float32 or less (norms, softmax, angles of positions, logits), the reference computes in float64,
and its rounding is measured.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from zetaplan.scoring.curvature import MatrixFree
from zetaplan.scoring.curvature._enclosure import SEED, Gradient, enclosed, measured_gradient, signs
from zetaplan.scoring.curvature._lanczos import Krylov, Product, lanczos
from zetaplan.scoring.curvature._products import LinearisedBlock

#: The largest number of Lanczos steps, after which the interval is not narrowed further.
STEPS = 100
#: Error of a product, per largest eigenvalue, above which errors at two vectors do not bound those at others.
COARSE = 1e-4
#: Random sign vectors of Hutchinson's estimate of the trace (Hutchinson 1990).
PROBES = 4


class _Solved(NamedTuple):
    low: float
    high: float
    x: Tensor


class KrylovCurvature(MatrixFree):
    """A curvature H with products and d eigenvalues, positive semi-definite unless `lower_end` is overridden."""

    numbers = STEPS + 24  # the basis, and a dozen vectors in float64 for the proof

    def __init__(self, block: LinearisedBlock, width: float) -> None:
        self.block = block
        self.width = width
        self.rank = block.dimension
        self._solved: dict[float, _Solved] = {}

    @staticmethod
    @abstractmethod
    def product(block: LinearisedBlock, v: Tensor) -> Tensor:
        """H v, (d,), on the given block."""

    @cached_property
    def trace(self) -> float:  # type: ignore[override]
        """tr(H), the mean of s'Hs over random signs s."""
        return hutchinson(self.multiply, self.block)

    def gain(self, tau: float) -> float:
        low, high, _ = self._at(tau)
        return (low + high) / 2

    def enclosure(self, tau: float) -> tuple[float, float]:
        low, high, _ = self._at(tau)
        return low, high

    def step(self, tau: float) -> Tensor:
        return -self._at(tau).x

    def lower_end(self, tau: float) -> float:
        """A number below every eigenvalue of H, above -tau: zero if H is positive semi-definite."""
        return 0.0

    def multiply(self, v: Tensor) -> Tensor:
        """H v in the model's precision."""
        return self.product(self.block, v)

    def arithmetic(self, krylov: Krylov) -> float:
        """The error that orthogonalisation in the vectors' precision adds to a product."""
        return torch.finfo(self.block.dtype).eps * krylov.largest()

    def _at(self, tau: float) -> _Solved:
        if tau not in self._solved:
            self._solved[tau] = self._solve(tau)
        return self._solved[tau]

    @cached_property
    def _gradient(self) -> Gradient:
        return measured_gradient(self.block)

    def _solve(self, tau: float) -> _Solved:
        start = self._gradient.value.to(self.block.dtype)
        if not start.any():
            return _Solved(0.0, 0.0, start)
        floor = self.lower_end(tau)
        krylov = lanczos(self.multiply, start, self._enough(tau, floor), STEPS)
        return self._proved(krylov, tau, floor)

    def _enough(self, tau: float, floor: float) -> Callable[[Krylov], bool]:
        """Whether one of the intervals would be narrow enough if products had only the error of the arithmetic."""

        def enough(krylov: Krylov) -> bool:
            low, high = krylov.bounds(tau, floor, self.arithmetic(krylov))
            return min(high - low, krylov.residual(tau) ** 2 / (floor + tau)) <= self.width * low

        return enough

    def _proved(self, krylov: Krylov, tau: float, floor: float) -> _Solved:
        found = enclosed(self.product, self.block, self._gradient, krylov.solution(tau, floor), tau, floor)
        if found.error > COARSE * krylov.largest():  # bfloat16: the residual alone, computed in float64
            return _Solved(found.low, found.high, found.x.to(self.block.dtype))
        gauss, radau = krylov.bounds(tau, floor, found.error + self.arithmetic(krylov))
        value, unsure = self._gradient
        first = krylov.basis[0].double()
        shift = float((value - krylov.norm / first.norm() * first).norm()) + unsure  # from the start vector of Lanczos
        moved = shift * (2 * found.length + shift / (floor + tau))  # |g'H~^-1 g - h'H~^-1 h| for h that far from g
        low, high = max(found.low, gauss - moved), min(found.high, radau + moved)
        return _Solved(low, max(low, high), found.x.to(self.block.dtype))


def hutchinson(product: Product, block: LinearisedBlock) -> float:
    """tr(H) of the block as the mean of s'Hs over seeded random signs s."""
    drawn = islice(signs(block, SEED), PROBES)
    return math.fsum(float(s.double() @ product(s).double()) for s in drawn) / PROBES
