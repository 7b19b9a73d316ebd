"""Greedy choices: the steps of the hulls as long as they fit, and single exchanges that use what is left."""

from __future__ import annotations

import math

import numpy as np

from zetaplan.solvers.menus.relaxation import Relaxation, Steps, relax
from zetaplan.spec.menus.answer import ChoiceSolution, ChoiceStatus, Stage, Tree
from zetaplan.spec.menus.choice import Choice, Indices, nearest

ROUNDS = 8  # of exchanges before the exact search


def solve_greedy(instance: Choice) -> ChoiceSolution:
    """Take steps of falling rate, pass over those that do not fit; with the bound of the relaxation, proved.

    Raises SpecError where there are several budgets.
    """
    relaxed = relax(instance)
    rows = _filled(relaxed.steps, relaxed)
    bound = instance.dual_bound(np.array([nearest(relaxed.multiplier)]))
    proof = Tree(((Stage(((relaxed.multiplier,),)),),))
    return ChoiceSolution(
        instance, instance.options_of(rows), nearest(relaxed.multiplier), bound, ChoiceStatus.GAP, "greedy", proof
    )


def _filled(steps: Steps, relaxed: Relaxation) -> Indices:
    """The relaxation's rows, and every later step that leads on from them and fits."""
    rows, spare = relaxed.rows.copy(), relaxed.spare
    owner = np.searchsorted(steps.instance.first, steps.end, side="right") - 1
    rise = steps.costs[steps.end] - steps.costs[steps.start]
    for s in (relaxed.count + np.flatnonzero(rise[relaxed.count :] <= spare)).tolist():
        if rows[owner[s]] == steps.start[s] and _fits(steps, rows, owner[s], steps.end[s]):
            rows[owner[s]] = steps.end[s]
    return rows


def _fits(steps: Steps, rows: Indices, decision: int, row: int) -> bool:
    others = np.delete(steps.costs[rows], decision)
    return math.fsum([*others.tolist(), float(steps.costs[row]), -float(steps.instance.budgets[0])]) <= 0.0


def improved(relaxed: Relaxation) -> Indices:
    """The relaxation's rows after the best single exchanges that fit, one after the other."""
    instance, costs, rows = relaxed.steps.instance, relaxed.steps.costs, relaxed.rows.copy()
    owner, budget = instance.owner, float(instance.budgets[0])
    for _ in range(ROUNDS):
        spare = math.fsum([budget, *(-costs[rows]).tolist()])
        gain = np.where(costs - costs[rows][owner] <= spare, instance.losses[rows][owner] - instance.losses, 0.0)
        best = int(np.argmax(gain))
        tried = rows.copy()
        tried[owner[best]] = best
        if gain[best] <= 0.0 or math.fsum([*costs[tried].tolist(), -budget]) > 0.0:
            break
        rows = tried
    return rows
