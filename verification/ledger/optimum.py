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


def plan_at(instance: Instance, price: Fraction | int) -> Plan:
    """x(lambda), clipped, at any multiplier that leaves the resource a price; every layer has weight."""
    truth = rational(instance)
    u = truth.price_of(fmpq(*Fraction(price).as_integer_ratio()))
    return tuple(map(_fraction, truth.equation.plan(u, truth.equation.sides(u))))


def objective(instance: Instance, plan: Sequence[Fraction | float]) -> sp.Expr:
    """F(x) as an exact expression: a fraction where the objective is a polynomial."""
    (term,) = instance.program.terms
    knobs = {scalar.symbol: _exact(instance.parameters[scalar.name]) for scalar in instance.program.scalars}
    rows = zip(plan, instance.weight.tolist(), instance.resource.tolist(), strict=True)
    values = (
        term.objective.subs(knobs | {term.decision: _exact(x), term.weight: _exact(w), term.data: _exact(d)})
        for x, w, d in rows
    )
    return sum(values, sp.Integer(0))


def _optimum(instance: Instance) -> tuple[Plan, Fraction]:
    truth = rational(instance)
    u, sides = truth.unpriced
    surplus = truth.surplus(u, sides)
    price = fmpq(0)
    if surplus is None or surplus < 0:
        u, sides = truth.equation.root([INTERIOR] * len(truth.weighted))
        price = truth.multiplier_of(u)
    x = dict(zip(truth.weighted, truth.equation.plan(u, sides), strict=True))
    return tuple(_fraction(x.get(k, truth.spared[k])) for k in range(instance.quality.size)), _fraction(price)


def _fraction(value: fmpq) -> Fraction:
    return Fraction(int(value.p), int(value.q))


def _exact(value: Fraction | float) -> sp.Rational:
    return sp.Rational(*value.as_integer_ratio())
