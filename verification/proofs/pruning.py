"""Theorem 3: strong convexity, closed form, clipping, monotonicity, bracket."""

from __future__ import annotations

import sympy as sp

from zetaplan.spec.derivation import derive
from zetaplan.spec.program import MULTIPLIER
from zetaplan.spec.programs.pruning import PRUNING, bits, eta, n, rho, w
from zetaplan.verification.proofs.proof import (
    Identity,
    Inequality,
    Proof,
    Theorem,
    above,
    at_least,
    at_most,
    below,
)

(derived,) = derive(PRUNING)
objective, slope, closed = PRUNING.terms[0].objective, derived.stationarity, derived.closed_form
other = sp.Symbol(r"\rho'_k", nonnegative=True)
least, rise = sp.Symbol("w_min", positive=True), sp.Symbol("delta", nonnegative=True)

PROOF = Proof(
    title="Theorem 3: the pruning program",
    source="Eqs. 14-15, Theorem 3 and Appendix B.2 of the paper",
    statement=r"""
If every weight $w_k = q_k^\kappa$ is positive, the pruning program is strongly convex with constant
$2 \eta \min_k w_k$, and its minimiser is unique. For every $\lambda \ge 0$ the Lagrangian of a layer is smallest over
its box at $\frac{(b + \lambda) n_k}{2 \eta w_k}$, clipped. This plan is optimal for some $\lambda$: $\lambda = 0$ if
it then meets the target, else a root of $\sum_k n_k \rho_k(\lambda) = P$ in $[0, \max_k 2 \eta w_k / n_k - b]$, where
the sum rises strictly as long as some layer is inside its box.

With $w_k = 0$ for some layers the minimiser is still unique where $b + \lambda > 0$. It is not unique where $b +
\lambda = 0$ and these layers can remove more than the target requires.
""",
    assumptions=(r"$n_k > 0$, $\eta > 0$, $b \ge 0$, $P \le \sum_k n_k u_k$. The bracket is for $u_k = 1$.",),
    steps=(
        Identity("The curvature of a layer, from the declaration.", sp.Derivative(objective, (rho, 2)), 2 * eta * w),
        Inequality(
            "So the whole program is strongly convex with the constant of its least weight, and with no larger one.",
            at_least(2 * eta * w, 2 * eta * least),
            given=(at_least(w, least),),
        ),
        Identity(
            "The slope of the Lagrangian is 0 at the closed form (Eq. 15 of the paper).",
            sp.Subs(slope, rho, (bits + MULTIPLIER) * n / (2 * eta * w)),
            sp.Integer(0),
        ),
        Inequality(
            "The Lagrangian falls below the closed form.",
            below(slope.subs(rho, other), sp.Integer(0)),
            given=(below(other, closed),),
        ),
        Inequality(
            "It rises above the closed form. So over a box its only minimiser is the clipped closed form.",
            above(slope.subs(rho, other), sp.Integer(0)),
            given=(above(other, closed),),
        ),
        Identity(
            "The derivative of the closed form in the multiplier.", sp.Derivative(closed, MULTIPLIER), n / (2 * eta * w)
        ),
        Inequality("The closed form rises strictly.", above(n / (2 * eta * w), sp.Integer(0))),
        Inequality(
            "After clipping it does not fall.",
            at_most(sp.Min(closed, 1), sp.Min(closed.subs(MULTIPLIER, MULTIPLIER + rise), 1)),
        ),
        Inequality(
            r"From the upper end of the bracket on the layer is removed completely. If the end is negative the "
            r"target is "
            r"exceeded at $\lambda = 0$.",
            at_least(closed, sp.Integer(1)),
            given=(at_least(MULTIPLIER, 2 * eta * w / n - bits),),
        ),
        Inequality(
            "Below that end part of the layer is left, so the sum still rises.",
            below(closed, sp.Integer(1)),
            given=(below(MULTIPLIER, 2 * eta * w / n - bits),),
        ),
        Theorem(
            r"The sum is continuous in $\lambda$ and reaches $\sum_k n_k$ at the upper end, so the root exists; by the "
            "[certificate theorem](certificate.md) its plan is optimal. A strictly convex function has at most one "
            "minimiser.",
            names=("Bracket.clip_continuous", "Bracket.root_exists", "Separable.certificate", "Separable.unique"),
        ),
        Theorem(
            r"The distance of a plan from the minimiser, for any number of layers: if each $f_k$ is strongly convex "
            r"with $\mu_k$, a plan that meets the target has $\sum_k \tfrac{\mu_k}{2} (\rho_k - \rho_k^{*})^2 "
            r"\le F(\rho) - F(\rho^{*})$.",
            names=("Separable.distance",),
        ),
        Identity(
            "A layer without weight has no curvature, and the constant is 0.",
            sp.Subs(objective, w, 0),
            bits * n * (1 - rho),
        ),
        Inequality(
            r"If $b + \lambda > 0$ its Lagrangian falls, so its only minimiser is its cap, and the optimal plan, which "
            "[minimises the Lagrangian](certificate.md), is unique.",
            below(slope.subs(w, 0), sp.Integer(0)),
            given=(above(bits + MULTIPLIER, sp.Integer(0)),),
        ),
        Identity(
            "If $b = 0$ its objective is 0 for every sparsity.",
            sp.Subs(objective, (w, bits), (0, 0)),
            sp.Integer(0),
        ),
    ),
)
