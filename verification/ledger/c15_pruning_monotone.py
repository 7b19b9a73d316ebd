"""C15: monotonicity of the number of removed parameters in the multiplier."""

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
The sum is strictly increasing only while some layer is inside its box. For every
$\lambda \ge \max_k 2 \eta q_k^\kappa / n_k - b$ all layers are removed completely and the sum is constant. At
$P = \sum_k n_k$, or if every layer is at a bound and the target is met, an interval of multipliers is optimal.
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
