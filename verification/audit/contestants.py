"""Solvers under test: our methods, every installed solver of cvxpy, and OSQP with a quadratic formulation.

`osqp` solves quadratic programs only. Pruning is quadratic. Allocation has the minimiser of a quadratic program if its
budget binds: with X_k = c_k m_k the stationarity w_k / (X_k + c_k) = const of the logarithm is that of

    minimise  sum_k (X_k + c_k)^2 / (2 w_k)    subject to  sum_k X_k = B,  c_k l_k <= X_k <= c_k u_k

so OSQP gives a result that is independent of the logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from zetaplan.errors import SolverError, SpecError
from zetaplan.solvers import METHODS, solve
from zetaplan.spec.instance import Array, Instance
from zetaplan.spec.programs.allocation import ALLOCATION
from zetaplan.spec.solution import Solution, Status


@dataclass(frozen=True)
class Contestant:
    """A solver under test.

    suits : whether the solver supports an instance; others are skipped.
    strict : whether plan, multiplier and constraints must be right to rounding.
    """

    name: str
    solve: Callable[[Instance], Solution]
    suits: Callable[[Instance], bool] = lambda instance: True
    strict: bool = False


def contestant(name: str) -> Contestant:
    """The solver of this name: one of our methods, "osqp", or any solver of cvxpy in lower case.

    Raises SpecError for an unknown name.
    """
    if name in METHODS and name != "cvxpy":
        return Contestant(name, partial(solve, method=name), strict=name == "exact")
    if name == "osqp":
        return Contestant(name, solve_osqp, quadratic)
    import cvxpy as cp  # slow to load

    if name.upper() not in cp.installed_solvers():
        known = ", ".join([*(m for m in METHODS if m != "cvxpy"), *map(str.lower, cp.installed_solvers())])
        raise SpecError(f"solver {name!r} is unknown: expected one of {known}")
    return Contestant(name, partial(solve, method="cvxpy", solver=name.upper()))


def quadratic(instance: Instance) -> bool:
    """Whether a quadratic program has the same minimiser; for allocation, if the budget binds for all weights."""
    if instance.program is not ALLOCATION:
        return True
    return instance.parameters["alpha"] == 0.0 and _reach(instance) > instance.limit


def solve_osqp(instance: Instance) -> Solution:
    """Pruning as declared; allocation by the quadratic program with the same minimiser."""
    if instance.program is ALLOCATION:
        return _allocation(instance)
    return solve(instance, "cvxpy", solver="OSQP")


def _reach(instance: Instance) -> float:
    """The largest use of the layers with weight plus the least use of the others."""
    ends = np.where(instance.weight > 0.0, instance.upper, instance.lower)
    return float(instance.resource @ ends)


def _allocation(instance: Instance) -> Solution:
    import cvxpy as cp

    weighted = instance.weight > 0.0
    w, c = instance.weight[weighted], instance.resource[weighted]
    lower, upper = instance.lower[weighted] * c, instance.upper[weighted] * c
    left = instance.limit - float((instance.resource * instance.lower)[~weighted].sum())
    volume = left + float(c.sum())
    spend = cp.Variable(w.size)
    capped = np.flatnonzero(upper < math.inf)
    box = [spend >= lower / volume] + ([spend[capped] <= upper[capped] / volume] if capped.size else [])
    root = np.sqrt(w.mean() / w)
    objective = cp.Minimize(0.5 * cp.sum_squares(cp.multiply(root, spend + c / volume)))
    problem = cp.Problem(objective, [cp.sum(spend) == left / volume, *box])
    try:
        problem.solve(solver="OSQP")
    except cp.error.SolverError as failure:
        raise SolverError(f"OSQP failed: {failure}") from None
    if spend.value is None:
        raise SolverError(f"OSQP reports {problem.status}")
    x = _merge(instance, weighted, spend.value * volume / c)
    status = Status.BINDING if problem.status == cp.OPTIMAL else Status.INACCURATE
    # Where a layer is inside its box, -dual = (X_k + c_k) / w_k in scaled units, which is u: the inverse of lambda.
    u = -float(problem.constraints[0].dual_value) * volume / float(w.mean())
    multiplier = instance.parameters["gamma"] / u if u > 0.0 else math.inf
    return Solution(instance, x, multiplier, status, "cvxpy:OSQP on the quadratic program")


def _merge(instance: Instance, weighted: NDArray[np.bool_], x: Array) -> Array:
    plan: Array = instance.lower.copy()
    plan[weighted] = x
    return np.clip(plan, instance.lower, instance.upper)
