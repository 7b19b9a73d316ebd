"""Theorem 2: convexity, closed form, box, monotonicity, bracket and uniqueness of the minimiser."""

from __future__ import annotations

import sympy as sp

from zetaplan.spec.derivation import derive
from zetaplan.spec.program import MULTIPLIER
from zetaplan.spec.programs.allocation import ALLOCATION, alpha, c, gamma, m, w
from zetaplan.verification.proofs.proof import (
    Argument,
    Identity,
    Inequality,
    Proof,
    Theorem,
    above,
    at_least,
    at_most,
    below,
)

(derived,) = derive(ALLOCATION)
objective, slope, closed = ALLOCATION.terms[0].objective, derived.stationarity, derived.closed_form
other = sp.Symbol("m'_k", nonnegative=True)
priced = above(alpha + MULTIPLIER, sp.Integer(0))

PROOF = Proof(
    title="Theorem 2: the allocation program",
    source="Eqs. 11-13, Theorem 2 and Appendix B.2 of the paper",
    statement=r"""
The allocation program is convex. For every multiplier $\lambda \ge 0$ with $\alpha + \lambda > 0$ the Lagrangian of a
layer with weight $w_k > 0$ is smallest over its box at the closed form
$\frac{\gamma w_k}{(\alpha + \lambda) c_k} - 1$, clipped to $[l_k, u_k]$, and nowhere else. This plan is
optimal for some $\lambda$: $\lambda = 0$ if it then keeps the budget, else a root of $\sum_k c_k m_k(\lambda) = B$ in
$[0, \max_k \gamma w_k / c_k - \alpha]$, where the sum falls strictly as long as some layer is inside its box.

The minimiser is unique if every $w_k > 0$, and also where $w_k = 0$ for some layers but $\alpha + \lambda > 0$.
The statement includes $B = 0$ and a negative end of the bracket.
""",
    assumptions=(
        r"$c_k > 0$, $\gamma > 0$, $\alpha \ge 0$, $w_k = q_k^\beta \ge 0$; the floors keep the budget: $\sum_k c_k "
        r"l_k \le B$. "
        r"The bracket is for $l_k = 0$.",
    ),
    steps=(
        Identity(
            "The second derivative of a layer's objective, from the declaration.",
            sp.Derivative(objective, (m, 2)),
            gamma * w / (1 + m) ** 2,
        ),
        Inequality(
            "It is positive: the objective is strictly convex in every layer that has weight.",
            above(gamma * w / (1 + m) ** 2, sp.Integer(0)),
        ),
        Identity(
            "The slope of the Lagrangian is 0 at the closed form (Eq. 13 of the paper).",
            sp.Subs(slope, m, gamma * w / ((alpha + MULTIPLIER) * c) - 1),
            sp.Integer(0),
        ),
        Inequality(
            "The Lagrangian falls below the closed form: the slope is negative at every smaller capacity.",
            below(slope.subs(m, other), sp.Integer(0)),
            given=(below(other, closed),),
        ),
        Inequality(
            "The Lagrangian rises above the closed form. So over a box its only minimiser is the clipped closed form.",
            above(slope.subs(m, other), sp.Integer(0)),
            given=(priced, above(other, closed)),
        ),
        Identity(
            "The derivative of the closed form in the multiplier.",
            sp.Derivative(closed, MULTIPLIER),
            -gamma * w / ((alpha + MULTIPLIER) ** 2 * c),
        ),
        Inequality(
            "The closed form falls strictly. After clipping it does not rise, and it is constant at a bound.",
            below(-gamma * w / ((alpha + MULTIPLIER) ** 2 * c), sp.Integer(0)),
            given=(priced,),
        ),
        Inequality(
            r"From the upper end of the bracket on, the capacity of a layer is 0. If that end is negative, the "
            r"optimum is "
            r"$m = 0$ with $\lambda = 0$.",
            at_most(closed, sp.Integer(0)),
            given=(at_least(MULTIPLIER, gamma * w / c - alpha),),
        ),
        Inequality(
            "Below that end a layer has positive capacity, so at a positive budget some layer is active at the root, "
            "and "
            "the root is unique.",
            above(closed, sp.Integer(0)),
            given=(priced, below(MULTIPLIER, gamma * w / c - alpha)),
        ),
        Argument(
            r"Where $\lambda = 0$ does not keep the budget, the sum exceeds the budget there (with $\alpha = 0$: at "
            r"some $\lambda$ near 0). At the upper end it is 0.",
            why="it draws a conclusion from the steps that it names",
        ),
        Theorem(
            r"The sum is continuous in $\lambda$, so the root exists. The plan and $\lambda$ then satisfy the "
            "conditions of the [certificate theorem](certificate.md), so the plan is optimal. Slater's condition is "
            "not needed: at $B = 0$ the upper end of the bracket is a root.",
            names=("Bracket.clip_continuous", "Bracket.root_exists", "Separable.certificate"),
        ),
        Identity(
            "The objective of a layer without weight is affine, hence not strictly convex.",
            sp.Subs(objective, w, 0),
            alpha * c * m,
        ),
        Inequality(
            r"If $\alpha + \lambda > 0$ its Lagrangian rises, so its only minimiser is the floor.",
            above(slope.subs(w, 0), sp.Integer(0)),
            given=(priced,),
        ),
        Theorem(
            r"So with $\alpha + \lambda > 0$ the Lagrangian has one minimiser in every layer, with weight or without, "
            "and every optimal plan [minimises it](certificate.md): the optimal plan is unique.",
            names=("Separable.unique",),
        ),
        Identity(
            r"If $\alpha = 0$ the objective of such a layer is 0.",
            sp.Subs(objective, (w, alpha), (0, 0)),
            sp.Integer(0),
        ),
        Argument(
            "Such a layer may then use any part of the budget that the others leave. So the minimiser is unique only "
            "if "
            r"nothing is left or no such layer has room. With $\alpha = 0$ part of the budget is left only if every "
            r"layer "
            "with weight has a cap.",
            why="it draws a conclusion from the steps that it names",
        ),
        Inequality(
            "At $B = 0$ the plan 0 is stationary for every multiplier above the bracket: the multiplier is not unique "
            "there.",
            at_least(slope.subs(m, 0), sp.Integer(0)),
            given=(at_least(MULTIPLIER, gamma * w / c - alpha),),
        ),
    ),
)
