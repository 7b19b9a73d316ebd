"""The options that a method offers for every block, and the weights of each. One file per kind of method."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from zetaplan import _found
from zetaplan.models.operating_point import Changes
from zetaplan.refining.inputs import Inputs


class Levels(ABC):
    """The options of every block under one method.

    Attributes:
        inputs: the unchanged model with its calibration text.
        costs: by block and option, ascending; whole numbers in `unit`.
        budget: the largest total cost.
        uniform: the plan that treats all blocks alike within the budget.
        starts: plans within the budget that a refinement may begin with, `uniform` first.
        stride: levels that the first moves go up or down; half as many where nothing improves, down to one.
        smooth: whether options differ by small changes of parameters, so that derivatives predict a move.
        resource, unit: what an option costs.
    """

    stride: int = 1
    smooth: ClassVar[bool] = True
    resource: ClassVar[str]
    unit: ClassVar[str]
    inputs: Inputs
    costs: Mapping[str, Mapping[str, int]]
    budget: int
    uniform: Mapping[str, str]

    @property
    def starts(self) -> tuple[Mapping[str, str], ...]:
        return (self.uniform,)

    @abstractmethod
    def values(self, block: str, option: str) -> Changes:
        """The changes to the model by this option of the block."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """The provenance of a menu of these options."""

    def neighbours(self, block: str, option: str, stride: int = 1, reach: int = 1) -> tuple[str, ...]:
        """The options up to `reach` strides of so many levels below and above, in the order of their cost."""
        ladder = list(self.costs[block])
        at = ladder.index(option)
        places = (at + stride * t for t in range(-reach, reach + 1) if t)
        return tuple(ladder[place] for place in places if 0 <= place < len(ladder))


def methods() -> tuple[str, ...]:
    """The names of all methods."""
    return tuple(sorted(method for family in _families() for method in family.methods()))


def find_levels(method: str, *, inputs: Inputs, budget: str, **settings: Any) -> Levels:
    """The levels of a method on a model. method : one of `methods()`. budget : as its file describes it."""
    for family in _families():
        if method in family.methods():
            found: Levels = family.levels(method, inputs=inputs, budget=budget, **settings)
            return found
    raise AssertionError(f"no file has the method {method!r}")


def _families() -> tuple[Any, ...]:
    return tuple(_found.modules(sys.modules[__name__]).values())
