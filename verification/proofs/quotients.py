"""Derivatives by their definition as limits of difference quotients, without rules of differentiation."""

from __future__ import annotations

import sympy as sp

STEP = sp.Symbol("h", positive=True)


def rate(f: sp.Expr, x: sp.Symbol) -> sp.Limit:
    """lim (f(x + h) - f(x)) / h as h falls to 0."""
    return _limit((f.subs(x, x + STEP) - f) / STEP)


def second_rate(f: sp.Expr, x: sp.Symbol) -> sp.Limit:
    """lim (f(x + h) - 2 f(x) + f(x - h)) / h^2 as h falls to 0: f'' where f'' is continuous."""
    return _limit((f.subs(x, x + STEP) - 2 * f + f.subs(x, x - STEP)) / STEP**2)


def _limit(quotient: sp.Expr) -> sp.Limit:
    return sp.Limit(sp.expand(quotient), STEP, 0, "+")  # expanded, so that linear terms cancel before the limit
