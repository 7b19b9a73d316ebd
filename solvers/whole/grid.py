"""The plans in whole units that a box and a limit admit, and the knapsack that chooses among them.

The entry of a layer is a multiple of its step. Layers that must be equal are merged into one. Counted from the bound
that uses least of the limit, the program is a separable convex knapsack in integers. Costs, floors, caps and the budget
are compared as fractions, so rounding never exceeds a budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zetaplan.errors import InfeasibleError, SpecError, require, shown
from zetaplan.solvers.whole.units import Counts, Units
from zetaplan.spec.derivation import derive
from zetaplan.spec.instance import Array, Instance
from zetaplan.spec.menus.choice import EPSILON, integers

Groups = Sequence[Sequence[int]]

OUTWARD = 2.0**-46  # what a sum of K terms, each a few operations, may be wrong by, with a margin of 32
COUNTABLE = 1 << 53  # beyond, neighbouring whole numbers are the same double


@dataclass(frozen=True, eq=False)
class Grid:
    """The plans in whole units: x_k = start_g + stride_g z_g for every layer k of group g, 0 <= z_g <= most_g."""

    group: NDArray[np.intp]
    start: tuple[int, ...]
    stride: tuple[int, ...]
    most: tuple[float, ...]

    def plan(self, z: Counts) -> NDArray[np.int64]:
        return (np.array(self.start) + np.array(self.stride) * z)[self.group]


@dataclass(frozen=True, eq=False)
class Problem:
    """The knapsack in whole units, exact, and the plan that its counts stand for."""

    grid: Grid
    units: Units


def whole_problem(instance: Instance, step: ArrayLike = 1, groups: Groups | None = None) -> Problem:
    """The arguments, and the errors raised, are those of `solve_integer`."""
    require(instance, Instance, "instance", "make one with zetaplan.allocation, or another program")
    if len(instance.program.terms) != 1:
        raise SpecError(
            f"{instance.program.name} has several terms: whole units are supported for programs of one term"
        )
    members = _members(groups, instance.quality.size)
    grid = _grid(instance, members, _steps(step, instance.quality.size))
    return Problem(grid, _units(instance, members, grid))


def _units(instance: Instance, members: list[list[int]], grid: Grid) -> Units:
    """The knapsack that is left once every layer stands at the start of its grid."""
    (derivation,), (channel,) = derive(instance.program), instance.channels
    start = [grid.start[g] for g in grid.group.tolist()]
    data, bits = integers(channel.unit_cost)
    use = channel.term.usage * Fraction(sum(map(int.__mul__, data, start)), 1 << bits)
    room = instance.program.sign * (Fraction(instance.limit) - use)
    if room < 0:
        _raise_short(instance, float(use))
    prices = [sum(data[k] for k in layers) * abs(stride) for layers, stride in zip(members, grid.stride, strict=True)]
    divisor = math.gcd(*prices)  # the largest number of which every price is a whole multiple
    costs = tuple(price // divisor for price in prices)
    whole = room // Fraction(divisor, 1 << bits)
    most = [min(top, whole // cost) for top, cost in zip(grid.most, costs, strict=True)]
    _check_countable(members, grid, most)

    declared = float(derivation.declared_price_of(*instance.scalars)) * channel.unit_cost
    sizes = np.bincount(grid.group)

    def terms(x: Array) -> Array:
        values: Array = derivation.objective(x, 0.0, channel.weight, channel.unit_cost, *instance.scalars)
        return values

    def summed(values: Array) -> Array:
        return np.bincount(grid.group, weights=values, minlength=len(members)).astype(np.float64, copy=False)

    def loss(z: Counts) -> Array:
        return summed(terms(grid.plan(z).astype(np.float64)))

    def rounding(z: Counts) -> Array:
        x = grid.plan(z).astype(np.float64)
        return (OUTWARD + EPSILON * sizes) * summed(np.abs(terms(x)) + 2.0 * declared * np.abs(x))

    counts = np.array(most, dtype=np.int64)
    gains = np.maximum(rounding(np.zeros_like(counts)), rounding(counts)) > 0.0
    return Units(loss, rounding, costs, whole, np.where(gains, counts, 0))


def _grid(instance: Instance, members: list[list[int]], steps: list[int]) -> Grid:
    """Where every group starts, in which direction it spends, and how far it may go."""
    uses, floors, caps = derive(instance.program)[0].uses, instance.lower.tolist(), instance.upper.tolist()
    start, stride, most = [], [], []
    for layers in members:
        step = math.lcm(*(steps[k] for k in layers))
        lower, upper = max(floors[k] for k in layers), min(caps[k] for k in layers)
        floor = -_multiple_below(-lower, step)
        cap = _multiple_below(upper, step) if upper < math.inf else math.inf
        if floor > cap:
            raise InfeasibleError(
                f"{_named(layers)}: no multiple of {step} lies between the floor {lower:g} and the cap {upper:g}; "
                "widen the box or take a smaller step"
            )
        start.append(floor if uses else int(cap))
        stride.append(step if uses else -step)
        most.append((cap - floor) // step if cap < math.inf else math.inf)
    group = np.empty(instance.quality.size, dtype=np.intp)
    for g, layers in enumerate(members):
        group[layers] = g
    return Grid(group, tuple(start), tuple(stride), tuple(most))


def _multiple_below(value: float, step: int) -> int:
    """The largest multiple of the step that is not above the value."""
    top, below = value.as_integer_ratio()
    return step * (top // (below * step))


def _check_countable(members: list[list[int]], grid: Grid, most: list[float]) -> None:
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
    """Every layer in exactly one group, its own where none was given."""
    owner: dict[int, int] = {}
    for g, group in enumerate(groups or ()):
        for k in group:
            if not 0 <= k < layers:
                raise SpecError(f"groups[{g}] names layer {k}: expected an index from 0 to {layers - 1}")
            if k in owner:
                raise SpecError(f"groups[{g}] names layer {k} again: a layer can be in one group at most, once")
            owner[k] = g
    given = [[int(k) for k in group] for group in groups or () if len(group)]
    return given + [[k] for k in range(layers) if k not in owner]


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
