"""Estimators of what a format of a block costs: one file each, found by its name.

An estimator gives, for the block with its matrices rounded and all others as they are, the divergence from the
unrounded model in nats per token, with its standard error over the N sequences of the text.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from zetaplan import _found
from zetaplan.errors import ScoringError
from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import Quantizer
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
    """The matrices of a block in one format.

    values : the rounded values (count, rows, columns) by the name of the parameter; None if only another tool can
    compute them. exact : the values of the model.
    """

    members: Sequence[Weight]
    quantizer: Quantizer
    exact: Mapping[str, Tensor]
    values: Mapping[str, Tensor] | None

    @property
    def rounded(self) -> Mapping[str, Tensor]:
        """The rounded values. Raises ScoringError if they are unknown."""
        if self.values is None:
            raise ScoringError(
                f"format {self.quantizer.label}: only llama.cpp can round to it, so its loss has to come from its "
                "relative error; use the estimator linear"
            )
        return self.values

    def errors(self) -> dict[str, Tensor]:
        """Rounded minus exact values of the members. Raises ScoringError if they are unknown."""
        return {weight.name: self.rounded[weight.name] - self.exact[weight.name] for weight in self.members}


class Estimator(ABC):
    """An estimator on one model and one text.

    data : batches of sequences. blocks : the matrices of every block. seed : of random draws. The constructor computes
    what all blocks share.
    """

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
    found = vars(_found.module(sys.modules[__name__], name, argument="estimator")).values()
    wanted = name.replace("-", "")
    [kind] = [kind for kind in found if isinstance(kind, type) and kind.__name__.lower() == wanted]
    return cast(type[Estimator], kind)
