"""The optimum of a small instance in fractions, straight from its declaration: what the ledger's facts are about.

No solver is imported: the equation is searched in exact arithmetic (see the proof `kernel`).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import sympy as sp
from flint import fmpq

from zetaplan.spec.instance import Instance
from zetaplan.spec.rational import INTERIOR, rational

Plan = tuple[Fraction, ...]


def optimum(instance: Instance) -> Plan:
    """The optimal plan; layers without weight spare the resource."""
    return _optimum(instance)[0]


def multiplier(instance: Instance) -> Fraction:
    """The optimal multiplier."""
    return _optimum(instance)[1]


def plan_at(instance: Instance, multiplier: Fraction | int) -> Plan:
    """x(lambda), clipped, at any multiplier that leaves the resource a price; every layer has weight."""
    truth = rational(instance)
    level = truth.level_of(fmpq(*Fraction(multiplier).as_integer_ratio()))
    return tuple(map(_fraction, truth.equation.plan(level, truth.equation.sides(level))))


def bracket(instance: Instance) -> Fraction:
    """The multiplier above which every layer is at its floor; below 0 where that is so without one."""
    truth = rational(instance)
    return max(_fraction(truth.multiplier_of(level)) for level in truth.equation.rises)


def evaluations(instance: Instance) -> tuple[int, bool]:
    """How often the sum is evaluated until halving among the sorted bends has found a piece, and: has it the root?"""
    equation = rational(instance).equation
    bends = sorted({*equation.rises, *(top for top in equation.tops if top is not None)})
    low, high, count = 0, len(bends), 0
    while low < high:
        middle = (low + high) // 2
        sides = equation.sides(bends[middle])
        short = equation.left(sides) > equation.growth(sides) * bends[middle]
        low, high, count = (middle + 1, high, count + 1) if short else (low, middle, count + 1)
    root, _ = equation.root([INTERIOR] * len(equation.a))
    return count, (low == 0 or bends[low - 1] <= root) and (low == len(bends) or root <= bends[low])


def slopes(instance: Instance, plan: Plan) -> Plan:
    """f'(x) of every layer."""
    gradient_of = rational(instance).gradient_of
    exact = [fmpq(x.numerator, x.denominator) for x in plan]
    return tuple(_fraction(gradient_of(k, x, fmpq(0))) for k, x in enumerate(exact))


def number(expression: sp.Expr) -> Fraction:
    """An expression whose symbols all have values, as a fraction."""
    return Fraction(str(sp.Rational(expression)))


def objective(instance: Instance, plan: Sequence[Fraction | float]) -> sp.Expr:
    """F(x) as an exact expression: a fraction where the objective is a polynomial."""
    (term,) = instance.program.terms
    knobs = {scalar.symbol: _exact(instance.parameters[scalar.name]) for scalar in instance.program.scalars}
    rows = zip(plan, instance.weight.tolist(), instance.resource.tolist(), strict=True)
    values = (
        term.objective.subs(knobs | {term.decision: _exact(x), term.weight: _exact(w), term.unit_cost: _exact(d)})
        for x, w, d in rows
    )
    return sum(values, sp.Integer(0))


def _optimum(instance: Instance) -> tuple[Plan, Fraction]:
    truth = rational(instance)
    level, sides = truth.at_zero
    surplus = truth.surplus(level, sides)
    multiplier = fmpq(0)
    if surplus is None or surplus < 0:
        level, sides = truth.equation.root([INTERIOR] * len(truth.weighted))
        multiplier = truth.multiplier_of(level)
    x = dict(zip(truth.weighted, truth.equation.plan(level, sides), strict=True))
    return tuple(_fraction(x.get(k, truth.spared[k])) for k in range(instance.quality.size)), _fraction(multiplier)


def _fraction(value: fmpq) -> Fraction:
    return Fraction(int(value.p), int(value.q))


def _exact(value: Fraction | float) -> sp.Rational:
    return sp.Rational(*value.as_integer_ratio())
