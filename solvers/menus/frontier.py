"""Every budget at once: the convex frontier of a choice in fractions, and the full Pareto front of small ones.

The frontier is the relaxation's value for every budget: the lower hulls' steps in the order of their rates, added up.
At its breakpoints the relaxation is integral, so the choice there is optimal; between them it is off by less than the
step that does not fit. Losses, costs and rates are whole numbers and their quotients: nothing is rounded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zetaplan._display import Columns, Picture
from zetaplan.errors import InfeasibleError, SpecError
from zetaplan.solvers.menus.exact import answer, rounded_down
from zetaplan.spec.menus.answer import ChoiceSolution, Stage, Tree
from zetaplan.spec.menus.choice import Array, Choice, Indices, integers, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 100_000  # points of a Pareto front


class _Step(NamedTuple):
    """From one vertex of a menu's hull to the next: loss per cost; and what is saved and spent, as whole numbers."""

    rate: Fraction
    fall: int
    rise: int
    decision: int
    row: int


@dataclass(frozen=True, eq=False, repr=False)
class ChoiceFrontier(Picture):
    """The relaxation's optimum for every budget from the cheapest choice on.

    budgets, losses : (S + 1,) the breakpoints, rounded once. multipliers : (S,) the slopes between them, falling.

    Examples:
        >>> path = zp.frontier(zp.choice([[3, 1], [2, 0]], costs=[[1, 2], [1, 4]], budget=3))
        >>> path.budgets, path.losses, path.slope(3.0)
        (array([2., 3., 6.]), array([5., 3., 1.]), Fraction(2, 3))
        >>> path.at(6.0).choice, path.at(6.0).status.name
        (array([1, 1]), 'OPTIMAL')
    """

    instance: Choice
    budgets: Array
    losses: Array
    multipliers: Array
    _steps: list[_Step] = field(repr=False)
    _spent: list[Fraction] = field(repr=False)
    _lost: list[Fraction] = field(repr=False)
    _cheapest: Indices = field(repr=False)

    def _headline(self) -> str:
        span = f"budgets from {self.budgets[0]:.6g} to {self.budgets[-1]:.6g}"
        return f"{self.budgets.size} breakpoints, {span}, losses from {self.losses[-1]:.6g} to {self.losses[0]:.6g}"

    def _columns(self) -> Columns:
        multipliers = [*self.multipliers.tolist(), 0.0]  # nothing is gained beyond the last breakpoint
        return {"budget": self.budgets.tolist(), "loss": self.losses.tolist(), "multiplier": multipliers}

    def _draw(self, axes: Axes) -> None:
        axes.plot(self.budgets, self.losses, ".-")
        axes.set(xlabel="budget", ylabel="total loss")

    def slope(self, budget: float) -> Fraction:
        """The multiplier at a budget, exactly, in O(log n); at a breakpoint that of the next step."""
        place = self._place(budget)
        return self._steps[place].rate if place < len(self._steps) else Fraction(0)

    def value(self, budget: float) -> Fraction:
        """The relaxation's value at a budget, exactly, in O(log n): no choice within it has a smaller loss."""
        place = self._place(budget)
        return self._lost[place] - self.slope(budget) * (Fraction(budget) - self._spent[place])

    def at(self, budget: float) -> ChoiceSolution:
        """The choice at the last breakpoint within a budget, with its proved gap; O(n)."""
        place = self._place(budget)
        rows = self._cheapest.copy()
        for step in self._steps[:place]:
            rows[step.decision] = step.row
        instance = replace(self.instance, budgets=np.array([float(budget)]))
        multiplier = self.slope(budget)
        tree, bound = Tree(((Stage(((multiplier,),)),),)), self.value(budget)
        return answer(instance, rows, multiplier, rounded_down(bound), tree, self._lost[place] == bound)

    def _place(self, budget: float) -> int:
        """How many steps fit."""
        number = float(budget)
        if not number < np.inf:
            raise SpecError(f"budget = {budget}: expected a finite number")
        place = bisect_right(self._spent, Fraction(number)) - 1
        if place < 0:
            least = float(self._spent[0])
            raise InfeasibleError(f"budget = {number:.17g}: the cheapest choice costs {least:.17g}; raise it to that")
        return place


def choice_frontier(instance: Choice) -> ChoiceFrontier:
    """The convex frontier over all budgets, in O(n log n). Raises SpecError where there are several budgets."""
    losses, costs, units = _whole(instance)
    menus = [range(a, b) for a, b in pairwise(instance.first.tolist())]
    hulls = [_hull(menu, losses, costs) for menu in menus]
    steps = [
        _step(losses[a] - losses[b], costs[b] - costs[a], units, g, b)
        for g, hull in enumerate(hulls)
        for a, b in pairwise(hull)
    ]
    steps.sort(key=lambda step: -step.rate)
    cheapest = np.array([hull[0] for hull in hulls])
    spent = accumulate((s.rise for s in steps), initial=sum(costs[row] for row in cheapest.tolist()))
    lost = accumulate((-s.fall for s in steps), initial=sum(losses[row] for row in cheapest.tolist()))
    exact_spent, exact_lost = ([Fraction(n, unit) for n in ns] for ns, unit in zip((spent, lost), units, strict=True))
    rates = np.array([nearest(s.rate) for s in steps])
    budgets, values = (np.array([float(v) for v in vs]) for vs in (exact_spent, exact_lost))
    return ChoiceFrontier(instance, budgets, values, rates, steps, exact_spent, exact_lost, cheapest)


def _step(fall: int, rise: int, units: tuple[int, int], decision: int, row: int) -> _Step:
    return _Step(Fraction(fall * units[0], rise * units[1]), fall, rise, decision, row)


def _whole(instance: Choice) -> tuple[list[int], list[int], tuple[int, int]]:
    """Losses and costs as whole numbers; how many make one cost, and one loss."""
    if instance.budgets.size != 1:
        raise SpecError(f"{instance.budgets.size} budgets: the frontier is a curve over one budget")
    losses, loss_bits = integers(instance.losses)
    costs, cost_bits = integers(instance.costs)
    return losses, costs, (1 << cost_bits, 1 << loss_bits)


def _hull(menu: range, losses: list[int], costs: list[int]) -> list[int]:
    """The vertices of the lower left hull, by cost; among equal options the first."""
    hull: list[int] = []
    for p in sorted(menu, key=lambda row: (costs[row], losses[row])):
        if hull and losses[p] >= losses[hull[-1]]:
            continue
        while len(hull) > 1 and _above(hull[-2], hull[-1], p, losses, costs):
            hull.pop()
        hull.append(p)
    return hull


def _above(a: int, b: int, p: int, losses: list[int], costs: list[int]) -> bool:
    """Does b lie on the line from a to p, or above it?"""
    return (losses[a] - losses[b]) * (costs[p] - costs[b]) <= (losses[b] - losses[p]) * (costs[b] - costs[a])


@dataclass(frozen=True, eq=False)
class ParetoFront:
    """Every choice that no other one beats in cost and loss at once (one of equal ones), by rising cost.

    budgets, losses : (P,) rounded once. choices : (P, K).
    """

    budgets: Array
    losses: Array
    choices: Indices


def pareto_front(instance: Choice, most: int = MOST) -> ParetoFront:
    """The full front of a small instance. Raises SpecError beyond `most` points, and for several budgets."""
    losses, costs, units = _whole(instance)
    front: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())]
    for a, b in pairwise(instance.first.tolist()):
        sums = sorted((c + costs[r], w + losses[r], (*rows, r)) for c, w, rows in front for r in range(a, b))
        front = list(_falling(sums))
        if len(front) > most:
            raise SpecError(f"instance: its Pareto front has more than {most} points; use zp.frontier, or raise `most`")
    spent, lost, rows = zip(*front, strict=True)
    choices = np.array([instance.options_of(np.array(taken)) for taken in rows])
    budgets, values = (
        np.array([float(Fraction(n, unit)) for n in numbers])
        for numbers, unit in zip((spent, lost), units, strict=True)
    )
    return ParetoFront(budgets, values, choices)


def _falling(
    points: list[tuple[int, int, tuple[int, ...]]],
) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Those that lose less than all before them."""
    least: int | None = None
    for point in points:
        if least is None or point[1] < least:
            least = point[1]
            yield point
