"""Pruning methods: the removal of a given number of weights from a linear. One file per method, found by its name.

A method receives one linear W (out, in) at a time and, if it is calibrated, statistics of the inputs X (tokens, in) of
that linear. It removes exactly the given number of weights, or two of every four neighbours of a row (structure 2:4).
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import ClassVar, cast

import torch
from torch import Tensor

from zetaplan import _found

#: Weights in a group of the structure 2:4; 50% of them are removed.
GROUP = 4


class Pruner(ABC):
    """A pruning method.

    Attributes:
        calibrated: whether it needs the inputs of the linear.
        clears: whether it also sets to zero the weights of inputs that were always zero.
    """

    calibrated: ClassVar[bool]
    clears: ClassVar[bool] = False

    def observe(self, inputs: Tensor) -> Tensor:
        """The method's statistic of the inputs (tokens, in): a sum over tokens, so that batches can be added."""
        raise NotImplementedError(f"{type(self).__name__} is not calibrated")

    def energy(self, observed: Tensor) -> Tensor:
        """|X_j|^2, shape (in,), from the summed statistic."""
        raise NotImplementedError(f"{type(self).__name__} is not calibrated")

    @abstractmethod
    def prune(self, weight: Tensor, count: int, observed: Tensor | None, groups: bool) -> tuple[Tensor, Tensor]:
        """The remaining weights, and a mask of the removed ones, both (out, in).

        Args:
            weight: (out, in), float32 or float64.
            count: number of weights to remove, in [0, out * in].
            observed: the sum of `observe` over the calibration text; None if not calibrated.
            groups: structure 2:4; `count` is then 50% of all weights.
        """


def pruner_names() -> tuple[str, ...]:
    """The names of the methods in this folder: "magnitude", "sparsegpt", "wanda"."""
    return _found.names(sys.modules[__name__])


def find_pruner(name: str) -> Pruner:
    """The method of a name: the class `Wanda` of the file `wanda.py` for "wanda"."""
    found = vars(_found.module(sys.modules[__name__], name, argument="method")).values()
    [method] = [kind for kind in found if isinstance(kind, type) and kind.__name__.lower() == name]
    return cast(Pruner, method())


def smallest(scores: Tensor, count: int) -> Tensor:
    """A mask of exactly `count` of the smallest scores, of any shape; of equal scores the first ones."""
    removed = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    removed[scores.flatten().argsort(stable=True)[:count]] = True
    return removed.view_as(scores)


def smallest_of_group(scores: Tensor) -> Tensor:
    """A mask of the two smallest of every four neighbours in a row; scores (out, in), in a multiple of four."""
    groups = scores.reshape(-1, GROUP)
    order = groups.argsort(dim=1, stable=True)[:, : GROUP // 2]
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(1, order, True).view_as(scores)
