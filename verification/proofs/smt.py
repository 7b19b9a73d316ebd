"""SMT checks: a universally quantified statement about real numbers holds if z3 finds no model of its negation.

The assumptions of sympy on a symbol (positive, nonnegative, integer) become its range. z3 leaves the value of a
division by zero open, so a proved statement does not depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import sympy as sp

from zetaplan.errors import CertificateError

TIMEOUT = 20_000  # milliseconds; every true statement in the proofs takes less than one second


def counterexample(claim: sp.Basic, given: tuple[sp.Basic, ...] = ()) -> str:
    """Empty if `given` implies the claim for all values of the symbols; else a counterexample, or the reason of z3.

    Raises CertificateError for an expression with other operations than + - * / ^ Max Min and rational numbers.
    """
    z3 = _z3()
    solver = z3.Solver()
    solver.set("timeout", TIMEOUT)
    symbols = sorted(set().union(*(part.free_symbols for part in (claim, *given))), key=str)
    values = {symbol: (z3.Int if symbol.is_integer else z3.Real)(str(symbol)) for symbol in symbols}
    for symbol, value in values.items():
        if symbol.is_positive:
            solver.add(value > 0)
        elif symbol.is_nonnegative:
            solver.add(value >= 0)
    for relation in given:
        solver.add(_translated(relation, values))
    solver.add(z3.Not(_translated(claim, values)))
    outcome = solver.check()
    if outcome == z3.unsat:
        return ""
    return f"false at {solver.model()}" if outcome == z3.sat else f"not decided: {solver.reason_unknown()}"


def _z3() -> Any:
    try:
        import z3
    except ImportError:
        raise CertificateError(
            "inequalities are checked by z3, which is not installed: pip install 'zetaplan[docs]'"
        ) from None
    return z3


def _translated(expression: sp.Basic, values: dict[sp.Symbol, Any]) -> Any:
    if expression.is_Symbol:
        return values[expression]
    if expression.is_Rational:
        return _z3().Q(int(expression.p), int(expression.q))
    if expression in (sp.true, sp.false):
        return _z3().BoolVal(bool(expression))
    if expression.is_Pow:
        return _power(_translated(expression.base, values), expression.exp)
    if expression.func not in OPERATIONS:
        raise CertificateError(f"{expression}: no polynomial, quotient, Max or Min; z3 cannot decide it")
    return OPERATIONS[expression.func]([_translated(argument, values) for argument in expression.args])


def _power(base: Any, exponent: sp.Expr) -> Any:
    if not exponent.is_Integer:
        raise CertificateError(f"exponent {exponent}: z3 decides whole ones only")
    power = math.prod([base] * abs(int(exponent)))
    return power if exponent > 0 else 1 / power


def _largest(a: Any, b: Any) -> Any:
    return _z3().If(a >= b, a, b)


def _smallest(a: Any, b: Any) -> Any:
    return _z3().If(a <= b, a, b)


OPERATIONS: dict[type, Callable[[list[Any]], Any]] = {
    sp.Add: sum,
    sp.Mul: math.prod,
    sp.Max: lambda arguments: reduce(_largest, arguments),
    sp.Min: lambda arguments: reduce(_smallest, arguments),
    sp.And: lambda arguments: _z3().And(*arguments),
    sp.Or: lambda arguments: _z3().Or(*arguments),
    sp.Not: lambda arguments: _z3().Not(*arguments),
    sp.Ge: lambda arguments: arguments[0] >= arguments[1],
    sp.Gt: lambda arguments: arguments[0] > arguments[1],
    sp.Le: lambda arguments: arguments[0] <= arguments[1],
    sp.Lt: lambda arguments: arguments[0] < arguments[1],
    sp.Eq: lambda arguments: arguments[0] == arguments[1],
}
