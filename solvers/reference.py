"""Reference method: the declared program translated to cvxpy and solved by a general-purpose solver.

The method shares only the declaration with the other methods and has two formulations. *declared* translates the
objective expression by expression (exponential and power cones). *quadratic* is the convex quadratic program with the
same minimiser, if one exists; general solvers are about a million times more accurate on it.

With f(x) = w h(x) + (declared price) r(x) every layer inside its box is optimal at the same total price

    pi(x) = -sigma w h'(x) / d

and so at the same level u, for u = pi or u = 1 / pi. If one of them is affine, u = a x + b, then d (a x + b) = d u for
a layer inside its box. That is the stationarity of

    minimise   sum_k |d_k a_k| x_k^2 / 2 + s d_k (b_k - u_0) x_k    subject to the same limit and box,     s = sign(a)

with u_0 the level at the declared price. At declared price 0 the level 1 / pi has no upper bound, and the limit holds
with equality as far as the box allows. For allocation, u = 1 / pi and X_k = c_k m_k give, up to a constant,
sum_k (X_k + c_k)^2 / (2 gamma w_k) with sum_k X_k = B. Pruning is a quadratic program itself.

General solvers have absolute tolerances, so resource and objective are scaled by their sizes (per layer in the
quadratic program). Tolerances are tried from the tightest. `Solution.method` contains the tolerance reached.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, Literal

import cvxpy as cp
import numpy as np
import sympy as sp

from zetaplan.errors import SolverError
from zetaplan.spec.instance import Array, Channel, Instance
from zetaplan.spec.program import Program
from zetaplan.spec.solution import Solution, Status

# The gap is quadratic in the error of the plan: at the default 1e-8 of Clarabel the plan is wrong by 1e-5.
TOLERANCES = {
    "quadratic": (1e-15, 1e-14, 1e-13, 1e-12, 1e-10, 1e-8),
    "declared": (1e-14, 1e-12, 1e-10, 1e-8),
}
STEPS = {
    "quadratic": 0.99,
    "declared": 0.9,
}  # share of the step to the boundary of the cone; at 0.99 many exponential cone problems fail

Formulation = Literal["quadratic", "declared"]


@dataclass(frozen=True, eq=False)
class Posed:
    """A cvxpy problem. rows, multiplier : functions that return the plan, (K,) per term, and lambda after a solve."""

    name: Formulation
    problem: cp.Problem
    rows: Callable[[], list[Array]]
    multiplier: Callable[[], float]


def solve_cvxpy(
    instance: Instance, *, solver: str = "CLARABEL", formulation: Formulation | None = None, **options: Any
) -> Solution:
    """The optimum by any installed solver of cvxpy.

    formulation : "quadratic" or "declared"; default, quadratic if the program has it. options : passed to the solver.
    Without options Clarabel runs with the tightest of TOLERANCES, and with the next one after a failure.

    Raises SolverError with the solver's message if it is not installed, fails or finds no plan.
    """
    if solver not in cp.installed_solvers():
        raise SolverError(f"solver = {solver!r} is not installed; cvxpy finds {', '.join(cp.installed_solvers())}")
    posed = pose(instance, formulation)
    reached = _solve(posed, instance, solver, options)
    rows = [np.clip(x, c.lower, c.upper) for x, c in zip(posed.rows(), instance.channels, strict=True)]
    multiplier = max(posed.multiplier(), 0.0)
    accurate = Status.SLACK if multiplier == 0.0 else Status.BINDING
    status = accurate if posed.problem.status == cp.OPTIMAL else Status.INACCURATE
    method = f"cvxpy:{solver}, {posed.name}{reached}"
    return Solution(instance, rows[0] if len(rows) == 1 else np.stack(rows), multiplier, status, method)


def pose(instance: Instance, formulation: Formulation | None = None) -> Posed:
    """The problem for cvxpy. Raises SolverError if a quadratic formulation is requested and none exists."""
    quadratic = _quadratic(instance) if formulation != "declared" else None
    if quadratic is None and formulation == "quadratic":
        raise SolverError(f"{instance.program.name} has no equivalent quadratic program; use formulation='declared'")
    return quadratic or _declared(instance)


def _solve(posed: Posed, instance: Instance, solver: str, options: dict[str, Any]) -> str:
    """Solve with the first tolerance that the solver reaches; returns it as text for the name of the method."""
    ladder = TOLERANCES[posed.name] if solver == "CLARABEL" and not options else (None,)
    failure = "no tolerance was reached"
    for tolerance in ladder:
        chosen = options if tolerance is None else _clarabel(tolerance, posed.name)
        try:
            with warnings.catch_warnings():  # the status reports "may be inaccurate"
                warnings.simplefilter("ignore", UserWarning)
                posed.problem.solve(solver=solver, **chosen)
        except cp.error.SolverError as error:
            failure = str(error)
            continue
        failure = posed.problem.status
        if failure == cp.OPTIMAL or (failure == cp.OPTIMAL_INACCURATE and tolerance == ladder[-1]):
            return "" if tolerance is None else f", tolerance {tolerance:g}"
    raise SolverError(
        f"{solver} failed on {instance.program.name}, K = {instance.quality.size}: {failure}; the instance is "
        "feasible, so use method='exact'"
    )


def _clarabel(tolerance: float, formulation: Formulation) -> dict[str, float]:
    limits = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tolerance)
    return limits | {"max_step_fraction": STEPS[formulation]}


@cache
def _level(program: Program) -> tuple[int, sp.Expr, sp.Expr] | None:
    """(power, a, b) with pi^power = a x + b and power 1 or -1; None if there is no such power."""
    if len(program.terms) > 1:
        return None
    (term,) = program.terms
    slope = term.weight * sp.diff(term.objective, term.weight, term.decision)
    total_price = -program.sign * slope / sp.diff(term.resource, term.decision)
    for power in (1, -1):
        level = sp.expand(sp.simplify(total_price**power))
        if level.is_polynomial(term.decision) and sp.degree(level, term.decision) == 1:
            return power, level.coeff(term.decision, 1), level.coeff(term.decision, 0)
    return None


def _declared_price(program: Program, knobs: Mapping[sp.Symbol, float]) -> float:
    """The declared price, from the part of f without weight."""
    (term,) = program.terms
    rest = term.objective - term.weight * sp.diff(term.objective, term.weight)
    declared = program.sign * sp.diff(rest, term.decision) / sp.diff(term.resource, term.decision)
    return float(sp.simplify(declared).subs(knobs))


def _quadratic(instance: Instance) -> Posed | None:
    """The equivalent quadratic program over the layers that can move; None if neither exists."""
    program = instance.program
    found = _level(program)
    if found is None:
        return None
    power, slope, offset = found
    (channel,), (term,) = instance.channels, program.terms
    knobs = dict(zip((scalar.symbol for scalar in program.scalars), instance.scalars, strict=True))
    declared, spared = _declared_price(program, knobs), channel.lower if program.costs(term) else channel.upper
    free = (channel.weight > 0.0) & (channel.lower < channel.upper)
    if not free.any():
        return None
    values = knobs | {term.weight: channel.weight[free], term.unit_cost: channel.unit_cost[free]}
    a, b = (np.broadcast_to(translate(part, values), free.sum()) for part in (slope, offset))
    d, lower, upper = channel.unit_cost[free], channel.lower[free], channel.upper[free]
    left = instance.limit - float(channel.unit_cost[~free] @ spared[~free])
    reach = min(max(left, float(d @ lower)), float(d @ upper))
    highest = declared**power if declared > 0.0 or power > 0 else math.inf

    sign, scale = math.copysign(1.0, a[0]), 1.0 / np.sqrt(d * np.abs(a))
    size = float(np.linalg.norm(d * scale))
    unit = abs(reach) / size or 1.0
    y = cp.Variable(d.size)
    use, ends = (d * scale / size) @ y, (lower / (scale * unit), upper / (scale * unit))
    moved = b if math.isinf(highest) else b - highest
    cost = 0.5 * cp.sum_squares(y) + (sign * d * moved * scale / unit) @ y
    limit = reach / (size * unit)
    coupling = use == limit if math.isinf(highest) else (use <= limit if program.sign > 0 else use >= limit)
    problem = cp.Problem(cp.Minimize(cost), [coupling, *_box(y, *ends)])

    def rows() -> list[Array]:
        x = np.array(spared)
        x[free] = scale * unit * y.value
        return [x]

    def multiplier() -> float:
        dual = float(coupling.dual_value) * unit / size
        level = -sign * dual if math.isinf(highest) else highest - sign * program.sign * dual
        return level**power - declared if level > 0.0 and reach == left else 0.0

    return Posed("quadratic", problem, rows, multiplier)


def _declared(instance: Instance) -> Posed:
    """The declared formulation, scaled so that a unit of every variable uses the same part of the resource."""
    channels, program = instance.channels, instance.program
    volume = max(abs(instance.limit), *(float(np.mean(channel.unit_cost)) for channel in channels))
    units = [volume / (channel.unit_cost * channel.unit_cost.size) for channel in channels]
    shares = [cp.Variable(channel.unit_cost.size, name=str(channel.term.decision)) for channel in channels]
    plan = [cp.multiply(unit, share) for unit, share in zip(units, shares, strict=True)]
    scale = 1.0 / float(np.sum(instance.weight))
    cost = sum(
        cp.sum(scale * translate(channel.term.objective, _values(instance, channel, x)))
        for channel, x in zip(channels, plan, strict=True)
    )
    use = sum(channel.term.usage * cp.sum(share) for channel, share in zip(channels, shares, strict=True))
    limit = instance.limit / volume * shares[0].size
    coupling = use <= limit if program.sense == "<=" else use >= limit
    pairs = zip(channels, units, shares, strict=True)
    box = [part for c, unit, share in pairs for part in _box(share, c.lower / unit, c.upper / unit)]
    problem = cp.Problem(cp.Minimize(cost), [coupling, *box])

    def rows() -> list[Array]:
        return [unit * share.value for unit, share in zip(units, shares, strict=True)]

    def multiplier() -> float:
        dual = float(coupling.dual_value)
        return dual / scale / volume * instance.quality.size

    return Posed("declared", problem, rows, multiplier)


def _box(x: cp.Variable, lower: Array, upper: Array) -> list[cp.Constraint]:
    capped = np.flatnonzero(upper < math.inf)
    return [x >= lower] + ([x[capped] <= upper[capped]] if capped.size else [])


def _values(instance: Instance, channel: Channel, x: cp.Variable) -> dict[sp.Symbol, Any]:
    """The value of every symbol of a term."""
    scalars = {scalar.symbol: value for scalar, value in zip(instance.program.scalars, instance.scalars, strict=True)}
    return {
        **scalars,
        channel.term.decision: x,
        channel.term.weight: channel.weight,
        channel.term.unit_cost: channel.unit_cost,
    }


def translate(expression: sp.Expr, values: Mapping[sp.Symbol, Any]) -> Any:
    """A sympy expression as a cvxpy one, atom by atom; arrays are constants of shape (K,)."""
    if expression.is_number:
        return float(expression)
    if expression.is_Symbol:
        return values[expression]
    return ATOMS[expression.func](*(translate(argument, values) for argument in expression.args))


def _product(*factors: Any) -> Any:
    """The product with constants first, as the curvature rules of cvxpy require."""
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
