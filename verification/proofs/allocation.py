"""Theorem 2: convexity, closed form, box, monotonicity, bracket; what it takes for the minimiser to be unique."""

from __future__ import annotations

import sympy as sp

from zetaplan.spec.derivation import derive
from zetaplan.spec.program import MULTIPLIER
from zetaplan.spec.programs.allocation import ALLOCATION, alpha, c, gamma, m, w
from zetaplan.verification.proofs.proof import Argument, Identity, Inequality, Proof, above, at_least, at_most, below

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
$\frac{\gamma w_k}{(\alpha + \lambda) c_k} - 1$, clipped to $[l_k, u_k]$, and nowhere else. Some $\lambda$ makes this
plan optimal: $\lambda = 0$ if it then fits, else a root of $\sum_k c_k m_k(\lambda) = B$ in
$[0, \max_k \gamma w_k / c_k - \alpha]$, where the sum falls strictly as long as some layer is inside its box.

The minimiser is unique if every $w_k > 0$, and also where $w_k = 0$ for some layers but $\alpha + \lambda > 0$.
Neither $B = 0$ nor a negative end of the bracket is an exception.
""",
    assumptions=(
        r"$c_k > 0$, $\gamma > 0$, $\alpha \ge 0$, $w_k = q_k^\beta \ge 0$; the floors fit: $\sum_k c_k l_k \le B$. "
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
            "The slope of the Lagrangian vanishes at the closed form (Eq. 13 of the paper).",
            sp.Subs(slope, m, gamma * w / ((alpha + MULTIPLIER) * c) - 1),
            sp.Integer(0),
        ),
        Inequality(
            "Below it the Lagrangian falls: the slope is negative at every smaller capacity.",
            below(slope.subs(m, other), sp.Integer(0)),
            given=(below(other, closed),),
        ),
        Inequality(
            "Above it the Lagrangian rises. So over a box it is smallest at the clipped closed form, and only there.",
            above(slope.subs(m, other), sp.Integer(0)),
            given=(priced, above(other, closed)),
        ),
        Identity(
            "How the closed form moves with the multiplier.",
            sp.Derivative(closed, MULTIPLIER),
            -gamma * w / ((alpha + MULTIPLIER) ** 2 * c),
        ),
        Inequality(
            "It falls strictly; clipped, it does not rise, and it stands still at a bound.",
            below(-gamma * w / ((alpha + MULTIPLIER) ** 2 * c), sp.Integer(0)),
            given=(priced,),
        ),
        Inequality(
            "The upper end of the bracket: from there on a layer takes nothing. If the end is negative, so is the "
            "optimum at once: "
            r"$m = 0$ with $\lambda = 0$.",
            at_most(closed, sp.Integer(0)),
            given=(at_least(MULTIPLIER, gamma * w / c - alpha),),
        ),
        Inequality(
            "Before it, a layer takes something, so at a positive budget the root is where some layer is active, and "
            "is unique.",
            above(closed, sp.Integer(0)),
            given=(priced, below(MULTIPLIER, gamma * w / c - alpha)),
        ),
        Argument(
            r"The sum is continuous in $\lambda$, so the root exists: at $\lambda = 0$ (with $\alpha = 0$: towards "
            r"it) it exceeds the budget, at the upper end it is 0. The plan and $\lambda$ then satisfy the conditions "
            "of the [certificate theorem](certificate.md), so the plan is optimal. Nothing needs Slater's condition: "
            "at $B = 0$ the upper end of the bracket is a root."
        ),
        Identity(
            "A layer without weight: its objective is affine, hence not strictly convex.",
            sp.Subs(objective, w, 0),
            alpha * c * m,
        ),
        Inequality(
            "With a price its Lagrangian rises, so it is smallest at the floor and nowhere else.",
            above(slope.subs(w, 0), sp.Integer(0)),
            given=(priced,),
        ),
        Argument(
            r"So with $\alpha + \lambda > 0$ the Lagrangian has one minimiser in every layer, with weight or without, "
            "and every optimal plan [minimises it](certificate.md): the optimal plan is unique."
        ),
        Identity(
            "Without a price nothing about such a layer matters:",
            sp.Subs(objective, (w, alpha), (0, 0)),
            sp.Integer(0),
        ),
        Argument(
            "what the others leave of the budget may go to it or not, and the minimiser is unique only if nothing is "
            r"left, or no such layer has room. With $\alpha = 0$ that takes a cap on every layer that has weight; "
            "without caps they use up any budget."
        ),
        Inequality(
            "At $B = 0$ the plan 0 is stationary for every multiplier above the bracket: the multiplier is not unique "
            "there.",
            at_least(slope.subs(m, 0), sp.Integer(0)),
            given=(at_least(MULTIPLIER, gamma * w / c - alpha),),
        ),
    ),
)
