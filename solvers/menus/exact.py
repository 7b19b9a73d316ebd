"""The optimum of a choice, with its proof: hulls, reduced costs, then dynamic programming or branch and bound."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np

from zetaplan.errors import SpecError
from zetaplan.solvers.menus.core import core
from zetaplan.solvers.menus.greedy import improved
from zetaplan.solvers.menus.relaxation import relax
from zetaplan.solvers.menus.sweep import Limits, stages, sweep
from zetaplan.spec.menus.answer import ChoiceSolution, ChoiceStatus, Stage, Tree
from zetaplan.spec.menus.choice import Choice, Indices, nearest

#: Partial choices that a search may keep, and make at once: a gigabyte or so.
STATES = 10_000_000

#: Options up to which the dual bound is computed in whole numbers; beyond, in doubles rounded downwards.
WHOLE = 20_000


def solve_exact(
    instance: Choice, *, time_limit: float = math.inf, states: int = STATES, gap: float = 0.0
) -> ChoiceSolution:
    """The optimal choice, or the best found with its proved gap.

    time_limit : seconds. states : partial choices that are kept, or made at once. gap : >= 0, relative to the
    objective, at which the search may stop. Where one of them ends it, the status is GAP. Under several budgets a
    search goes on until it has found a choice that keeps all of them.

    Raises SpecError for a limit below 0, and InfeasibleError where several budgets together admit no choice.
    """
    for name, value in (("time_limit", time_limit), ("states", states), ("gap", gap)):
        if not value >= 0:
            raise SpecError(f"{name} = {value}: expected at least 0")
    deadline = time.monotonic() + time_limit
    if instance.budgets.size > 1:
        from zetaplan.solvers.menus.branch import branch

        return branch(instance, Limits(deadline, states), gap)
    return _one_budget(instance, Limits(deadline, states), gap)


def _one_budget(instance: Choice, limits: Limits, gap: float) -> ChoiceSolution:
    relaxed = relax(instance)
    root = Stage(((relaxed.multiplier,),))
    known, bound = improved(relaxed), lower_bound(instance, (relaxed.multiplier,))
    surplus, tree = above(instance, known, bound), Tree(((root,),))
    if surplus <= gap * abs(total(instance, known)) or limits.reached(0):
        return answer(instance, known, relaxed.multiplier, rounded_down(bound), tree, surplus <= 0)
    left = core(relaxed, known, rounded_down(bound))
    if left is None:
        return answer(instance, known, relaxed.multiplier, rounded_down(bound), tree, True)
    enough = float(bound) / (1.0 - math.copysign(gap, bound)) - total(instance, relaxed.rows) if gap else -math.inf
    found = sweep(left, replace(limits, enough=enough))
    if found.rows is not None:
        known = relaxed.rows.copy()
        known[left.decision[: found.rows.size]] = found.rows
    tree = Tree(((root, *stages(left)),)) if found.proved else tree
    return answer(instance, known, relaxed.multiplier, rounded_down(bound), tree, found.proved)


def lower_bound(instance: Choice, multipliers: tuple[Fraction, ...]) -> Fraction:
    """D(lambda), or for many options a double that it is not below."""
    if instance.losses.size > WHOLE:
        return Fraction(instance.dual_bound(np.array([nearest(m) for m in multipliers])))
    return instance.dual(multipliers)


def rounded_down(value: Fraction) -> float:
    """The largest double that is not above, or its neighbour."""
    nearest = float(value)
    return nearest if Fraction(nearest) <= value else math.nextafter(nearest, -math.inf)


def above(instance: Choice, rows: Indices, bound: Fraction) -> Fraction:
    """By how much the loss of the rows is above a bound; beyond `WHOLE` options rounded once, its sign exact."""
    losses = instance.losses[rows].tolist()
    if instance.losses.size > WHOLE:
        return Fraction(math.fsum([*losses, -float(bound)]))
    return sum(map(Fraction, losses), -bound)


def total(instance: Choice, rows: Indices) -> float:
    """The loss of the rows, rounded once."""
    return math.fsum(instance.losses[rows].tolist())


def answer(
    instance: Choice, rows: Indices, multiplier: Fraction, bound: float, tree: Tree, proved: bool
) -> ChoiceSolution:
    """The solution that takes these rows."""
    status = ChoiceStatus.OPTIMAL if proved else ChoiceStatus.GAP
    best = total(instance, rows) if proved else bound
    return ChoiceSolution(instance, instance.options_of(rows), nearest(multiplier), best, status, "exact", tree)
