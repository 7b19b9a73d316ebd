"""Tikhonov damping tau > 0: the curvature H becomes H + tau I, positive definite (arXiv 2603.00910, Section 2).

The empirical Fisher of N sequences has at most N eigenvalues above zero, and zeta^2 tends to 1 for every block
as tau -> 0: damping determines the ranking. Damping is therefore a declared value, and tau is recorded per block.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from zetaplan.errors import ScoringError, shown
from zetaplan.scoring.arguments import as_number

Mode = Literal["relative", "absolute"]
Scope = Literal["global", "block"]


@dataclass(frozen=True)
class Damping:
    """The rule for tau.

    Attributes:
        value: > 0; tau itself if `mode` is absolute (unit of the curvature, loss / parameter^2), else a multiple
            of the mean curvature.
        mode: "relative" to the mean curvature, or "absolute".
        scope: "global", one tau from the mean over all blocks, so that blocks are compared on one scale;
            or "block", one tau from each block's own mean. No effect on an absolute tau.

    Examples:
        >>> found = zp.score(model, batch, damping=zp.Damping(0.01, mode="absolute"))
        >>> found.damping
        array([0.01, 0.01, 0.01])
        >>> bool((zp.score(model, batch, damping=0.01).gain == found.gain).all())  # a number is an absolute tau
        True
    """

    value: float = 1.0
    mode: Mode = "relative"
    scope: Scope = "global"

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", as_number("damping.value", self.value))
        for name, kind in (("mode", Mode), ("scope", Scope)):
            value, known = getattr(self, name), get_args(kind)
            if not isinstance(value, str) or value not in known:
                raise ScoringError(f"damping: {name} must be one of {known}, got {shown(value)}")

    @classmethod
    def of(cls, damping: "Damping | float") -> "Damping":
        """The damping itself; a number becomes an absolute tau for all blocks."""
        return damping if isinstance(damping, cls) else cls(as_number("damping", damping), mode="absolute")

    def tau(self, names: tuple[str, ...], trace: NDArray[np.float64], rank: NDArray[np.float64]) -> NDArray[np.float64]:
        """tau of each block, shape (K,), from trace and rank of its curvature, both (K,).

        The mean curvature of a set of blocks is sum(trace) / sum(rank).
        """
        if self.mode == "absolute":
            return np.full(len(names), self.value)
        if self.scope == "global":
            trace, rank = np.full_like(trace, trace.sum()), np.full_like(rank, rank.sum())
        flat = [name for name, t in zip(names, trace, strict=True) if not t > 0]
        if flat:
            raise ScoringError(
                f"damping: the curvature of block {flat[0]!r} is zero, so a relative damping is undefined; "
                "give an absolute damping, or check that the loss depends on this block"
            )
        return self.value * trace / rank
