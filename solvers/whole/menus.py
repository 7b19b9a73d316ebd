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
from zetaplan.solvers.whole.units import Counts, Units, bracket, window
from zetaplan.spec.menus.answer import ChoiceSolution, ChoiceStatus, Leaf, Tree
from zetaplan.spec.menus.choice import Choice, nearest

OPTIONS = 1 << 20  # of all menus together: some 100 MB
STATES = 1 << 23  # partial choices: some 500 MB


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
    low, high = np.maximum(decisions.low - 1, 0), np.minimum(decisions.high + 1, units.most)
    if int((high - low + 1).sum()) > OPTIONS:
        return Found(known)
    solution = solve_exact(menus(units, low, high), states=STATES)
    z = low + solution.choice
    if solution.status is ChoiceStatus.OPTIMAL and covers(units, low, high, solution):
        return Found(z, solution, rounding(units, low, high))
    return Found(z)


def covers(units: Units, low: Counts, high: Counts, solution: ChoiceSolution) -> bool:
    """Is no count outside of low..high in a better plan?

    At the first multiplier of the proof, the reduced cost of an end option is as large as the plan is above the dual
    bound, and larger than rounding allows: so it rises from there on, since losses are convex.
    """
    instance, root = solution.instance, cast(Leaf, cast(Tree, solution.proof).nodes[0])[0]
    values, spent, unit = instance.exactly_priced(root.multipliers[0])
    first = instance.first.tolist()
    least = [min(values[a:b]) for a, b in pairwise(first)]
    plan = sum(map(Fraction, instance.losses[instance.rows(solution.choice)].tolist()), Fraction(0))
    above = plan - Fraction(sum(least) - spent, unit)
    doubt = (4.0 * np.maximum(units.rounding(low), units.rounding(high))).tolist()
    for ends, open_ in ((first[:-1], low > 0), ([b - 1 for b in first[1:]], high < units.most)):
        for k in np.flatnonzero(open_).tolist():
            if Fraction(values[ends[k]] - least[k], unit) < above + Fraction(doubt[k]):
                return False
    return True


def rounding(units: Units, low: Counts, high: Counts) -> float:
    """By how much a plan can be better in real numbers than an optimum of menus of doubles as near as rounding allows.

    The losses of both plans count, and may be those of another machine, as far away again. A loss is the larger the
    nearer to the ends of its menu.
    """
    return 4.0 * math.fsum(np.maximum(units.rounding(low), units.rounding(high)).tolist())


def menus(units: Units, low: Counts, high: Counts) -> Choice:
    """The choice of counts from low to high, (K,) each. A count costs what it uses of the room."""
    sizes = high - low + 1
    first = np.concatenate(([0], np.cumsum(sizes)))
    owner = np.repeat(np.arange(sizes.size), sizes)
    counts = low[owner] + np.arange(owner.size) - first[owner]
    table = np.array([units.loss(np.minimum(low + j, high)) for j in range(int(sizes.max()))])
    costs = [float(units.costs[k] * z) for k, z in zip(owner.tolist(), counts.tolist(), strict=True)]
    return Choice(
        losses=table[counts - low[owner], owner],
        costs=np.array(costs)[:, np.newaxis],
        first=first,
        option=counts - low[owner],
        budgets=np.array([float(units.room)]),
        decision=np.arange(sizes.size),
        names=tuple(map(str, range(sizes.size))),
        labels=[tuple(map(str, range(a, b + 1))) for a, b in zip(low.tolist(), high.tolist(), strict=True)],
    )


def _known(units: Units) -> tuple[Counts, float]:
    """The plan by gain per cost, improved by exchanges, and the price of the first unit that did not fit."""
    below, above = bracket(units)
    if int((above - below).sum()) > OPTIONS:
        return below, 0.0
    relaxed = relax(menus(units, below, above))
    rows = improved(relaxed)
    z = below + relaxed.steps.instance.option[rows]
    return z, nearest(relaxed.multiplier * max(units.costs))
