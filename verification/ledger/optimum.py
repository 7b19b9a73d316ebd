"""Optimum of a small instance in fractions, for the facts of the ledger.

No solver is imported. The equation of the declaration is searched in fractions (see the proof `kernel`).
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
    """The optimal plan, with layers without weight at the bound of least use."""
    return _optimum(instance)[0]


def multiplier(instance: Instance) -> Fraction:
    """The optimal multiplier."""
    return _optimum(instance)[1]


def plan_at(instance: Instance, multiplier: Fraction | int) -> Plan:
    """x(lambda), clipped, at a multiplier with pi > 0; every layer must have weight."""
    truth = rational(instance)
    level = truth.level_of(fmpq(*Fraction(multiplier).as_integer_ratio()))
    return tuple(map(_fraction, truth.equation.plan(level, truth.equation.sides(level))))


def bracket(instance: Instance) -> Fraction:
    """The multiplier above which every layer is at its floor; negative if that holds at multiplier 0."""
    truth = rational(instance)
    return max(_fraction(truth.multiplier_of(level)) for level in truth.equation.rises)


def evaluations(instance: Instance) -> tuple[int, bool]:
    """(evaluations, contains): evaluations of the sum in a binary search for the piece; does it contain the root."""
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
    """F(x) as a sympy expression; a fraction if the objective is a polynomial."""
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
