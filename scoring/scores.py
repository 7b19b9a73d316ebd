"""Scores: the gain of every block with all that a number needs to be used: floor, error, surrogate, origin."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zetaplan.errors import ScoringError

Vector = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scores:
    """The curvature-adjusted gains of K blocks. All arrays have shape (K,) and are read-only.

    Attributes:
        names: qualified names of the blocks.
        gain: zeta^2 = g'(H + tau I)^-1 g >= 0; dimensionless for a Fisher surrogate, (loss/parameter)^2 for "gradient".
        noise_floor: the gain expected if the sequences' gradients had random signs, in the unit of the gain.
        gradient_norm: |g|, loss / parameter.
        standard_error: jackknife over the sequences at fixed tau; None where the surrogate cannot tell.
        parameters: parameters of the block.
        linear_parameters: those of them that are weights of linears, which pruning may remove.
        rank_parameters: parameters that a unit of LoRA rank adds, sum of in + out over the linears.
        damping: tau; 0 where the surrogate takes none.
        curvature: the surrogate, for example "block-fisher".
        blocks: the partition, "layers" or "modules".
        loss: mean over the sequences of their mean cross-entropy per token, nats.
        left_out: names of the parameters that belong to no block.
        provenance: model, data, sha256 sums, dtype, device, N, T, damping as declared, versions, seconds.
    """

    names: tuple[str, ...]
    gain: Vector
    noise_floor: Vector
    gradient_norm: Vector
    standard_error: Vector | None
    parameters: Counts
    linear_parameters: Counts
    rank_parameters: Counts
    damping: Vector
    curvature: str
    blocks: str
    loss: float
    left_out: tuple[str, ...]
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    @property
    def quality(self) -> Vector:
        """q_k = zeta_k^2 / sum_j zeta_j^2, on the simplex (arXiv 2603.00910, Section 2)."""
        total = float(self.gain.sum())
        if not total > 0:
            raise ScoringError("quality: every gain is zero, so there is no share to give; score other data")
        return self.gain / total
