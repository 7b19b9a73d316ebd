"""The options that a method offers for every block, and the weights of each. One file per kind of method."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from zetaplan import _found
from zetaplan._owner import owner_of
from zetaplan.menus.menu import Menu
from zetaplan.menus.planner import choose
from zetaplan.models.inputs import Inputs, Observe
from zetaplan.models.operating_point import Changes
from zetaplan.scoring.text.sequences import Batch


class Levels(ABC):
    """The options of every block under one method.

    Attributes:
        inputs: the unchanged model with its calibration text.
        kind: of the blocks, "layers", "fused" or "modules".
        costs: by block and option, ascending; whole numbers in `unit`.
        budget: the largest total cost.
        uniform: the plan that treats all blocks alike within the budget.
        stride: levels that the first moves go up or down; half as many where nothing improves, down to one.
        differentiable: whether a move changes values of parameters, so that it has derivatives.
        smooth: whether options differ by small changes, so that derivatives predict every move.
        resource, unit: what an option costs.
    """

    stride: int = 1
    differentiable: ClassVar[bool] = True
    smooth: ClassVar[bool] = True
    resource: ClassVar[str]
    unit: ClassVar[str]
    inputs: Inputs
    kind: str
    costs: Mapping[str, Mapping[str, int]]
    budget: int
    uniform: Mapping[str, str]

    def starts(self, data: Sequence[Batch], *, progress: bool = False) -> tuple[Mapping[str, str], ...]:
        """Plans within the budget that a refinement may begin with, `uniform` first. data : text for estimates."""
        return (self.uniform,)

    def chosen(self, losses: Mapping[str, Mapping[str, float]]) -> tuple[dict[str, str], float]:
        """The best choice of these options of these blocks within the budget, and the sum of its losses."""
        menu = Menu(
            names=tuple(losses),
            options=tuple(tuple(row) for row in losses.values()),
            losses=tuple(tuple(row.values()) for row in losses.values()),
            costs=tuple(tuple((float(self.costs[name][o]),) for o in row) for name, row in losses.items()),
            budgets=(self.resource,),
            units=(self.unit,),
        )
        plan = choose(menu, float(self.budget))
        return plan.taken, plan.loss

    def cost(self, block: str, option: str) -> int:
        return self.costs[block][option]

    @abstractmethod
    def values(self, block: str, option: str) -> Changes:
        """The changes to the model by this option of the block."""

    def parameters(self, block: str) -> tuple[str, ...]:
        """The names of the parameters that an option of the block may change; none where a layer is left out."""
        return ()

    def observations(self) -> Mapping[str, Observe]:
        """What the method observes in the inputs of the linears, by its name in `inputs`."""
        return {}

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """The provenance of a menu of these options."""

    def spelled(self, option: str) -> str:
        """The option as `costs` spells it; unchanged where it is none."""
        return option

    def neighbours(self, block: str, option: str, stride: int = 1, reach: int = 1) -> tuple[str, ...]:
        """The options up to `reach` strides of so many levels below and above, in the order of their cost."""
        ladder = list(self.costs[block])
        at = ladder.index(option)
        places = (at + stride * t for t in range(-reach, reach + 1) if t)
        return tuple(ladder[place] for place in places if 0 <= place < len(ladder))


def by_block(plan: Mapping[str, str], blocks: Iterable[str]) -> dict[str, str]:
    """The plan with the option of a layer for every block inside it; unchanged if it does not cover the blocks so."""
    owners = {block: owner_of(block, plan) for block in blocks}
    if set(owners.values()) != set(plan):
        return dict(plan)
    return {block: plan[owner] for block, owner in owners.items() if owner is not None}


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
