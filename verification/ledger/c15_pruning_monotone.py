"""Is the number of removed parameters strictly increasing in the multiplier?"""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.pruning import pruning
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import plan_at

two = pruning([1, 1], 1.0)

CLAIM = Claim(
    claim=(
        r"$\sum_k n_k \rho_k(\lambda)$ is strictly increasing in $\lambda$, so $\lambda$ is unique when the target "
        r"binds."
    ),
    verdict=Verdict.CORRECTED,
    finding=r"""
Only while some layer is inside its box. From $\max_k 2 \eta q_k^\kappa / n_k - b$ on every layer is removed whole and
the sum is constant. At $P = \sum_k n_k$, or wherever the target is met with every layer at a bound, an interval of
multipliers supports the plan.
""",
    proofs=("pruning", "kernel"),
    facts=(
        Fact(
            r"$q = (\tfrac12, \tfrac12)$, unit sizes, $\eta = 1$: at $\lambda = \tfrac12$ the plan is",
            (Fraction(1, 2), Fraction(1, 2)),
            lambda: plan_at(two, Fraction(1, 2)),
        ),
        Fact(r"at $\lambda = 1$", (Fraction(1), Fraction(1)), lambda: plan_at(two, 1)),
        Fact(r"and at $\lambda = 2$ the same:", (Fraction(1), Fraction(1)), lambda: plan_at(two, 2)),
    ),
)
