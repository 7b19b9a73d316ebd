"""The optimum in fractions (method 5.3): plan and multiplier for the doubles of the instance.

The float64 solver guesses the side of every layer. Given the sides the level is one quotient of fractions. Comparing
fractions verifies the sides. Finitely many Newton steps in fractions correct a wrong guess (`spec.rational`).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from flint import fmpq

from zetaplan._display import Columns, Display
from zetaplan._plural import counted
from zetaplan.errors import require
from zetaplan.solvers.exact import solve_exact
from zetaplan.spec.instance import Instance
from zetaplan.spec.rational import CAP, FLOOR, INTERIOR, Equation, RationalInstance, Sides, rational, total

Indices = tuple[int, ...]


@dataclass(frozen=True, eq=False, repr=False)
class ExactOptimum(Display):
    """The optimum of an instance in fractions.

    multiplier : the least optimal multiplier.
    binding : whether the multiplier is positive; the constraint then holds with equality.
    interior, floor, cap : the layers strictly inside their box, at their floor, and at a cap above the floor.
    unique : whether no other plan is optimal. Otherwise pi = 0, the constraint is slack, and the layers without weight
    get equal amounts (see `solvers.weightless`).

    Examples:
        >>> best = zp.exact_optimum(zp.allocation([1, 3], costs=1.0, budget=2.0))
        >>> best.interior, best.floor, best.unique
        ((1,), (0,), True)
    """

    multiplier: Fraction
    interior: Indices
    floor: Indices
    cap: Indices
    unique: bool
    _plan: _Plan | None

    def __getstate__(self) -> dict[str, Any]:
        """The state without the equation, whose compiled functions cannot be pickled."""
        return self.__dict__ | {"x": self.x, "_plan": None}

    @property
    def binding(self) -> bool:
        return self.multiplier > 0

    @cached_property
    def x(self) -> tuple[Fraction, ...]:
        """The plan, K fractions; computed on first use, as each may have as many digits as the multiplier."""
        return tuple(map(_fraction, self._plan.x)) if self._plan else ()

    def _headline(self) -> str:
        at, inside = f"{len(self.floor)} at the floor, {len(self.cap)} at the cap", len(self.interior)
        unique = "the only optimum" if self.unique else "one of several optima"
        return f"multiplier {float(self.multiplier):.6g}; {counted(inside, 'layer')} inside the box, {at}; {unique}"

    def _columns(self) -> Columns:
        side = {k: name for name in ("interior", "floor", "cap") for k in getattr(self, name)}
        layers = range(len(self.x))
        return {"layer": layers, "x": list(map(float, self.x)), "side": [side.get(k, "free") for k in layers]}


@dataclass(frozen=True, eq=False)
class _Plan:
    """The sides and the level of the layers with weight, and the values of the layers without weight."""

    truth: RationalInstance
    u: fmpq | None
    sides: Sides
    weightless: dict[int, fmpq]

    @property
    def x(self) -> list[fmpq]:
        weighted = dict(zip(self.truth.weighted, self.truth.equation.plan(self.u, self.sides), strict=True))
        return [value for _, value in sorted((weighted | self.weightless).items())]


def exact_optimum(instance: Instance) -> ExactOptimum:
    """The optimum and its multiplier as fractions.

    Raises SpecError for a program whose closed form is not a rational function of the data.

    Examples:
        >>> best = zp.exact_optimum(zp.allocation([1, 3], costs=1.0, budget=4.0))
        >>> best.x, best.multiplier
        ((Fraction(1, 2), Fraction(7, 2)), Fraction(1, 6))
    """
    require(instance, Instance, "instance", "make one with zetaplan.allocation, or another program")
    truth = rational(instance)
    u, sides = truth.at_zero
    surplus = truth.surplus(u, sides)
    if surplus is None or surplus < 0:
        u, sides = truth.equation.root(_guess(instance, truth))
        u = _least_multiplier(truth, u, sides)
        return _optimum(_Plan(truth, u, sides, _spare(truth)), truth.multiplier_of(u), unique=True)
    free = truth.declared_price == 0 and surplus > 0  # every value of a layer without weight is then optimal
    weightless = _share(truth, surplus) if free and not truth.uses else _spare(truth)
    movable = any(truth.upper[k] is None or truth.lower[k] < truth.upper[k] for k in truth.weightless)
    return _optimum(_Plan(truth, u, sides, weightless), fmpq(0), unique=not (free and movable))


def _optimum(plan: _Plan, multiplier: fmpq, unique: bool) -> ExactOptimum:
    lower, upper = plan.truth.lower, plan.truth.upper
    side = dict(zip(plan.truth.weighted, plan.sides, strict=True))
    for k, value in plan.weightless.items():
        side[k] = FLOOR if value == lower[k] else CAP if value == upper[k] else INTERIOR
    at = {which: tuple(k for k in sorted(side) if side[k] == which) for which in (INTERIOR, FLOOR, CAP)}
    return ExactOptimum(_fraction(multiplier), at[INTERIOR], at[FLOOR], at[CAP], unique, plan)


def _spare(truth: RationalInstance) -> dict[int, fmpq]:
    return {k: truth.spared[k] for k in truth.weightless}


def _share(truth: RationalInstance, surplus: fmpq) -> dict[int, fmpq]:
    """Equal amounts for all layers without weight, clipped to their boxes, that meet the target with equality."""
    free = truth.weightless
    a, lower, upper = ([values[k] for k in free] for values in (truth.unit_cost, truth.lower, truth.upper))
    left = total([n * h for n, h in zip(a, upper, strict=True)]) - surplus
    if left <= total([n * l for n, l in zip(a, lower, strict=True)]):
        return dict(zip(free, lower, strict=True))
    equation = Equation(a, [fmpq(1)] * len(a), [fmpq(0)] * len(a), lower, upper, left)
    u, sides = equation.root([INTERIOR] * len(a))
    return dict(zip(free, equation.plan(u, sides), strict=True))


def _least_multiplier(truth: RationalInstance, u: fmpq, sides: Sides) -> fmpq:
    """The level of the least multiplier; if every layer is fixed, an end of the interval of optimal levels."""
    if INTERIOR in sides:
        return u
    least, largest = truth.equation.support(sides)
    return largest if truth.uses else least


def _guess(instance: Instance, truth: RationalInstance) -> Sides:
    """The sides at the solution of the float64 solver."""
    channel, x = instance.channels[0], solve_exact(instance).x
    side = np.where(x <= channel.lower, FLOOR, np.where((x >= channel.upper) & (channel.upper < np.inf), CAP, INTERIOR))
    return [int(value) for value in side[truth.weighted]]


def _fraction(value: fmpq) -> Fraction:
    return Fraction(int(value.p), int(value.q))
