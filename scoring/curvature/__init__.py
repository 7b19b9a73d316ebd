"""The surrogates of the curvature H: one file each, named in the field's terms, found by the file's name.

Each answers the same questions about a block from a statistic of its per-sequence gradients:
gain = g'(H + tau I)^-1 g, the noise floor, the standard error. The noise floor is the gain expected if every
sequence's gradient got an independent random sign, E[g g'] = F / N: what is left when the sequences share no
direction at all. Every surrogate here is a function of F = G'G/N, so it holds still under these signs.
"""

from abc import ABC, abstractmethod
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar, cast

from zetaplan.errors import ScoringError
from zetaplan.scoring.statistics import Statistic


class Curvature(ABC):
    """A surrogate of H for one block.

    Attributes:
        statistic: what the surrogate needs from the pass.
        damped: whether tau is added; otherwise tau = 0.
        trace: tr(H), the total curvature.
        rank: the number of eigenvalues of H that can differ from zero; trace / rank is the mean curvature.
    """

    statistic: ClassVar[type[Statistic]]
    damped: ClassVar[bool] = True
    trace: float
    rank: int

    @abstractmethod
    def __init__(self, statistic: Any) -> None: ...

    @abstractmethod
    def gain(self, tau: float) -> float:
        """zeta^2 = g'(H + tau I)^-1 g >= 0."""

    @abstractmethod
    def noise_floor(self, tau: float) -> float:
        """The gain expected under random signs of the sequences' gradients."""

    @abstractmethod
    def standard_error(self, tau: float) -> float | None:
        """Of the gain, by the jackknife over sequences at fixed tau; None if the statistic cannot tell."""


def curvature_names() -> tuple[str, ...]:
    """The surrogates of this folder, for example "block-fisher"."""
    return tuple(module.name.replace("_", "-") for module in iter_modules(__path__))


def find_curvature(name: str) -> type[Curvature]:
    """The surrogate `BlockFisher` of the file `block_fisher.py` for the name "block-fisher"."""
    if name not in curvature_names():
        raise ScoringError(f"curvature: unknown surrogate {name!r}; known are {', '.join(curvature_names())}")
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    return cast(type[Curvature], getattr(module, name.title().replace("-", "")))
