"""Expressions in a form that loses no small number to rounding."""

from __future__ import annotations

import sympy as sp
from sympy.codegen.cfunctions import log1p


def accurate(expression: sp.Expr) -> sp.Expr:
    """With log1p and expm1: log(1 + m) loses a small m. Anything but log(1 + m) is left to sympy, which takes long."""
    logs = expression.atoms(sp.log)
    if not expression.has(sp.exp) and all(sp.S.One in log.args[0].args for log in logs):
        return expression.xreplace({log: log1p(log.args[0] - 1) for log in logs})
    from sympy.codegen.rewriting import expm1_opt, log1p_opt, optimize

    return optimize(expression, [log1p_opt, expm1_opt])
