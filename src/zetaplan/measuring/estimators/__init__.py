"""Estimators of what a format of a block costs: one file each, found by its name.

An estimator gives, for the block with its matrices rounded and all others as they are, the divergence from the
unrounded model in nats per token, with its standard error over the N sequences of the text.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from zetaplan import _found
from zetaplan.errors import ScoringError, require
from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import Quantizer
from zetaplan.models.statistic import Statistic
from zetaplan.models.weights import in_place
from zetaplan.scoring.text.sequences import Batch

Blocks = Mapping[str, tuple[Weight, ...]]


@dataclass(frozen=True)
class Estimate:
    """A loss in nats per token, its standard error, and further facts of the estimator."""

    loss: float
    standard_error: float
    facts: Mapping[str, float] | None = None


@dataclass(frozen=True, eq=False)
class Rounding:
    """The matrices of a block in one format. The rounded values are computed when they are first used.

    exact : the values (count, rows, columns) of the model, float32, by the name of the parameter. inputs : X'X of the
    inputs X of each of the count matrices, by the same name.
    """

    block: str
    members: Sequence[Weight]
    quantizer: Quantizer
    exact: Mapping[str, Tensor]
    inputs: Mapping[str, Sequence[Statistic]]

    @cached_property
    def values(self) -> Mapping[str, Tensor]:
        """The rounded values (count, rows, columns), float32, by the name of the parameter."""
        try:
            return {
                name: torch.stack(
                    [
                        self.quantizer.rounded(matrix, seen.value)
                        for matrix, seen in zip(stack, self.inputs[name], strict=True)
                    ]
                )
                for name, stack in self.exact.items()
            }
        except ScoringError as error:
            raise ScoringError(f"block {self.block!r}: {error}") from error

    @property
    def pooled(self) -> int:
        """The number of matrices that are rounded by the inputs of all experts, because few tokens reached theirs."""
        used = self.inputs.values() if self.quantizer.calibrated else ()
        return sum(seen.pooled for statistics in used for seen in statistics)

    @property
    def stored(self) -> dict[str, Tensor]:
        """The rounded values with the rows and columns of the parameter, by its name."""
        return self.in_place(self.values)

    def in_place(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Values (count, rows, columns) with the rows and columns of the parameter, by its name."""
        return {weight.name: in_place(weight, values[weight.name]) for weight in self.members}

    def errors(self) -> dict[str, Tensor]:
        """Rounded minus exact values of the members."""
        return {weight.name: self.values[weight.name] - self.exact[weight.name] for weight in self.members}


class Estimator(ABC):
    """An estimator on one model and one text.

    data : batches of sequences. blocks : the matrices of every block. seed : of random draws. The constructor computes
    what all blocks share.

    Attributes:
        rounds: whether the estimator uses the rounded values, not only the relative error of a format.
    """

    rounds: ClassVar[bool] = True

    @abstractmethod
    def __init__(self, model: nn.Module, data: Sequence[Batch], blocks: Blocks, seed: int) -> None: ...

    @abstractmethod
    def estimate(self, block: str, rounding: Rounding) -> Estimate:
        """The loss of the block in this format."""


def estimator_names() -> tuple[str, ...]:
    """The names of the estimators, one file each."""
    return _found.names(sys.modules[__name__])


def find_estimator(name: str) -> type[Estimator]:
    """The estimator of a name: the class `FirstOrder` of the file `first_order.py` for "first-order"."""
    require(name, str, "estimator", f"expected one of {', '.join(estimator_names())}")
    found = vars(_found.module(sys.modules[__name__], name, argument="estimator")).values()
    wanted = name.replace("-", "")
    [kind] = [kind for kind in found if isinstance(kind, type) and kind.__name__.lower() == wanted]
    return cast(type[Estimator], kind)
