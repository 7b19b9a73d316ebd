"""Caps close to the target: bounds on the sparsity of a layer."""

from __future__ import annotations

import sympy as sp

from zetaplan.verification.proofs.proof import (
    Identity,
    Inequality,
    Proof,
    Theorem,
    above,
    at_least,
    at_most,
    below,
    equal,
)

LAYERS = 3
rho = sp.symbols("rho_1:4", nonnegative=True)
cap, share = sp.symbols("u s", nonnegative=True)
K, over, number, target = sp.symbols("K e j P", nonnegative=True)

inside = (*(at_most(x, cap) for x in rho[1:]), at_least(sum(rho), LAYERS * share))
least, spread = K * share - (K - 1) * cap, 2 * (cap - share) * (K - 1) / K
NUMBERS = ((K, sp.Integer(32)), (share, sp.Rational(1, 2)), (cap, sp.Rational(51, 100)))

PROOF = Proof(
    title="Freedom under a cap close to the target",
    source="on the caps 0.51 and 0.55 of the paper's experiments",
    statement=r"""
Let $K$ layers of equal size have to reach the mean sparsity $s$, each with cap $u \ge s$. Then every layer has
$\rho_k \ge K s - (K - 1) u$, and the mean of $|\rho_k - s|$ over the layers is at most $2 (u - s) (K - 1) / K$ if the
target is met exactly. Clipping at $u$ after the solve removes fewer parameters than the target if it changes any layer.
""",
    steps=(
        Inequality(
            f"The least sparsity of a layer, $K = {LAYERS}$: the others are at most at their cap.",
            at_least(rho[0], LAYERS * share - (LAYERS - 1) * cap),
            given=inside,
        ),
        Theorem("The same subtraction holds for any $K$.", names=("Caps.least_share",)),
        Inequality(
            r"If $j$ of the layers lie above the mean, by $e$ together, then $e \le j (u - s)$; the others lie "
            r"below it by $e$ together, so the mean of $|\rho_k - s|$ is $2 e / K$.",
            at_most(2 * over / K, 2 * (K - 1) * (cap - share) / K),
            given=(
                at_most(over, number * (cap - share)),
                at_most(number, K - 1),
                at_least(cap, share),
            ),
        ),
        Theorem("At most $K - 1$ layers can lie above their mean.", names=("Caps.mean_distance",)),
        Identity(
            r"The paper's numbers, $K = 32$, $s = 0.5$, $u = 0.51$: no layer keeps more than 81%,",
            least,
            sp.Rational(19, 100),
            given=NUMBERS,
        ),
        Identity(
            "and the mean distance from uniform pruning is less than 0.02.",
            spread,
            sp.Rational(31, 1600),
            given=NUMBERS,
        ),
        Inequality(
            "Clipping after the solve: where the target $P$ binds and one of two layers is above the cap, the target "
            "is missed.",
            below(sp.Min(rho[0], cap) + sp.Min(rho[1], cap), target),
            given=(equal(rho[0] + rho[1], target), above(rho[0], cap)),
        ),
    ),
)
