"""The separable and the variational bound on the regret: strong convexity decision by decision."""

from __future__ import annotations

import sympy as sp

from zetaplan.spec.derivation import derive
from zetaplan.spec.program import MULTIPLIER
from zetaplan.spec.programs.pruning import PRUNING, eta, rho, w
from zetaplan.verification.proofs.proof import (
    Identity,
    Inequality,
    Proof,
    Step,
    Theorem,
    at_least,
    at_most,
    equal,
)

LAYERS = 2
x, y, gs, gt, regret = sp.symbols("x_S x_T g_S g_T R", real=True)
distance, drift = sp.symbols("D delta", nonnegative=True)
mu, mu_k, mu_l = sp.symbols("mu mu_k mu_l", positive=True)
L, L_k, L_l = sp.symbols("L_q L_k L_l", nonnegative=True)
flat = sp.Symbol("mu_k", nonnegative=True)

slopes, changes = (sp.symbols(f"{name}_1:{LAYERS + 1}", real=True) for name in ("p", "s"))
moves, distances = (sp.symbols(f"{name}_1:{LAYERS + 1}", nonnegative=True) for name in ("a", "D"))
convexities = sp.symbols(f"mu_1:{LAYERS + 1}", positive=True)
bound = sum(move**2 / (2 * m) for move, m in zip(moves, convexities, strict=True))
penalty = PRUNING.terms[0].objective
w_S, w_T = sp.symbols("w_S w_T", positive=True)
optimum, at_target = derive(PRUNING)[0].closed_form.subs(MULTIPLIER, 0), penalty.subs(w, w_T)
start, end = sp.symbols("rho_S rho_T", nonnegative=True)


def _layer_by_layer() -> Step:
    """Steps 1 to 4 for all layers at once."""
    rows = list(zip(slopes, changes, moves, distances, convexities, strict=True))
    return Inequality(
        rf"Both sums and all layers together, $K = {LAYERS}$, in one formula ($a_k = L_k \delta_k$).",
        at_most(regret, bound),
        given=(
            at_most(regret, sum(p - m * d**2 / 2 for p, _, _, d, m in rows)),
            at_least(sum(changes), sp.Integer(0)),
            *(at_most(p + s, a * d) for p, s, a, d, _ in rows),
        ),
    )


PROOF = Proof(
    title="The separable bound on the regret",
    source="goes beyond the paper",
    statement=r"""
Let $x_S$ be optimal for the source and $x_T$ for the target, over the same box and limit. For every decision $k$ let
$f_k'' \ge \mu_k > 0$ at the target's weights, and let its slope at $x_S$ differ between source and target by at most
$L_k \delta_k$, where $\delta_k$ is the drift of its score. Then the regret $R = F_T(x_S) - F_T(x_T)$ is at most

$$\sum_k \frac{L_k^2 \delta_k^2}{2 \mu_k} \;\le\; \frac{L_q^2}{2 \mu} \sum_k \delta_k^2, \qquad \mu = \min_k \mu_k,$$

with $L_q$ the largest of the $L_k$ or, where a layer has several decisions, of the lengths of their vectors. The first
is the bound `separable`, the second `variational`.
""",
    assumptions=(
        r"A layer without loss, $L_k \delta_k = 0$, may have $\mu_k = 0$; it adds 0.",
        "For the constants of a whole box of scores see [the constants at the ends](constants.md).",
    ),
    steps=(
        Theorem(
            r"Strong convexity of each $f_k$ between $x_T$ and $x_S$, summed: $R \le \sum_k (p_k - \tfrac{\mu_k}{2} "
            r"D_k^2)$ with $p_k = f_{T,k}'(x_S) (x_S - x_T)_k$ and $D_k = |x_S - x_T|_k$.",
            names=("Transfer.summed",),
        ),
        Inequality(
            r"For a layer of pruning, from the declaration, where $\mu_k = 2 \eta w_k$:",
            at_most(
                penalty.subs(rho, start) - penalty.subs(rho, end),
                sp.diff(penalty, rho).subs(rho, start) * (start - end) - mu_k / 2 * (start - end) ** 2,
            ),
            given=(at_most(mu_k, 2 * eta * w),),
        ),
        Theorem(
            r"$x_S$ is optimal for the source over a convex set that contains $x_T$: the sum of "
            r"$s_k = f_{S,k}'(x_S) (x_T - x_S)_k$ is at least 0. (Single terms may be negative.)",
            names=("Transfer.first_order",),
        ),
        Inequality(
            r"The common part of both slopes cancels: $p_k + s_k \le L_k \delta_k D_k$.",
            at_most((gt - gs) * (x - y), L_k * drift * sp.Max(x - y, y - x)),
            given=(at_most(gt - gs, L_k * drift), at_least(gt - gs, -L_k * drift)),
        ),
        Inequality(
            r"The bound holds for any distance, by completing the square.",
            at_most(L_k * drift * distance - mu_k * distance**2 / 2, (L_k * drift) ** 2 / (2 * mu_k)),
        ),
        _layer_by_layer(),
        Theorem(
            r"For any number of decisions: $R \le \sum_k (p_k + s_k - \tfrac{\mu_k}{2} D_k^2)$, term by term.",
            names=("Transfer.separable_bound",),
        ),
        Inequality(
            "A layer with $L_k \\delta_k = 0$ adds 0, even without strong convexity.",
            at_most(L_k * drift * distance - flat * distance**2 / 2, sp.Integer(0)),
            given=(equal(L_k * drift, sp.Integer(0)),),
        ),
        Inequality(
            "One constant for all layers gives a larger bound, for a layer with one decision",
            at_most((L_k * drift) ** 2 / (2 * mu_k), (L * drift) ** 2 / (2 * mu)),
            given=(at_most(L_k, L), at_least(mu_k, mu)),
        ),
        Inequality(
            "The same holds for a layer with two decisions.",
            at_most((L_k * drift) ** 2 / (2 * mu_k) + (L_l * drift) ** 2 / (2 * mu_l), (L * drift) ** 2 / (2 * mu)),
            given=(at_most(L_k**2 + L_l**2, L**2), at_least(mu_k, mu), at_least(mu_l, mu)),
        ),
        Identity(
            r"The bound is attained, here by a layer of pruning where the target is slack: from the declaration, with "
            r"the closed form at $\lambda = 0$, $L_k = 2 \eta \rho_S$ and $\mu_k = 2 \eta w_T$.",
            at_target.subs(rho, optimum.subs(w, w_S)) - at_target.subs(rho, optimum.subs(w, w_T)),
            (2 * eta * optimum.subs(w, w_S)) ** 2 * (w_T - w_S) ** 2 / (2 * 2 * eta * w_T),
        ),
    ),
    remark=r"""
`theorem-4` multiplies the variational bound by $L / \mu \ge 1$; see [Theorem 4](regret.md), whose proof uses the same
inequality of $x_S$ for all layers at once.
""",
)
