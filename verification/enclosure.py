"""Enclosures: doubles below and above the optimum of the program with real weights w = q^e, which may be irrational.

Every number is an Arb ball (Johansson 2017, through python-flint), an interval that contains the true value. The excess
of the plan x(lambda) over the limit falls with lambda. So every multiplier with certainly positive excess is below all
optimal ones, and every multiplier with certainly negative excess is above them. x is monotone between both. Closed form
and objective come from the declaration. Quality and exponent are the doubles of the instance, without rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp
from flint import arb, ctx
from numpy.typing import NDArray

from zetaplan.errors import SpecError
from zetaplan.spec.derivation import TOTAL_PRICE, Derivation, derive
from zetaplan.spec.instance import Channel, Instance
from zetaplan.spec.program import MULTIPLIER
from zetaplan.spec.solution import Solution

Array = NDArray[np.float64]

SMALLEST, LARGEST = math.ldexp(1.0, -1000), math.ldexp(1.0, 1000)
LEAST_PRECISION = 64  # bits; more than a double has, so that the bracket closes


@dataclass(frozen=True, eq=False)
class Enclosure:
    """Bounds on the optimum of the program with real weights; each pair is (low, high), rounded outwards.

    multiplier : contains every optimal multiplier; high is infinite if these are unbounded.
    x : arrays of the instance's shape; the whole box for a layer whose optimum is not unique.
    objective : contains the optimal value.
    """

    multiplier: tuple[float, float]
    x: tuple[Array, Array]
    objective: tuple[float, float]


def enclose(instance: Instance, solution: Solution, *, precision: int = 128) -> Enclosure:
    """Enclose the optimum of the program with weights q^e in real numbers.

    solution : any claim; its multiplier is the start of the search and does not change the result.
    precision : bits, at least 64. Works for every declared program, of one term or several.
    """
    if precision < LEAST_PRECISION:
        raise SpecError(f"precision = {precision}: expected at least {LEAST_PRECISION} bits")
    with ctx.workprec(precision):
        pairs = zip(derive(instance.program), instance.channels, strict=True)
        problem = _Problem(instance, [_Term(instance, derivation, channel) for derivation, channel in pairs])
        low, high = _multiplier(problem, float(solution.multiplier))
        plan = problem.hull(low, high)
        objective = sum((term.value(row) for term, row in zip(problem.terms, plan, strict=True)), arb(0))
        x = (_array(instance, plan, _below), _array(instance, plan, _above))
        return Enclosure((low, high), x, (_below(objective), _above(objective)))


def _array(instance: Instance, plan: list[list[arb]], end: Callable[[arb], float]) -> Array:
    """One end of every ball, clipped to the box."""
    x = np.array([[end(value) for value in row] for row in plan]).reshape(instance.weight.shape)
    bounded: Array = np.clip(x, instance.lower, instance.upper)
    return bounded


@dataclass(frozen=True, eq=False)
class _Term:
    """One term of the program, in balls."""

    instance: Instance
    derivation: Derivation
    channel: Channel

    @cached_property
    def knobs(self) -> dict[sp.Symbol, arb]:
        scalars = self.instance.program.scalars
        return {scalar.symbol: arb(value) for scalar, value in zip(scalars, self.instance.scalars, strict=True)}

    @cached_property
    def weight(self) -> list[arb]:
        """q^e, with 0^0 = 1."""
        exponent = self.knobs[self.channel.term.exponent]
        return [arb(q) ** exponent if q > 0.0 else arb(float(exponent == 0)) for q in self.instance.quality.tolist()]

    @cached_property
    def layers(self) -> list[dict[sp.Symbol, arb]]:
        """The values of the symbols of every layer."""
        term = self.channel.term
        pairs = zip(self.weight, self.channel.unit_cost.tolist(), strict=True)
        return [self.knobs | {term.weight: weight, term.unit_cost: arb(datum)} for weight, datum in pairs]

    @cached_property
    def lines(self) -> list[tuple[arb, arb] | None]:
        """(slope, offset) of every layer; None for a layer without weight."""
        d = self.derivation
        return [
            (evaluate(d.slope, values), evaluate(d.offset, values)) if weight > 0 else None
            for weight, values in zip(self.weight, self.layers, strict=True)
        ]

    @cached_property
    def declared_price(self) -> arb:
        return evaluate(self.derivation.total_price.subs(MULTIPLIER, 0), self.knobs)

    @cached_property
    def box(self) -> list[tuple[arb, arb]]:
        return [(arb(l), arb(h)) for l, h in zip(self.channel.lower.tolist(), self.channel.upper.tolist(), strict=True)]

    def plan(self, multiplier: float) -> list[arb]:
        """x(lambda); layers without weight, and all layers at an infinite multiplier, are at the bound of least use."""
        spared, taken = (0, 1) if self.derivation.uses else (1, 0)
        pi = self.declared_price + arb(multiplier)
        u = evaluate(self.derivation.level, self.knobs | {TOTAL_PRICE: pi}) if pi.is_finite() else arb("nan")
        if not u.is_finite():  # pi = 0 or infinite
            side = taken if pi == 0 else spared
            return [box[spared if line is None else side] for line, box in zip(self.lines, self.box, strict=True)]
        return [
            box[spared] if line is None else (line[0] * u + line[1]).max(box[0]).min(box[1])
            for line, box in zip(self.lines, self.box, strict=True)
        ]

    def use(self, plan: list[arb]) -> arb:
        pairs = zip(self.channel.unit_cost.tolist(), plan, strict=True)
        return self.channel.term.usage * sum((arb(a) * x for a, x in pairs), arb(0))

    def value(self, plan: list[arb]) -> arb:
        """The objective over the balls of a plan; unbounded balls occur only where f does not depend on x."""
        term = self.channel.term
        finite = [x if x.is_finite() else box[0] for x, box in zip(plan, self.box, strict=True)]
        layers = zip(self.layers, finite, strict=True)
        return sum((evaluate(term.objective, values | {term.decision: x}) for values, x in layers), arb(0))


@dataclass(frozen=True, eq=False)
class _Problem:
    instance: Instance
    terms: list[_Term]

    def excess(self, multiplier: float) -> arb:
        """The excess sigma (sum r - R) of the plan at a multiplier; it falls with the multiplier."""
        use = sum((term.use(term.plan(multiplier)) for term in self.terms), arb(0))
        return self.instance.program.sign * (use - arb(self.instance.limit))

    def hull(self, low: float, high: float) -> list[list[arb]]:
        """A ball around every plan between two multipliers; the whole box for a layer whose optimum is not unique."""
        return [
            [
                box[0].union(box[1]) if line is None and low == 0.0 and term.declared_price == 0 else a.union(b)
                for line, box, a, b in zip(term.lines, term.box, term.plan(low), term.plan(high), strict=True)
            ]
            for term in self.terms
        ]


def _multiplier(problem: _Problem, hint: float) -> tuple[float, float]:
    """The closest doubles around every optimal multiplier that the precision of the balls can separate from it."""
    if problem.excess(0.0) < 0:
        return 0.0, 0.0
    start = hint if SMALLEST < hint < LARGEST else 1.0
    low = _edge(lambda multiplier: bool(problem.excess(multiplier) > 0), start, 2.0)
    high = _edge(lambda multiplier: bool(problem.excess(multiplier) < 0), start, 0.5)
    return low or 0.0, high or math.inf


def _edge(holds: Callable[[float], bool], start: float, step: float) -> float | None:
    """The last double in the direction of `step` at which a monotone test holds; None if it holds nowhere."""
    good = start
    while not holds(good):
        good /= step
        if not SMALLEST < good < LARGEST:
            return None
    bad = good * step
    while holds(bad):
        good, bad = bad, bad * step
    while True:
        middle = 0.5 * (good + bad)
        if middle in (good, bad):
            return good
        good, bad = (middle, bad) if holds(middle) else (good, middle)


def evaluate(expression: sp.Expr, values: dict[sp.Symbol, arb]) -> arb:
    """The value of a sympy expression in balls."""
    if expression.is_Symbol:
        return values[expression]
    if expression.is_Rational:
        return arb(int(expression.p)) / int(expression.q)
    arguments = [evaluate(argument, values) for argument in expression.args]
    return OPERATIONS[expression.func](arguments)


def _sum(arguments: list[arb]) -> arb:
    return sum(arguments[1:], arguments[0])


OPERATIONS: dict[type, Callable[[list[arb]], arb]] = {
    sp.Add: _sum,
    sp.Mul: math.prod,
    sp.Pow: lambda arguments: arguments[0] ** arguments[1],
    sp.log: lambda arguments: arguments[0].log(),
    sp.exp: lambda arguments: arguments[0].exp(),
}


def _below(value: arb) -> float:
    return math.nextafter(float(value.lower()), -math.inf) if value.is_finite() else -math.inf


def _above(value: arb) -> float:
    return math.nextafter(float(value.upper()), math.inf) if value.is_finite() else math.inf
