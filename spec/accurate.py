"""Expressions in a form that loses no small number to rounding."""

from __future__ import annotations

import sympy as sp
from sympy.codegen.rewriting import expm1_opt, log1p_opt, optimize


def accurate(expression: sp.Expr) -> sp.Expr:
    """With log1p and expm1: log(1 + m) loses a small m. The search for them takes long where there is no log or exp."""
    return optimize(expression, [log1p_opt, expm1_opt]) if expression.has(sp.log, sp.exp) else expression
