"""Whole units as a choice from menus (method 10): one option for each count that a best plan may hold.

A price bounds these counts (`units.window`). A menu holds them and one count more at either end, if the box has one:
the option that shows, at the price of the proof, that no count beyond it is in a better plan. For losses are convex.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np

from zetaplan.solvers.menus.exact import solve_exact
from zetaplan.solvers.menus.greedy import improved
from zetaplan.solvers.menus.relaxation import relax
from zetaplan.solvers.whole.doubles import in_doubles, rounded_up
from zetaplan.solvers.whole.units import Counts, Units, bracket, filled, window
from zetaplan.spec.menus.answer import ChoiceSolution, ChoiceStatus, Leaf, Tree
from zetaplan.spec.menus.choice import Array, Choice, Indices, nearest
from zetaplan.spec.summation import rational_dot

OPTIONS = 1 << 20  # of all menus together: some 100 MB
STATES = 1 << 22  # partial choices: some 250 MB


class Menus(NamedTuple):
    """The counts from low to high, (K,) each, as the options of a choice."""

    units: Units
    low: Counts
    high: Counts

    @property
    def size(self) -> int:
        """How many options there are."""
        return int((self.high - self.low + 1).sum())

    @property
    def doubt(self) -> Array:
        """(K,) how far a loss may be from the real one: the further the nearer to an end of its menu."""
        larger: Array = np.maximum(self.units.rounding(self.low), self.units.rounding(self.high))
        return larger

    @property
    def rounding(self) -> float:
        """By how much a plan can be better than an optimum of these menus, in real numbers.

        The losses of both plans count, and may be those of another machine, as far away again.
        """
        return 4.0 * math.fsum(self.doubt.tolist())

    def choice(self) -> Choice:
        """The choice that they are. A count costs what it uses of the room."""
        units, low, sizes = self.units, self.low, self.high - self.low + 1
        first = np.concatenate(([0], np.cumsum(sizes)))
        owner = np.repeat(np.arange(sizes.size), sizes)
        option = np.arange(owner.size) - first[owner]
        losses = np.empty(owner.size)
        for j in range(int(sizes.max())):
            open_ = sizes > j
            losses[first[:-1][open_] + j] = units.loss(np.minimum(low + j, self.high))[open_]
        counts = (low[owner] + option).tolist()
        costs = [float(units.costs[k] * z) for k, z in zip(owner.tolist(), counts, strict=True)]
        return Choice(
            losses=losses,
            costs=np.array(costs)[:, np.newaxis],
            first=first,
            option=option,
            budgets=np.array([float(units.room)]),
            decision=np.arange(sizes.size),
            names=tuple(map(str, range(sizes.size))),
            labels=[tuple(map(str, range(a, b + 1))) for a, b in zip(low.tolist(), self.high.tolist(), strict=True)],
        )

    def cover(self, instance: Choice, taken: Indices, multiplier: Fraction) -> bool:
        """Is no other count in a better plan than the one taken, in an instance of losses near those of `choice`?

        At the multiplier the reduced cost of an end option is as large as the plan is above the dual bound, and larger
        than rounding allows: so it rises from there on, since losses are convex.
        """
        values, spent, unit = instance.exactly_priced((multiplier,))
        first = instance.first.tolist()
        least = [min(values[a:b]) for a, b in pairwise(first)]
        losses = instance.losses[instance.rows(taken)]
        above = rational_dot(losses, np.ones_like(losses)) - Fraction(sum(least) - spent, unit)
        (top, below), doubt = above.as_integer_ratio(), (4.0 * self.doubt).tolist()
        lowest, highest = first[:-1], [end - 1 for end in first[1:]]
        for ends, open_ in ((lowest, self.low > 0), (highest, self.high < self.units.most)):
            for k in np.flatnonzero(open_).tolist():
                more, parts = doubt[k].as_integer_ratio()
                if (values[ends[k]] - least[k]) * below * parts < (top * parts + more * below) * unit:
                    return False
        return True


class Found(NamedTuple):
    """A plan that fits; the choice from menus that proves it optimal, or None; what the rounding of losses may hide."""

    z: Counts
    proof: ChoiceSolution | None = None
    rounding: float = math.inf


def best_counts(units: Units) -> Found:
    """The best plan with its proof; a good one where costs are too far from doubles, or a proof would be too large."""
    doubles = in_doubles(units)
    if doubles is not None:
        found = _best(doubles)
        if units.left(found.z) >= 0:
            return found
    return Found(_best(rounded_up(units)).z)


def _best(units: Units) -> Found:
    known, price = _known(units)
    decisions = window(units, known, price)
    menus = Menus(units, np.maximum(decisions.low - 1, 0), np.minimum(decisions.high + 1, units.most))
    if menus.size > OPTIONS:
        return Found(filled(units, known))
    solution = solve_exact(menus.choice(), states=STATES)
    z = menus.low + solution.choice
    if solution.status is ChoiceStatus.OPTIMAL and menus.cover(solution.instance, solution.choice, _first(solution)):
        return Found(z, solution, menus.rounding)
    return Found(z)


def _first(solution: ChoiceSolution) -> Fraction:
    """The multiplier that a proof begins with."""
    return cast(Leaf, cast(Tree, solution.proof).nodes[0])[0].multipliers[0][0]


def _known(units: Units) -> tuple[Counts, float]:
    """The plan by gain per cost, improved by exchanges, and the price of the first unit that did not fit."""
    menus = Menus(units, *bracket(units, np.zeros_like(units.most)))
    if menus.size > OPTIONS:
        return menus.low, 0.0
    relaxed = relax(menus.choice())
    z = menus.low + relaxed.steps.instance.option[improved(relaxed)]
    return z, nearest(relaxed.multiplier * max(units.costs))
