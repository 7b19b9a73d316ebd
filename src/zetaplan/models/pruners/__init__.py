"""How weights inside a linear are removed once their number is known: one file per method, found by the file's name.

A method sees one linear W (out, in) at a time and, if it is calibrated, what is left of the inputs X (tokens, in) that
reach it. It removes exactly as many weights as it is told, or two of every four neighbours of a row (structure 2:4).
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import ClassVar, cast

import torch
from torch import Tensor

from zetaplan import _found

#: Weights in a group of the structure 2:4; half of them go.
GROUP = 4


class Pruner(ABC):
    """A method of removing weights.

    Attributes:
        calibrated: whether it needs the inputs of the linear.
        clears: whether it sets the weights of inputs that were always zero to zero, beside those it removes.
    """

    calibrated: ClassVar[bool]
    clears: ClassVar[bool] = False

    def observe(self, inputs: Tensor) -> Tensor:
        """What the method keeps of the inputs (tokens, in): a sum over tokens, so that batches can be added."""
        raise NotImplementedError(f"{type(self).__name__} is not calibrated")

    def energy(self, observed: Tensor) -> Tensor:
        """|X_j|^2, shape (in,), of what was observed."""
        raise NotImplementedError(f"{type(self).__name__} is not calibrated")

    @abstractmethod
    def prune(self, weight: Tensor, count: int, observed: Tensor | None, groups: bool) -> tuple[Tensor, Tensor]:
        """The weights that are left and which were removed, both (out, in).

        Args:
            weight: (out, in), float32 or float64.
            count: how many weights go, in [0, out * in].
            observed: the sum of `observe` over the calibration text; None if not calibrated.
            groups: structure 2:4; `count` is then half of all weights.
        """


def pruner_names() -> tuple[str, ...]:
    """The methods of this folder: "magnitude", "sparsegpt", "wanda"."""
    return _found.names(sys.modules[__name__])


def find_pruner(name: str) -> Pruner:
    """The method `Wanda` of the file `wanda.py` for the name "wanda"."""
    found = vars(_found.module(sys.modules[__name__], name, argument="method")).values()
    [method] = [kind for kind in found if isinstance(kind, type) and kind.__name__.lower() == name]
    return cast(Pruner, method())


def smallest(scores: Tensor, count: int) -> Tensor:
    """Marks exactly `count` of the smallest scores, of any shape; among equals the earlier ones."""
    removed = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    removed[scores.flatten().argsort(stable=True)[:count]] = True
    return removed.view_as(scores)


def smallest_of_group(scores: Tensor) -> Tensor:
    """Marks the two smallest of every four neighbours in a row, scores (out, in) with in a multiple of four."""
    groups = scores.reshape(-1, GROUP)
    order = groups.argsort(dim=1, stable=True)[:, : GROUP // 2]
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(1, order, True).view_as(scores)
