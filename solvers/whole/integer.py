"""Optimal plans in whole units (method 5.7): LoRA ranks, experts, bits, layers that stay or go.

The entry of a layer is a multiple of its step. Layers that must be equal are merged into one. Counted from the bound
that uses least of the limit, the program is a separable convex knapsack problem in integers. The greedy method is
optimal if all units cost the same. Otherwise dynamic programming or branch and bound solves it. Costs, floors, caps and
budget are compared as fractions, so rounding never exceeds a budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zetaplan.errors import InfeasibleError, SpecError, require, shown
from zetaplan.solvers.exact import solve_exact
from zetaplan.solvers.whole import dynamic, greedy, milp
from zetaplan.solvers.whole.units import Counts, Units, window
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array, Instance
from zetaplan.spec.solution import Solution
from zetaplan.spec.stationary import excess, plan_at
from zetaplan.spec.summation import rational_dot
from zetaplan.spec.values import Value

Groups = Sequence[Sequence[int]]

COUNTABLE = 1 << 53  # above it, neighbouring whole numbers are the same double
BEAMS = tuple(
    1 << exponent for exponent in range(10, 21, 2)
)  # states; the plan of one beam narrows the window of the next
OUTWARD = 2.0**-46  # relative error of a sum of K terms of a few operations each, with a margin of 32


@dataclass(frozen=True, eq=False)
class IntegerSolution(Value):
    """A plan in whole units and its gap to the dual bound.

    x : (K,) int64. objective : F(x). bound : a lower bound on F for every plan, whole or not (the Lagrangian dual at
    the relaxed multiplier, rounded down; -inf if that multiplier is infinite). relaxed : the optimum without whole
    units. method : "greedy", "dynamic programming" or "milp". optimal : whether x is proved optimal in whole units,
    up to rounding of the objective.

    Examples:
        >>> whole = zp.solve_integer(zp.allocation([1, 3], costs=1.0, budget=3.0))
        >>> whole.x, whole.method, whole.objective >= whole.bound
        (array([0, 3]), 'greedy', True)
    """

    instance: Instance
    x: NDArray[np.int64]
    objective: float
    bound: float
    relaxed: Solution
    method: str
    optimal: bool

    @property
    def gap(self) -> float:
        """objective - bound >= 0, an upper bound on the loss due to whole units."""
        return self.objective - self.bound

    @property
    def used(self) -> float:
        """The resource sum_k r(x_k), rounded once; never on the wrong side of the limit."""
        term = self.instance.program.terms[0]
        return float(term.usage * rational_dot(self.instance.resource, self.x.astype(np.float64)))


@dataclass(frozen=True, eq=False)
class _Grid:
    """The plans in whole units: x_k = start_g + stride_g z_g for every layer k of group g, 0 <= z_g <= most_g."""

    group: NDArray[np.intp]
    start: tuple[int, ...]
    stride: tuple[int, ...]
    most: tuple[float, ...]

    def plan(self, z: Counts) -> NDArray[np.int64]:
        return (np.array(self.start) + np.array(self.stride) * z)[self.group]


def solve_integer(instance: Instance, step: ArrayLike = 1, groups: Groups | None = None) -> IntegerSolution:
    """The best plan whose entries are multiples of `step`.

    step : whole number > 0, or (K,) of them. Floors are rounded up to a multiple, caps down. groups : lists of layers
    (indices 0..K-1, each in at most one list) that must have equal entries; their step is the least common multiple
    of the steps. A sparsity in whole units is 0 or 1.

    Raises SpecError for invalid steps or groups, and InfeasibleError if a box contains no multiple or if no plan
    keeps the limit.

    Examples:
        >>> whole = zp.solve_integer(zp.allocation([3, 4], costs=[2.0, 3.0], budget=7.0))
        >>> whole.x, whole.optimal
        (array([2, 1]), True)
    """
    require(instance, Instance, "instance", "make one with zetaplan.allocation, or another program")
    if len(instance.program.terms) != 1:
        raise SpecError(
            f"{instance.program.name} has several terms: whole units are supported for programs of one term"
        )
    members = _members(groups, instance.quality.size)
    steps = _steps(step, instance.quality.size)
    grid = _grid(instance, members, steps)
    units = _units(instance, members, grid)
    z, method, optimal = _best(units)
    x = grid.plan(z)
    relaxed = solve_exact(instance)
    x.setflags(write=False)
    return IntegerSolution(instance, x, _objective(instance, x), _dual(relaxed), relaxed, method, optimal)


def _best(units: Units) -> tuple[Counts, str, bool]:
    """(plan, method, optimal) by the fastest method that proves optimality."""
    known, multiplier, proved = greedy.fill(units)
    if proved:
        return known, "greedy", True
    method, decisions = "greedy", window(units, known, multiplier)
    for beam in BEAMS:
        search = dynamic.solve(units, decisions, beam)
        if search is None:
            break
        if search.complete:
            return search.z, "dynamic programming", True
        better = window(units, search.z, multiplier)
        if better.gap < decisions.gap:
            known, method, decisions = search.z, "dynamic programming", better
    mixed = milp.solve(units, decisions)
    if mixed is None or (not mixed.optimal and window(units, mixed.z, multiplier).gap >= decisions.gap):
        return known, method, False
    return mixed.z, "milp", mixed.optimal


def _units(instance: Instance, members: list[list[int]], grid: _Grid) -> Units:
    """The knapsack problem of the units above the start of every layer."""
    (derivation,), (channel,) = derive(instance.program), instance.channels
    start = [grid.start[g] for g in grid.group.tolist()]
    costs_per_unit = [Fraction(d) for d in channel.unit_cost.tolist()]
    use = channel.term.usage * sum((d * x for d, x in zip(costs_per_unit, start, strict=True)), Fraction(0))
    room = instance.program.sign * (Fraction(instance.limit) - use)
    if room < 0:
        _raise_short(instance, float(use))
    unit_costs = [
        sum((costs_per_unit[k] for k in layers), Fraction(0)) * abs(grid.stride[g]) for g, layers in enumerate(members)
    ]
    unit = _common_unit(unit_costs)
    costs = tuple(int(cost / unit) for cost in unit_costs)
    whole = room // unit
    most = [min(top, whole // cost) for top, cost in zip(grid.most, costs, strict=True)]
    _check_countable(members, grid, most)

    def loss(z: Counts) -> Array:
        x = grid.plan(z).astype(np.float64)
        values = derivation.objective(x, 0.0, channel.weight, channel.unit_cost, *instance.scalars)
        return np.bincount(grid.group, weights=values, minlength=len(members)).astype(np.float64, copy=False)

    return Units(loss, costs, whole, np.array(most, dtype=np.int64))


def _grid(instance: Instance, members: list[list[int]], steps: list[int]) -> _Grid:
    """Start, signed step and number of steps of every group."""
    uses = derive(instance.program)[0].uses
    start, stride, most = [], [], []
    for layers in members:
        step = math.lcm(*(steps[k] for k in layers))
        floor = step * math.ceil(Fraction(float(instance.lower[layers].max())) / step)
        upper = float(instance.upper[layers].min())
        cap = step * math.floor(Fraction(upper) / step) if upper < math.inf else math.inf
        if floor > cap:
            raise InfeasibleError(
                f"{_named(layers)}: no multiple of {step} lies between the floor {instance.lower[layers].max():g} and "
                f"the cap {upper:g}; widen the box or take a smaller step"
            )
        start.append(floor if uses else int(cap))
        stride.append(step if uses else -step)
        most.append((cap - floor) // step if cap < math.inf else math.inf)
    group = np.empty(instance.quality.size, dtype=np.intp)
    for g, layers in enumerate(members):
        group[layers] = g
    return _Grid(group, tuple(start), tuple(stride), tuple(most))


def _check_countable(members: list[list[int]], grid: _Grid, most: list[float]) -> None:
    for layers, start, stride, count in zip(members, grid.start, grid.stride, most, strict=True):
        if max(start, abs(stride), abs(stride) * count) > COUNTABLE:
            raise SpecError(f"{_named(layers)}: entries above 2^53 are not distinct doubles; use a larger unit")


def _steps(step: ArrayLike, layers: int) -> list[int]:
    try:
        values = np.broadcast_to(np.asarray(step, dtype=np.float64), (layers,)).tolist()
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor that requires a gradient
        raise SpecError(f"step: expected one whole number or {layers} of them, got {shown(step)}") from None
    for k, value in enumerate(values):
        if not (value >= 1.0 and value.is_integer()):
            raise SpecError(f"step[{k}] = {value:g}: expected a whole number of at least 1")
    return [int(value) for value in values]


def _members(groups: Groups | None, layers: int) -> list[list[int]]:
    """A partition of the layers: the given groups, and a group of its own for every other layer."""
    owner: dict[int, int] = {}
    for g, group in enumerate(groups or ()):
        for k in group:
            if not 0 <= k < layers:
                raise SpecError(f"groups[{g}] names layer {k}: expected an index from 0 to {layers - 1}")
            if k in owner:
                raise SpecError(f"groups[{g}] names layer {k} again: expected each layer in at most one group, once")
            owner[k] = g
    given = [[int(k) for k in group] for group in groups or () if len(group)]
    return given + [[k] for k in range(layers) if k not in owner]


def _common_unit(unit_costs: list[Fraction]) -> Fraction:
    """The largest number of which every cost is a whole multiple."""
    denominator = math.lcm(*(cost.denominator for cost in unit_costs))
    return Fraction(math.gcd(*(int(cost * denominator) for cost in unit_costs)), denominator)


def _objective(instance: Instance, x: NDArray[np.int64]) -> float:
    (derivation,), (channel,) = derive(instance.program), instance.channels
    values = derivation.objective(x.astype(np.float64), 0.0, channel.weight, channel.unit_cost, *instance.scalars)
    return math.fsum(values.tolist())


def _dual(relaxed: Solution) -> float:
    """A lower bound on the Lagrangian dual at the relaxed multiplier; -inf if that is not finite.

    x(lambda) minimises the Lagrangian up to rounding, so the error of its value is quadratic in the rounding of x. The
    rounding of the terms is subtracted.
    """
    instance, multiplier = relaxed.instance, relaxed.multiplier
    x = plan_at(instance, multiplier)
    paid = multiplier * excess(instance, x)
    if not math.isfinite(paid):
        return -math.inf
    (derivation,), (channel,) = derive(instance.program), instance.channels
    values = derivation.objective(x, 0.0, channel.weight, channel.unit_cost, *instance.scalars)
    terms: list[float] = [*values.tolist(), paid]
    declared = float(derivation.declared_price_of(*instance.scalars)) * float(channel.unit_cost @ np.abs(x))
    return math.fsum(terms) - OUTWARD * (math.fsum(map(abs, terms)) + declared)


def _raise_short(instance: Instance, use: float) -> None:
    name, limit = instance.program.limit_argument, instance.limit
    if instance.program.sense == "<=":
        raise InfeasibleError(
            f"{name} = {limit}: the floors, rounded up to whole units, need {use}; raise the {name} or lower the floors"
        )
    raise InfeasibleError(
        f"{name} = {limit}: the caps, rounded down to whole units, allow {use} at most; lower the {name} or "
        "raise the caps"
    )


def _named(layers: list[int]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {', '.join(map(str, layers))}"
