"""The relaxation of a choice under one budget: lower hulls, and their steps in the order of their rates.

Between two vertices of a menu's lower hull lies a step: it costs more and loses less. The relaxation takes the steps
of all menus in the order of their rates (loss per cost) until the budget is used up; its multiplier is the rate of the
first step that does not fit, and only the menu of that step is fractional (Sinha & Zoltners 1979).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import numpy as np

from zetaplan.errors import SpecError
from zetaplan.solvers.menus import hull
from zetaplan.spec.menus.choice import Array, Choice, Indices

FEW = 2**12  # options; up to here the loop takes less time than the import of numba


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps of all hulls, the steepest first; within a menu they keep their order.

    cheapest : (G,) the first vertex of every hull. start, end : (S,) the rows that a step leads from and to.
    rate : (S,) falling, > 0. costs : (n,) of the one budget.
    """

    instance: Choice
    costs: Array
    cheapest: Indices
    start: Indices
    end: Indices
    rate: Array

    def rows(self, count: int) -> Indices:
        """(G,) the rows taken after the first `count` steps."""
        rows = self.cheapest.copy()
        owner = np.searchsorted(self.instance.first, self.end[:count], side="right") - 1
        rows[owner] = self.end[:count]  # of several steps of one menu the last one stays
        return rows


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The integral part of the relaxation's optimum.

    rows : (G,) a choice that fits the budget, and the best at the multiplier. multiplier : exact for the doubles.
    count : how many steps were taken.
    """

    steps: Steps
    rows: Indices
    multiplier: Fraction
    count: int

    @property
    def spare(self) -> float:
        """What the rows leave of the budget, rounded once."""
        instance = self.steps.instance
        return math.fsum([float(instance.budgets[0]), *(-self.steps.costs[self.rows]).tolist()])


def hull_steps(instance: Choice) -> Steps:
    """All steps, in O(n log n). Raises SpecError where there are several budgets: then no one rate orders them."""
    if instance.budgets.size != 1:
        raise SpecError(
            f"{instance.budgets.size} budgets: steps have one rate under one budget only; use method='exact'"
        )
    losses, costs = instance.losses, np.ascontiguousarray(instance.costs[:, 0])
    rows, ends = np.empty(losses.size, dtype=np.int64), np.empty(instance.decisions, dtype=np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        rows = rows[: _loop(losses.size)(losses, costs, instance.first, rows, ends)]
    first = np.concatenate(([0], ends[:-1]))
    leads = np.ones(rows.size, dtype=np.bool_)
    leads[ends - 1] = False
    start = rows[leads]
    leads[:] = True
    leads[first] = False
    end = rows[leads]
    with np.errstate(over="ignore"):
        rate = (losses[start] - losses[end]) / (costs[end] - costs[start])
    order = np.argsort(-rate, kind="stable")
    return Steps(instance, costs, rows[first], start[order], end[order], rate[order])


def _loop(options: int) -> Callable[..., int]:
    """The loop over all options, compiled if they are many."""
    if options <= FEW:
        return hull.hulls
    from zetaplan.solvers.menus.compiled import hulls

    return cast(Callable[..., int], hulls)


def relax(instance: Choice) -> Relaxation:
    """The relaxation's multiplier and the choice before its fractional step."""
    steps = hull_steps(instance)
    rise = steps.costs[steps.end] - steps.costs[steps.start]
    room = float(instance.budgets[0]) - math.fsum(steps.costs[steps.cheapest].tolist())
    count = int(np.searchsorted(np.cumsum(rise), room, side="right"))
    while True:
        found = Relaxation(steps, steps.rows(count), rate_of(steps, count), count)
        if found.spare >= 0.0:
            return found
        count -= 1  # rounding let one step too many in


def rate_of(steps: Steps, count: int) -> Fraction:
    """The exact rate of the step after the first `count`; 0 where there is none."""
    if count >= steps.rate.size:
        return Fraction(0)
    a, b = int(steps.start[count]), int(steps.end[count])
    losses, costs = steps.instance.losses, steps.costs
    fall = Fraction(float(losses[a])) - Fraction(float(losses[b]))
    return fall / (Fraction(float(costs[b])) - Fraction(float(costs[a])))
