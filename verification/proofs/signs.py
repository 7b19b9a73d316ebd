"""Signs of expressions with powers, exponentials and logarithms, for all values of the symbols."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import sympy as sp

from zetaplan.spec.program import Program
from zetaplan.verification.proofs.proof import Inequality, above, below, latex

Relation = Callable[[sp.Expr, sp.Expr], sp.Basic]


def sign(
    words: str, relation: Relation, expression: sp.Expr, program: Program, for_any_knob: bool = False
) -> Inequality:
    """expression > 0 or < 0 within the bounds of the program's knobs, or without them.

    An irrational power or logarithm that is known to be positive is replaced by a positive number e.
    """
    factors = sorted((f for f in expression.atoms(sp.Pow, sp.exp, sp.log) if not _is_rational(f)), key=str)
    names = {f: sp.Symbol(f"e_{i}", positive=True) for i, f in enumerate(factors, start=1) if _positive(f)}
    where = "".join(f", with ${latex(e)} = {latex(factor)}$" for factor, e in names.items())
    return Inequality(
        f"{words}{where}.",
        relation(expression.subs(names), sp.Integer(0)),
        given=(*_poles(program, expression), *(() if for_any_knob else _bounds(program, expression))),
    )


def _is_rational(factor: sp.Expr) -> bool:
    return bool(factor.is_Pow and factor.exp.is_Integer)


def _positive(factor: sp.Expr) -> bool:
    """A power of a positive number, or a positive logarithm; every symbol is real."""
    return bool(factor.as_base_exp()[0].is_positive)


def _poles(program: Program, expression: sp.Expr) -> Iterator[sp.Basic]:
    """The signs of denominators, which have no zero inside the box and so the same sign as at 1/2 everywhere."""
    bounded = {knob.symbol for knob in program.scalars if math.isfinite(knob.above) or math.isfinite(knob.below)}
    for factor in sp.Mul.make_args(sp.factor(sp.fraction(sp.together(expression))[1])):
        base = factor.as_base_exp()[0]
        if base.free_symbols and not (base.is_positive or base.free_symbols & bounded):
            half = base.subs(dict.fromkeys(base.free_symbols, sp.Rational(1, 2)))
            yield (above if half > 0 else below)(base, sp.Integer(0))


def _bounds(program: Program, expression: sp.Expr) -> Iterator[sp.Basic]:
    """The strict bounds that a program declares for its knobs."""
    for knob in program.scalars:
        if knob.symbol in expression.free_symbols and math.isfinite(knob.above):
            yield above(knob.symbol, sp.nsimplify(knob.above))
        if knob.symbol in expression.free_symbols and math.isfinite(knob.below):
            yield below(knob.symbol, sp.nsimplify(knob.below))
