"""Linear in the squared relative error (Malinovskii et al. 2024, "Pushing the Limits of Large Language Model
Quantization via the Linearity Theorem", arXiv 2411.17525): loss = alpha t^2, t^2 = |w - v|^2 / |w|^2.

alpha is measured once for every block: each of its matrices gets normal noise of the relative norm `NOISE`, and the
divergence is divided by NOISE^2. The rounded values are not needed where a format's relative error is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from zetaplan.measuring.estimators import Blocks, Estimate, Estimator, Rounding
from zetaplan.measuring.estimators.measured import standard_error
from zetaplan.models.operating_point import OperatingPoint
from zetaplan.models.quantizers.k_types import KType
from zetaplan.scoring.text.sequences import Batch

#: The norm of the noise relative to that of a matrix: that of 3 to 4 bits.
NOISE = 0.1


class Linear(Estimator):
    rounds: ClassVar[bool] = False

    def __init__(self, model: nn.Module, data: Sequence[Batch], blocks: Blocks, seed: int) -> None:
        self.point = OperatingPoint(model, data)
        self.seed = seed
        self.alpha: dict[str, tuple[float, float]] = {}

    def estimate(self, block: str, rounding: Rounding) -> Estimate:
        if block not in self.alpha:
            noisy = {name: self._noisy(name, value) for name, value in rounding.exact.items()}
            found = self.point.reading(rounding.in_place(noisy)).divergence
            self.alpha[block] = float(found.mean()) / NOISE**2, standard_error(found) / NOISE**2
        alpha, error = self.alpha[block]
        t2 = _relative_error(rounding)
        return Estimate(alpha * t2, error * t2, {"alpha": alpha, "relative_error": t2})

    def _noisy(self, name: str, value: Tensor) -> Tensor:
        """The draw depends on the seed and the name alone, so that no other block or format changes it."""
        digest = hashlib.sha256(f"{self.seed} {name}".encode()).digest()
        random = torch.Generator().manual_seed(int.from_bytes(digest[:8]))
        noise: Tensor = torch.randn(value.shape, generator=random).to(value)
        return value + noise * float(NOISE * value.norm() / noise.norm())


def _relative_error(rounding: Rounding) -> float:
    """|w - v|^2 / |w|^2 over the matrices of the block; 0 if all weights are zero."""
    if isinstance(rounding.quantizer, KType):
        return rounding.quantizer.relative_error
    total = sum(float(value.double().square().sum()) for value in rounding.exact.values())
    error = sum(float(e.double().square().sum()) for e in rounding.errors().values())
    return error / total if total else 0.0
