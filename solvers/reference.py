"""The reference: the declared program handed to cvxpy, expression by expression, and solved by a general solver.

It shares nothing with the other methods but the declaration. A general solver works with absolute tolerances,
so the objective is divided by the mean weight and the resource by the limit before it sees them.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import cvxpy as cp
import numpy as np
import sympy as sp

from zetaplan.errors import SolverError
from zetaplan.spec.instance import Channel, Instance
from zetaplan.spec.solution import Solution, Status

# Clarabel's defaults (1e-8) leave errors of 1e-5 in the plan: the gap is quadratic in them.
TIGHT = {"CLARABEL": {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}}


def solve_cvxpy(instance: Instance, *, solver: str = "CLARABEL", **options: Any) -> Solution:
    """The optimum by any solver that cvxpy has installed, with that solver's own options.

    Raises SolverError with the solver's words where it is not installed, fails or finds no plan.
    """
    if solver not in cp.installed_solvers():
        raise SolverError(f"solver = {solver!r} is not installed; cvxpy finds {', '.join(cp.installed_solvers())}")
    problem, variables, unit = declare(instance)
    try:
        with warnings.catch_warnings():  # "may be inaccurate" is said by the status
            warnings.simplefilter("ignore", UserWarning)
            problem.solve(solver=solver, **(TIGHT.get(solver, {}) | options))
    except cp.error.SolverError as failure:
        raise SolverError(
            f"{solver} failed on {instance.program.name}, K = {instance.quality.size}: {failure}"
        ) from None
    if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise SolverError(f"{solver} says {problem.status}; the instance is feasible, so try method='exact'")
    rows = [np.clip(x.value, c.lower, c.upper) for x, c in zip(variables, instance.channels, strict=True)]
    multiplier = max(float(problem.constraints[0].dual_value), 0.0) * unit
    accurate = Status.SLACK if multiplier == 0.0 else Status.BINDING
    status = accurate if problem.status == cp.OPTIMAL else Status.INACCURATE
    return Solution(instance, rows[0] if len(rows) == 1 else np.stack(rows), multiplier, status, f"cvxpy:{solver}")


def declare(instance: Instance) -> tuple[cp.Problem, list[cp.Variable], float]:
    """The cvxpy problem, its variables (one of shape (K,) per term), and the unit of its first dual variable."""
    channels, program = instance.channels, instance.program
    variables = [cp.Variable(instance.quality.size, name=str(channel.term.decision)) for channel in channels]
    scale = 1.0 / float(np.mean(instance.weight))
    volume = max(abs(instance.limit), float(min(np.min(channel.data) for channel in channels)))
    cost = sum(
        cp.sum(scale * translate(channel.term.objective, _values(instance, channel, x)))
        for channel, x in zip(channels, variables, strict=True)
    )
    use = sum(channel.term.usage * (channel.data / volume) @ x for channel, x in zip(channels, variables, strict=True))
    limit = instance.limit / volume
    coupling = use <= limit if program.sense == "<=" else use >= limit
    box = [constraint for channel, x in zip(channels, variables, strict=True) for constraint in _box(channel, x)]
    return cp.Problem(cp.Minimize(cost), [coupling, *box]), variables, 1.0 / (scale * volume)


def _box(channel: Channel, x: cp.Variable) -> list[cp.Constraint]:
    capped = np.flatnonzero(channel.upper < math.inf)
    return [x >= channel.lower] + ([x[capped] <= channel.upper[capped]] if capped.size else [])


def _values(instance: Instance, channel: Channel, x: cp.Variable) -> dict[sp.Symbol, Any]:
    """What every symbol of a term stands for."""
    scalars = {scalar.symbol: value for scalar, value in zip(instance.program.scalars, instance.scalars, strict=True)}
    return {**scalars, channel.term.decision: x, channel.term.weight: channel.weight, channel.term.data: channel.data}


def translate(expression: sp.Expr, values: Mapping[sp.Symbol, Any]) -> Any:
    """A sympy expression as a cvxpy one, atom by atom; arrays are constants of shape (K,)."""
    if expression.is_number:
        return float(expression)
    if expression.is_Symbol:
        return values[expression]
    return ATOMS[expression.func](*(translate(argument, values) for argument in expression.args))


def _product(*factors: Any) -> Any:
    """Constants first: cvxpy's curvature rules know a constant times an expression."""
    constants = [factor for factor in factors if not isinstance(factor, cp.Expression)]
    expressions = [factor for factor in factors if isinstance(factor, cp.Expression)]
    return reduce(cp.multiply, expressions, reduce(operator.mul, constants, 1.0))


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, cp.Expression):
        return cp.exp(math.log(base) * exponent)
    return cp.power(base, exponent) if isinstance(base, cp.Expression) else base**exponent


ATOMS: dict[Any, Callable[..., Any]] = {
    sp.Add: lambda *terms: reduce(operator.add, terms),
    sp.Mul: _product,
    sp.Pow: _power,
    sp.log: cp.log,
    sp.exp: cp.exp,
}
