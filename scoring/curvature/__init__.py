"""The surrogates of the curvature H: one file each, named in the field's terms, found by the file's name.

Each answers the same questions about a block: the gain zeta^2 = g'(H + tau I)^-1 g with an enclosure of it, the noise
floor, the standard error, the cross-fitted gain, the effective dimension, and the step that the gain is the promise of.
A `OnePass` surrogate knows what one pass left of the per-sequence gradients; a `MatrixFree` one multiplies by H.

The noise floor is the gain expected if every sequence's gradient got an independent random sign, E[g g'] = F / N: what
is left when the sequences share no direction at all. A function of F = G'G/N holds still under these signs.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from zetaplan import _found
from zetaplan.errors import ScoringError
from zetaplan.scoring.backward.per_sequence import Pairs, per_sequence_gradients
from zetaplan.scoring.backward.statistics import Statistic

if TYPE_CHECKING:
    from zetaplan.scoring.curvature._products import LinearisedBlock

#: From name, module and captured pairs to the step (p,) of the module's parameters, in the order of their gradients.
ModuleStep = Callable[[str, nn.Module, Pairs], Tensor]


class Curvature(ABC):
    """A surrogate of H for one block.

    Attributes:
        damped: whether tau is added; otherwise tau = 0.
        trace: tr(H), the total curvature.
        rank: the number of eigenvalues of H that can differ from zero; trace / rank is the mean curvature.
    """

    damped: ClassVar[bool] = True
    trace: float
    rank: int

    @abstractmethod
    def gain(self, tau: float) -> float:
        """zeta^2 = g'(H + tau I)^-1 g >= 0."""

    def enclosure(self, tau: float) -> tuple[float, float]:
        """Low and high with low <= zeta^2 <= high; a closed form gives its value twice.

        They hold the gain too. Of an approximation to another curvature they may enclose zeta^2 of that.
        """
        return self.gain(tau), self.gain(tau)

    def noise_floor(self, tau: float) -> float | None:
        """The gain expected under random signs of the sequences' gradients; None if the surrogate cannot tell."""
        return None

    def standard_error(self, tau: float) -> float | None:
        """Of the gain, by the jackknife over sequences at fixed tau; None if the surrogate cannot tell."""
        return None

    def cross_fitted(self, tau: float) -> tuple[float, float] | None:
        """mean_{i != j} g_i'(H + tau I)^-1 g_j over each half of the sequences, with H from the other half.

        Unbiased for g'H~^-1 g at that H (method of cross-fitting), so negative values occur; None if it cannot tell.
        """
        return None

    def effective_dimension(self, tau: float) -> float | None:
        """tr(H (H + tau I)^-1): how many directions curve by more than tau; None if the surrogate cannot tell."""
        return None


class OnePass(Curvature):
    """A surrogate from a statistic of the one pass. statistic: what it needs from the pass."""

    statistic: ClassVar[type[Statistic]]

    @abstractmethod
    def __init__(self, statistic: Any) -> None: ...

    @abstractmethod
    def step(self, tau: float) -> ModuleStep:
        """d* = -(H + tau I)^-1 g, module by module, from the pairs of a further pass over the same sequences."""


class MatrixFree(Curvature):
    """A surrogate that multiplies vectors by H, on one block and the same sequences.

    width: of the enclosure, relative to its low end, at which it may stop.

    Attributes:
        numbers: how many numbers it keeps of every parameter of the block, in the precision of the vectors.
    """

    numbers: ClassVar[int]

    @abstractmethod
    def __init__(self, block: "LinearisedBlock", width: float) -> None: ...

    @abstractmethod
    def step(self, tau: float) -> Tensor:
        """d* = -(H + tau I)^-1 g, shape (d,), in the order of the block's parameters."""


def columnwise(step: Callable[[Tensor], Tensor]) -> ModuleStep:
    """The step of a module from that of each chunk of its gradients, (N, p) to (p,)."""

    def of_module(name: str, module: nn.Module, pairs: Pairs) -> Tensor:
        return torch.cat([step(gradients) for gradients in per_sequence_gradients(module, pairs)])

    return of_module


def curvature_names() -> tuple[str, ...]:
    """The surrogates of this folder, for example "block-fisher"."""
    return _found.names(sys.modules[__name__])


def find_curvature(name: str) -> type[Curvature]:
    """The surrogate `BlockFisher` of the file `block_fisher.py` for the name "block-fisher"."""
    module = _found.module(sys.modules[__name__], name, argument="curvature", error=ScoringError)
    return cast(type[Curvature], getattr(module, name.title().replace("-", "")))
