"""The reference: a choice handed to cvxpy, integer or relaxed, and solved by any solver that it has installed."""

from __future__ import annotations

import math
from typing import Any

import cvxpy as cp
import numpy as np

from zetaplan.errors import SolverError
from zetaplan.spec.menus.answer import ChoiceSolution
from zetaplan.spec.menus.choice import Choice


def problem(instance: Choice, *, relaxed: bool = False) -> tuple[cp.Problem, cp.Variable]:
    """The cvxpy problem and its variable (n,): 1 for an option that is taken, or its weight if `relaxed`."""
    n, several = instance.losses.size, instance.budgets.size
    x = cp.Variable(n, nonneg=True, name="x") if relaxed else cp.Variable(n, boolean=True, name="x")
    one = (instance.owner == np.arange(instance.decisions)[:, np.newaxis]).astype(np.float64)
    scale = np.maximum(instance.costs.max(axis=0), np.finfo(float).tiny)
    budgets = [(instance.costs[:, m] / scale[m]) @ x <= instance.budgets[m] / scale[m] for m in range(several)]
    size = float(np.abs(instance.losses).max()) or 1.0
    return cp.Problem(cp.Minimize((instance.losses / size) @ x), [*budgets, one @ x == 1]), x


def solve_cvxpy(instance: Choice, *, solver: str = "HIGHS", **options: Any) -> ChoiceSolution:
    """The choice that a mixed-integer solver of cvxpy calls optimal.

    Raises SolverError with the solver's words where it is not installed, finds no choice, or oversteps a budget.
    """
    if solver not in cp.installed_solvers():
        raise SolverError(f"solver = {solver!r} is not installed; cvxpy finds {', '.join(cp.installed_solvers())}")
    declared, x = problem(instance)
    try:
        declared.solve(solver=solver, **options)
    except cp.error.SolverError as failure:
        raise SolverError(f"{solver} failed on a choice of {instance.blocks} blocks: {failure}") from None
    if x.value is None:
        raise SolverError(f"{solver} reports {declared.status}; try method='exact'")
    ends = zip(instance.first[:-1].tolist(), instance.first[1:].tolist(), strict=True)
    rows = np.array([a + int(np.argmax(x.value[a:b])) for a, b in ends])
    for used, budget in zip(instance.costs[rows].T.tolist(), instance.budgets.tolist(), strict=True):
        if math.fsum([*used, -budget]) > 0.0:
            raise SolverError(f"{solver}: its choice exceeds a budget by its tolerance; use method='exact'")
    multiplier = math.nan if instance.budgets.size == 1 else np.full(instance.budgets.size, math.nan)
    return ChoiceSolution(instance, instance.options_of(rows), multiplier, method=f"cvxpy:{solver}")
