"""Surrogates of the curvature H: one file each, named in the field's terms and found by the file's name.

Each surrogate computes for a block: the gain zeta^2 = g'(H + tau I)^-1 g with an enclosure of it, the noise floor, the
standard error, the cross-fitted gain, the effective dimension, and the step whose predicted decrease the gain is. A
`OnePass` surrogate uses a statistic of the per-sequence gradients; a `MatrixFree` surrogate multiplies by H.

The noise floor is the gain expected if every sequence's gradient had an independent random sign, E[g g'] = F / N: the
gain of sequences that share no direction. A function of F = G'G/N is unchanged by these signs.
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

#: From name, module and recorded pairs to the step (p,) of the module's parameters, in the order of their gradients.
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
        """Low and high with low <= zeta^2 <= high; both equal the gain of a closed form.

        The interval contains the gain. For an approximation to another curvature it may enclose zeta^2 of that
        curvature.
        """
        return self.gain(tau), self.gain(tau)

    def noise_floor(self, tau: float) -> float | None:
        """The gain expected under random signs of the sequences' gradients; None if the surrogate has none."""
        return None

    def standard_error(self, tau: float) -> float | None:
        """Standard error of the gain, by the jackknife over sequences at fixed tau; None if the surrogate has none."""
        return None

    def cross_fitted(self, tau: float) -> tuple[float, float] | None:
        """mean_{i != j} g_i'(H + tau I)^-1 g_j over each half of the sequences, with H from the other half.

        Unbiased for g'H~^-1 g at that H (method of cross-fitting), so negative values occur. None if the surrogate has
        none.
        """
        return None

    def effective_dimension(self, tau: float) -> float | None:
        """tr(H (H + tau I)^-1), the number of directions with curvature above tau; None if the surrogate has none."""
        return None


class OnePass(Curvature):
    """A surrogate computed from a statistic of one pass. statistic: the class of that statistic."""

    statistic: ClassVar[type[Statistic]]

    @abstractmethod
    def __init__(self, statistic: Any) -> None: ...

    @abstractmethod
    def step(self, tau: float) -> ModuleStep:
        """d* = -(H + tau I)^-1 g, module by module, from the pairs of a further pass over the same sequences."""


class MatrixFree(Curvature):
    """A surrogate that multiplies vectors by H, on one block and the same sequences.

    width: relative width of the enclosure, in units of its low end, at which the surrogate may stop.

    Attributes:
        numbers: how many numbers it stores per parameter of the block, in the precision of the vectors.
    """

    numbers: ClassVar[int]

    @abstractmethod
    def __init__(self, block: "LinearisedBlock", width: float) -> None: ...

    @abstractmethod
    def step(self, tau: float) -> Tensor:
        """d* = -(H + tau I)^-1 g, shape (d,), in the order of the block's parameters."""


def columnwise(step: Callable[[Tensor], Tensor]) -> ModuleStep:
    """The step of a module from the step of each chunk of its gradients, (N, p) to (p,)."""

    def of_module(name: str, module: nn.Module, pairs: Pairs) -> Tensor:
        return torch.cat([step(gradients) for gradients in per_sequence_gradients(module, pairs)])

    return of_module


def curvature_names() -> tuple[str, ...]:
    """The names of the surrogates in this folder, for example "block-fisher"."""
    return _found.names(sys.modules[__name__])


def find_curvature(name: str) -> type[Curvature]:
    """The surrogate of a name: the class `BlockFisher` of the file `block_fisher.py` for "block-fisher"."""
    module = _found.module(sys.modules[__name__], name, argument="curvature", error=ScoringError)
    return cast(type[Curvature], getattr(module, name.title().replace("-", "")))
