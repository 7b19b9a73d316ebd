"""C7: monotonicity of the use of the budget in the multiplier."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.allocation import allocation
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import plan_at

two = allocation([1, 1], 1.0, 1.0)

CLAIM = Claim(
    claim=r"$\sum_k c_k m_k(\lambda)$ is strictly decreasing in $\lambda$, so $\lambda$ is unique.",
    verdict=Verdict.CORRECTED,
    finding=r"""
The sum is strictly decreasing only while some layer is inside its box. It is 0 for every
$\lambda \ge \max_k \gamma q_k^\beta / c_k - \alpha$. At a budget $B > 0$ without caps a layer is active at the root, so
$\lambda$ is unique. At $B = 0$, or if every layer is at a bound, an interval of multipliers is optimal.
""",
    proofs=("allocation", "kernel"),
    tests=("tests/solvers/test_rational.py::test_limit_at_the_caps_costs_nothing_more",),
    facts=(
        Fact(
            r"$q = (\tfrac12, \tfrac12)$, unit costs: at $\lambda = \tfrac14$ the plan is",
            (Fraction(1), Fraction(1)),
            lambda: plan_at(two, Fraction(1, 4)),
        ),
        Fact(r"at $\lambda = \tfrac12$", (Fraction(0), Fraction(0)), lambda: plan_at(two, Fraction(1, 2))),
        Fact(r"and at $\lambda = 1$ the same,", (Fraction(0), Fraction(0)), lambda: plan_at(two, 1)),
    ),
)
