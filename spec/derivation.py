"""Derivation of a declaration by sympy: stationarity, closed form, total price, level, dual, constants.

With sigma = +1 for a budget and -1 for a target, the Lagrangian of one layer is

    L(x, lambda) = f(x; w, d) + sigma lambda r(x; d)

Its stationary point x(lambda) is the closed form of the paper (Eqs. 12 and 15) before clipping to the box. In every
declared term x depends on lambda through one scalar, the *level* u of the term:

    x(lambda) = slope(w, d) u(lambda) + offset(w, d)

With one term the coupling constraint is piecewise linear in u (method 5.2), so a finite algorithm solves it. In
`joint` each term has its own level (1 / lambda and lambda), and the constraint is piecewise linear in neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

import numpy as np
import sympy as sp

from zetaplan.errors import SpecError
from zetaplan.spec.accurate import accurate
from zetaplan.spec.given import constant, each
from zetaplan.spec.instance import Array, Channel
from zetaplan.spec.program import MULTIPLIER, Program, Term

TOTAL_PRICE = sp.Symbol("pi", positive=True)
SMALLEST = float(np.finfo(np.float64).tiny)

Function = Callable[..., Any]  # (x, multiplier, weight, unit cost, *scalars) -> array or float


@dataclass(frozen=True, eq=False)
class Derivation:
    """Expressions derived from the declaration of one term, as sympy expressions and as numpy functions.

    All numpy functions take (x, multiplier, weight, unit cost, *scalars), arrays of shape (K,) or scalars.
    """

    program: Program
    term: Term

    @cached_property
    def lagrangian(self) -> sp.Expr:
        """L(x, lambda) of one layer, without the constant -sigma lambda R."""
        return self.term.objective + self.program.sign * MULTIPLIER * self.term.resource

    @cached_property
    def stationarity(self) -> sp.Expr:
        """dL/dx: zero inside the box, >= 0 at the floor, <= 0 at the cap."""
        return sp.powsimp(sp.diff(self.lagrangian, self.term.decision))  # x^p / x has no value at 0, x^(p-1) has

    @cached_property
    def absolute_stationarity(self) -> sp.Expr:
        """Sum of the absolute values of the terms of dL/dx."""
        return sp.Add(*map(sp.Abs, sp.Add.make_args(sp.expand(self.stationarity, power_exp=False))))

    @cached_property
    def second_derivative(self) -> sp.Expr:
        """f''(x) >= 0; its extremes over the box are the strong convexity and the smoothness of the term."""
        return sp.simplify(sp.diff(self.term.objective, self.term.decision, 2))

    @cached_property
    def score_derivative(self) -> sp.Expr:
        """d^2 f / dx dw, the derivative of the gradient with respect to the weight (f is linear in w)."""
        return sp.simplify(sp.diff(self.term.objective, self.term.decision, self.term.weight))

    @cached_property
    def total_price(self) -> sp.Expr:
        """pi = declared price + lambda: alpha + lambda, or b + lambda."""
        return sp.expand(self.stationarity).coeff(self.term.unit_cost, 1) / (self.program.sign * self.term.usage)

    @cached_property
    def declared_price(self) -> sp.Expr:
        """The part of the total price that does not depend on the multiplier: alpha, or b."""
        return self.total_price - MULTIPLIER

    @cached_property
    def uses(self) -> bool:
        """Whether a larger decision uses more of the limit."""
        return self.program.costs(self.term)

    @cached_property
    def _affine(self) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
        """(slope, u, offset) of the stationary x = slope u + offset, with u a function of pi and slope > 0."""
        change = self.program.sign * self.term.usage * self.term.unit_cost * (TOTAL_PRICE - self.total_price)
        x = self._root(sp.expand(self.stationarity + change), self.term.decision)
        expanded = sp.expand(sp.expand_log(sp.expand_power_base(x)))
        offset, moving = expanded.as_independent(TOTAL_PRICE, as_Add=True)
        slope, u = sp.factor_terms(moving).as_independent(TOTAL_PRICE, as_Add=False)
        if u.free_symbols - {TOTAL_PRICE} - {scalar.symbol for scalar in self.program.scalars}:
            raise SpecError(f"{self.program.name}: {x} is not affine in one function of the multiplier")
        return (slope, u, offset) if self._at_sample(slope) > 0 else (-slope, -u, offset)

    def _root(self, expression: sp.Expr, unknown: sp.Symbol) -> sp.Expr:
        numerator, _ = sp.fraction(sp.together(expression))
        roots = sp.solve(numerator, unknown, check=False, simplify=False)  # both import the physical units of sympy
        real = [x for x in roots if self._at_sample(x).is_real]
        if len(real) != 1:
            raise SpecError(f"{self.program.name}: expected one real {unknown}, got {roots}")
        return real[0]

    def _at_sample(self, expression: sp.Expr) -> sp.Expr:
        """The value with every scalar at its default and every other symbol at 1; used for its sign."""
        defaults = {scalar.symbol: sp.nsimplify(scalar.default) for scalar in self.program.scalars}
        return expression.subs(defaults).subs(dict.fromkeys(expression.free_symbols, 1))

    @property
    def slope(self) -> sp.Expr:
        """dx / du > 0, the slope of the stationary x in the level u."""
        return self._affine[0]

    @property
    def level(self) -> sp.Expr:
        """The level u as a function of pi (the symbol TOTAL_PRICE) and the scalars; x increases with u."""
        return self._affine[1]

    @property
    def offset(self) -> sp.Expr:
        """The part of x that does not depend on the multiplier."""
        return self._affine[2]

    @property
    def closed_form(self) -> sp.Expr:
        """x(lambda), the one solution of stationarity = 0, before clipping to the box."""
        return (self.slope * self.level + self.offset).subs(TOTAL_PRICE, self.total_price)

    @cached_property
    def combined_form(self) -> sp.Expr:
        """The closed form with combined powers, (w / (c pi))^e; w^e or c^e alone may overflow."""
        return _combined(self.closed_form)

    @cached_property
    def dual(self) -> sp.Expr:
        """min_x L(x, lambda) of one layer. The dual function is its sum over the layers minus sigma lambda R."""
        return sp.simplify(self.lagrangian.subs(self.term.decision, self.closed_form))

    @cached_property
    def inverse_level(self) -> sp.Expr:
        """lambda as a function of the level u (here the symbol TOTAL_PRICE is the level)."""
        u = sp.Dummy(positive=True) if self._at_sample(self.level) > 0 else sp.Dummy(real=True)
        pi = self._root(self.level - u, TOTAL_PRICE)
        return (pi - self.declared_price).subs(u, TOTAL_PRICE)

    def _compile(self, expression: sp.Expr) -> Function:
        scalars = [scalar.symbol for scalar in self.program.scalars]
        symbols = [self.term.decision, MULTIPLIER, self.term.weight, self.term.unit_cost, *scalars]
        return cast(Function, sp.lambdify(symbols, accurate(expression), modules=[np], cse=True))

    def _compile_weighted(self, expression: sp.Expr) -> Function:
        """As `_compile`, with 0 f = 0 for a layer without weight, even if f is infinite (m^(p-1) at 0)."""
        full, weightless = self._compile(expression), self._compile(expression.subs(self.term.weight, 0))

        def evaluate(x: Any, multiplier: Any, weight: Any, *rest: Any) -> Any:
            zero = np.equal(weight, 0.0)
            with np.errstate(divide="ignore", invalid="ignore"):
                values = full(x, multiplier, weight, *rest) if np.ndim(zero) or not zero else 0.0
            if not np.count_nonzero(zero):
                return values
            return np.where(zero, weightless(x, multiplier, weight, *rest), values)

        return evaluate

    @cached_property
    def objective(self) -> Function:
        """f(x; w, d)."""
        return self._compile_weighted(self.term.objective)

    @cached_property
    def gradient(self) -> Function:
        """f'(x; w, d), without the multiplier."""
        return self._compile_weighted(sp.diff(self.term.objective, self.term.decision))

    @cached_property
    def magnitude(self) -> Function:
        """Sum of the absolute values of the terms of dL/dx, the scale of the residual of stationarity."""
        return self._compile_weighted(self.absolute_stationarity)

    @cached_property
    def lagrangian_gradient(self) -> Function:
        """dL/dx at a multiplier."""
        return self._compile_weighted(self.stationarity)

    @cached_property
    def curvature(self) -> Function:
        """f''(x; w, d)."""
        return self._compile_weighted(self.second_derivative)

    @cached_property
    def mixed(self) -> Function:
        """d^2 f / dx dw."""
        return self._compile(self.score_derivative)

    @cached_property
    def declared_price_of(self) -> Function:
        """The declared price (alpha, b), a function of the scalars alone."""
        return cast(Function, sp.lambdify([s.symbol for s in self.program.scalars], self.declared_price, modules=[np]))

    @cached_property
    def slope_of(self) -> Function:
        return self._compile(_combined(self.slope))

    @cached_property
    def offset_of(self) -> Function:
        return self._compile(self.offset)

    @cached_property
    def level_of(self) -> Function:
        """u at a multiplier."""
        return self._compile(self.level.subs(TOTAL_PRICE, self.total_price))

    @cached_property
    def multiplier_of(self) -> Function:
        """lambda at a level; pass u in the place of the multiplier."""
        return self._compile(self.inverse_level.subs(TOTAL_PRICE, MULTIPLIER))

    def level_at(self, multiplier: float, scalars: tuple[float, ...]) -> np.float64:
        """u at a multiplier; infinite if the total price is 0 and u = 1 / pi."""
        return np.float64(self.level_of(0.0, np.float64(multiplier), 0.0, 0.0, *scalars))

    def multiplier_at(self, level: float, scalars: tuple[float, ...]) -> float:
        """lambda >= 0 at a level u."""
        return max(float(self.multiplier_of(0.0, np.float64(level), 0.0, 0.0, *scalars)), 0.0)

    @cached_property
    def has_powers(self) -> bool:
        """Whether the slope depends on weight and unit cost other than by their quotient."""
        return self._quotient[1] == 0 and bool(self.slope.free_symbols & {self.term.weight, self.term.unit_cost})

    @cached_property
    def _quotient(self) -> tuple[Function, int]:
        """(scale, direction) of the slope: +1 for scale weight / unit cost, -1 for the inverse, 0 otherwise."""
        weight, unit_cost = self.term.weight, self.term.unit_cost
        scale, rest = self.slope.as_independent(weight, unit_cost, as_Add=False)
        direction = {weight / unit_cost: 1, unit_cost / weight: -1}.get(rest, 0)
        return self._compile(scale), 0 if self.offset.free_symbols & {weight, unit_cost} else direction

    def quotient(self, channel: Channel, scalars: tuple[float, ...]) -> tuple[float, Array, Array, Array]:
        """(scale, numerator, denominator, offset): slope = scale numerator / denominator; arrays (K,).

        Numerator and denominator are the weight and the unit cost themselves if the slope is their quotient.
        """
        scale, direction = self._quotient
        if direction == 0:
            with np.errstate(all="ignore"):
                slope, offset = self.line(channel, scalars)
            numerator = np.array(slope, dtype=np.float64)  # a slope of 1 is an integer
            return 1.0, numerator, np.ones_like(channel.unit_cost), np.where(channel.weight > 0.0, offset, 0.0)
        numerator, denominator = (channel.weight, channel.unit_cost)[::direction]
        offset = constant(float(self.offset_of(0.0, 0.0, 0.0, 0.0, *scalars)), channel.unit_cost.size)
        return float(scale(0.0, 0.0, 0.0, 0.0, *scalars)), numerator, denominator, offset

    def line(self, channel: Channel, scalars: tuple[float, ...]) -> tuple[Array, Array]:
        """(slope, offset) of every layer, both (K,).

        Not finite for a layer without weight, of which numpy warns outside `np.errstate`.
        """
        arguments, like = (0.0, 0.0, channel.weight, channel.unit_cost, *scalars), channel.weight
        return each(self.slope_of(*arguments), like), each(self.offset_of(*arguments), like)

    @cached_property
    def _stationary(self) -> Function:
        return self._compile(self.combined_form)

    def stationary(self, multiplier: Any, channel: Channel, scalars: tuple[float, ...]) -> Array:
        """x(lambda) clipped to the box: the minimiser of the Lagrangian of every layer, (K,) or (N, K).

        A layer without weight is at the end of its box that uses least of the limit.
        """
        with np.errstate(all="ignore"):
            x = self._stationary(0.0, np.float64(multiplier), channel.weight, channel.unit_cost, *scalars)
        if self.offset == 0:  # x > 0 may round to 0, where m^(p-1) is infinite
            total_price = self.declared_price_of(*scalars) + np.float64(multiplier)
            x = np.maximum(x, np.where((total_price > 0.0) & (total_price < np.inf), SMALLEST, -np.inf))
        if np.count_nonzero(channel.weight) < channel.weight.size:
            x = np.where(channel.weight > 0.0, x, channel.lower if self.uses else channel.upper)
        return np.minimum(np.maximum(x, channel.lower), channel.upper)


def _combined(expression: sp.Expr) -> sp.Expr:
    return sp.powsimp(expression, combine="base", force=True)


@cache
def derive(program: Program) -> tuple[Derivation, ...]:
    """The derivation of every term of a program; computed once per program.

    Raises SpecError for a program whose only term frees the resource; declare it as a target (sense ">=") instead.
    """
    if len(program.terms) == 1 and program.terms[0].usage < 0:
        raise SpecError(f"{program.name}: resource {program.terms[0].resource}; drop the sign and reverse the sense")
    return tuple(Derivation(program, term) for term in program.terms)
