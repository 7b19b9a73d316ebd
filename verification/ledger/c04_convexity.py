"""C4: the allocation program is convex and has no duality gap."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.allocation import allocation
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import multiplier, optimum

CLAIM = Claim(
    claim="The allocation program is convex, Slater's condition holds, and so does strong duality.",
    verdict=Verdict.CORRECTED,
    finding=r"""
The claim holds for $B > 0$. At $B = 0$ no plan is strictly feasible, so Slater's condition fails. Strong duality holds
nevertheless, because the constraint is affine. The optimum is the plan 0, and every $\lambda \ge \max(0,
\max_k \gamma q_k^\beta / c_k - \alpha)$ is an optimal multiplier.
""",
    proofs=("allocation", "certificate"),
    tests=("tests/solvers/test_rational.py::test_budget_of_zero_is_supported_by_a_least_multiplier",),
    facts=(
        Fact(
            r"$q = (\tfrac14, \tfrac34)$, unit costs, $\alpha = 0$: at $B = 0$ the plan is",
            (Fraction(0), Fraction(0)),
            lambda: optimum(allocation([1, 3], 1.0, 0.0)),
        ),
        Fact(
            "At $B = 6$ the multiplier is",
            Fraction(1, 8),
            lambda: multiplier(allocation([1, 3], 1.0, 6.0)),
        ),
    ),
)
