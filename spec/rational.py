"""Instances in fractions: the doubles of an instance as rational numbers.

If slope, offset and level of a program (see `derivation`) are rational functions of the data, the optimal plan

    x_k(u) = clip(slope_k u + offset_k, l_k, h_k),      sum_k d_k x_k(u) = R

is rational, and so is the level u. Given the side of every layer (floor, interior, cap), u is one quotient of
fractions. Comparing fractions verifies the sides. Nothing in this file is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import sympy as sp
from flint import fmpq, fmpz

from zetaplan.errors import SpecError
from zetaplan.spec.derivation import TOTAL_PRICE, Derivation, derive
from zetaplan.spec.instance import Instance
from zetaplan.spec.program import MULTIPLIER

FLOOR, INTERIOR, CAP = -1, 0, 1
DIGITS = 256  # leading bits of a level that decide almost every comparison; all bits are used for ties

Sides = list[int]
Quotient = Callable[..., Any]  # fractions -> fmpq, or None at a pole


def fraction(value: float) -> fmpq:
    """The double as a fraction."""
    return fmpq(*value.as_integer_ratio())


def fractions(values: np.ndarray[Any, Any]) -> list[fmpq]:
    """The doubles of an array as fractions; None for an infinite one."""
    return [None if value in (np.inf, -np.inf) else fraction(value) for value in values.tolist()]


def total(values: Sequence[fmpq]) -> fmpq:
    """The sum, by pairs, so that the denominators grow along a binary tree."""
    parts = list(values)
    while len(parts) > 1:
        odd = parts[-1:] if len(parts) % 2 else []
        parts = [a + b for a, b in zip(parts[0::2], parts[1::2], strict=False)] + odd
    return parts[0] if parts else fmpq(0)


@dataclass(frozen=True, eq=False)
class Equation:
    """sum_k a_k clip(p_k u + r_k, l_k, h_k) = R over the layers of positive weight; an infinite h_k is None."""

    a: list[fmpq]
    p: list[fmpq]
    r: list[fmpq]
    lower: list[fmpq]
    upper: list[Any]
    limit: fmpq

    @cached_property
    def rises(self) -> list[fmpq]:
        """The level at which each layer leaves its floor."""
        return [(l - r) / p for l, r, p in zip(self.lower, self.r, self.p, strict=True)]

    @cached_property
    def tops(self) -> list[Any]:
        """The level at which each layer reaches its cap; None without a cap."""
        return [None if h is None else (h - r) / p for h, r, p in zip(self.upper, self.r, self.p, strict=True)]

    def sides(self, u: fmpq) -> Sides:
        """The side of every layer at level u; a layer at a bound counts as fixed there."""
        low, high = _around(u)
        at_floor = (f >= high or (f > low and f >= u) for f in self.rises)
        at_cap = (t is not None and (t <= low or (t < high and t <= u)) for t in self.tops)
        return [FLOOR if f else CAP if t else INTERIOR for f, t in zip(at_floor, at_cap, strict=True)]

    def left(self, sides: Sides) -> fmpq:
        """The limit minus the use of the layers, with interior layers counted at u = 0."""
        constant = {FLOOR: self.lower, INTERIOR: self.r, CAP: self.upper}
        return self.limit - total([self.a[k] * constant[side][k] for k, side in enumerate(sides)])

    def growth(self, sides: Sides) -> fmpq:
        """The derivative of the use with respect to the level."""
        return total([a * p for a, p, side in zip(self.a, self.p, sides, strict=True) if side == INTERIOR])

    def level(self, sides: Sides) -> fmpq | None:
        """The level that solves the equation on these sides; None if no layer is interior."""
        growth = self.growth(sides)
        return self.left(sides) / growth if growth else None

    def root(self, sides: Sides) -> tuple[fmpq, Sides]:
        """A level that solves the equation, and its sides, by Newton's method from a guess of the sides.

        The iterates stay inside a bracket, so each linear piece is tried at most once. A solution must exist.
        """
        low = high = None
        u = self.level(sides)
        while True:
            if u is None or not _inside(u, low, high):
                u = self._middle(low, high)
            sides = self.sides(u)
            following = self.level(sides)
            ahead = self.left(sides) if following is None else following - u
            if ahead == 0:
                return u, sides
            low, high = (u, high) if ahead > 0 else (low, u)
            u = following

    def _middle(self, low: Any, high: Any) -> fmpq:
        """The middle breakpoint inside the bracket, or any level of the remaining linear piece if none is inside."""
        breakpoints = [*self.rises, *(t for t in self.tops if t is not None)]
        inside = sorted(u for u in breakpoints if _inside(u, low, high))
        if inside:
            return inside[len(inside) // 2]
        if low is None or high is None:
            return low + 1 if high is None else high - 1
        return (low + high) / 2

    def support(self, sides: Sides) -> tuple[fmpq | None, fmpq | None]:
        """The least and the largest level at which the fixed layers keep their sides; None for an open end."""
        movable = [h is None or l < h for l, h in zip(self.lower, self.upper, strict=True)]
        caps = [t for t, side, free in zip(self.tops, sides, movable, strict=True) if free and side == CAP]
        floors = [f for f, side, free in zip(self.rises, sides, movable, strict=True) if free and side == FLOOR]
        return max(caps, default=None), min(floors, default=None)

    def plan(self, u: fmpq | None, sides: Sides) -> list[fmpq]:
        """x(u); u may be None if every layer is fixed."""
        bounds = {FLOOR: self.lower, CAP: self.upper}
        return [self.p[k] * u + self.r[k] if side == INTERIOR else bounds[side][k] for k, side in enumerate(sides)]


@dataclass(frozen=True, eq=False)
class RationalInstance:
    """The equation of an instance, its layers without weight, and its functions.

    level_of : u at a multiplier, None at a pole; multiplier_of : its inverse; gradient_of (k, x, multiplier) : dL/dx.
    weighted, weightless : the layers in the equation, and the others. unit_cost, lower, upper : of all K layers.
    limit : the limit of the equation plus the use of the weightless layers.
    """

    equation: Equation
    weighted: list[int]
    weightless: list[int]
    unit_cost: list[fmpq]
    lower: list[fmpq]
    upper: list[Any]
    limit: fmpq
    uses: bool
    declared_price: fmpq
    level_of: Quotient
    multiplier_of: Quotient
    gradient_of: Quotient

    @property
    def spared(self) -> list[Any]:
        """The bound of each layer that uses least of the limit; x of a layer without weight if pi > 0."""
        return self.lower if self.uses else self.upper

    @cached_property
    def at_zero(self) -> tuple[fmpq | None, Sides]:
        """The level and the sides at multiplier 0. If pi = 0 the level may be infinite (None); then every layer is at
        the bound that the objective prefers."""
        u = self.level_of(fmpq(0))
        if u is None:
            return None, [CAP if self.uses else FLOOR] * len(self.weighted)
        return u, self.equation.sides(u)

    def surplus(self, u: fmpq | None, sides: Sides) -> fmpq | None:
        """Slack of the limit at level u, negative where it is exceeded; None for minus infinity."""
        if any(side == CAP and h is None for side, h in zip(sides, self.equation.upper, strict=True)):
            return None
        left = self.equation.left(sides) - (self.equation.growth(sides) * u if u is not None else 0)
        return left if self.uses else -left


def rational(instance: Instance) -> RationalInstance:
    """The instance in fractions.

    Raises SpecError for a program of several terms, or one whose closed form is not a rational function.
    """
    (derivation, *more), program = derive(instance.program), instance.program
    if more:
        raise SpecError(f"{program.name} has {len(more) + 1} terms: fractions are supported for programs of one term")
    slope_of, offset_of, level_of, multiplier_of, gradient_of = _quotients(derivation)
    channel, knobs = instance.channels[0], [fraction(value) for value in instance.scalars]
    weighted, weightless = (np.flatnonzero(some).tolist() for some in (channel.weight > 0.0, channel.weight == 0.0))
    weight, a = fractions(channel.weight), fractions(channel.unit_cost)
    lower, upper = fractions(channel.lower), fractions(channel.upper)
    spared = lower if derivation.uses else upper
    limit = channel.term.usage * fraction(instance.limit)
    fixed = total([a[k] * spared[k] for k in weightless])
    equation = Equation(
        a=[a[k] for k in weighted],
        p=[slope_of(weight[k], a[k], *knobs) for k in weighted],
        r=[offset_of(weight[k], a[k], *knobs) for k in weighted],
        lower=[lower[k] for k in weighted],
        upper=[upper[k] for k in weighted],
        limit=limit - fixed,
    )
    declared = fraction(float(derivation.declared_price_of(*instance.scalars)))
    return RationalInstance(
        equation,
        weighted,
        weightless,
        a,
        lower,
        upper,
        limit,
        derivation.uses,
        declared,
        lambda multiplier: level_of(declared + multiplier, *knobs),
        lambda u: multiplier_of(u, *knobs),
        lambda k, x, multiplier: gradient_of(x, multiplier, weight[k], a[k], *knobs),
    )


@cache
def _quotients(derivation: Derivation) -> tuple[Quotient, ...]:
    """slope, offset (of weight, unit cost, scalars), level (of pi, scalars), multiplier (of u, scalars), and the
    gradient of the Lagrangian (of decision, multiplier, weight, unit cost, scalars)."""
    term = derivation.term
    layer, scalars = [term.weight, term.unit_cost], [scalar.symbol for scalar in derivation.program.scalars]
    return (
        _quotient(derivation, derivation.slope, [*layer, *scalars]),
        _quotient(derivation, derivation.offset, [*layer, *scalars]),
        _quotient(derivation, derivation.level, [TOTAL_PRICE, *scalars]),
        _quotient(derivation, derivation.inverse_level, [TOTAL_PRICE, *scalars]),
        _quotient(derivation, derivation.stationarity, [term.decision, MULTIPLIER, *layer, *scalars]),
    )


def _quotient(derivation: Derivation, expression: sp.Expr, symbols: list[sp.Symbol]) -> Quotient:
    if not expression.is_rational_function(*symbols):
        raise SpecError(
            f"{derivation.program.name}: {expression} is not a rational function, so its optimum is not a fraction; "
            "use solve and certify"
        )
    numerator, denominator = (
        sp.lambdify(symbols, part, modules="math") for part in sp.fraction(sp.cancel(sp.together(expression)))
    )

    def quotient(*values: fmpq) -> fmpq | None:
        below = fmpq(denominator(*values))
        return fmpq(numerator(*values)) / below if below else None

    return quotient


def _inside(u: fmpq, low: fmpq | None, high: fmpq | None) -> bool:
    return (low is None or u > low) and (high is None or u < high)


def _around(u: fmpq) -> tuple[fmpq, fmpq]:
    """Two fractions of few bits with u between them; (u, u) if u has few bits itself."""
    excess = max(u.p.bit_length(), u.q.bit_length()) - DIGITS
    if excess <= DIGITS:
        return u, u
    scale = DIGITS + u.q.bit_length() - u.p.bit_length()
    scaled = u.p * fmpz(2) ** scale // u.q if scale >= 0 else u.p // (u.q * fmpz(2) ** -scale)
    unit = fmpq(2) ** -scale
    return scaled * unit, (scaled + 1) * unit
