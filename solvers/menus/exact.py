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
from zetaplan.spec.menus.choice import Choice, Indices

#: Options up to which the dual bound is computed in whole numbers; beyond, in doubles rounded downwards.
WHOLE = 20_000


def solve_exact(
    instance: Choice, *, time_limit: float = math.inf, states: int = 20_000_000, gap: float = 0.0
) -> ChoiceSolution:
    """The optimal choice, or the best found with its proved gap.

    time_limit : seconds; states : partial choices that are kept in memory; gap : >= 0, relative to the objective, at
    which the search may stop. Where one of them ends it, the status is GAP.

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
    left = core(relaxed, known, bound)
    if left is None or excess(instance, known, bound) <= gap * abs(total(instance, known)):
        proved = left is None or excess(instance, known, bound) <= 0.0
        return answer(instance, known, relaxed.multiplier, bound, Tree(((root,),)), proved)
    enough = bound / (1.0 - math.copysign(gap, bound)) - total(instance, relaxed.rows) if gap else -math.inf
    found = sweep(left, replace(limits, enough=enough))
    if found.rows is not None:
        known = relaxed.rows.copy()
        known[left.decision[: found.rows.size]] = found.rows
    tree = Tree(((root, *stages(left)),)) if found.proved else Tree(((root,),))
    return answer(instance, known, relaxed.multiplier, bound, tree, found.proved)


def lower_bound(instance: Choice, multipliers: tuple[Fraction, ...]) -> float:
    """A double that D(lambda) is not below."""
    if instance.losses.size > WHOLE:
        return instance.dual_bound(np.array([float(m) for m in multipliers]))
    exact = instance.dual(multipliers)
    nearest = float(exact)
    return nearest if Fraction(nearest) <= exact else math.nextafter(nearest, -math.inf)


def total(instance: Choice, rows: Indices) -> float:
    """The loss of the rows, rounded once."""
    return math.fsum(instance.losses[rows].tolist())


def excess(instance: Choice, rows: Indices, bound: float) -> float:
    """The loss of the rows less the bound, rounded once: its sign is exact."""
    return math.fsum([*instance.losses[rows].tolist(), -bound])


def answer(
    instance: Choice, rows: Indices, multiplier: Fraction, bound: float, tree: Tree, proved: bool
) -> ChoiceSolution:
    """The solution that takes these rows."""
    status = ChoiceStatus.OPTIMAL if proved else ChoiceStatus.GAP
    best = total(instance, rows) if proved else bound
    return ChoiceSolution(instance, instance.options_of(rows), float(multiplier), best, status, "exact", tree)
