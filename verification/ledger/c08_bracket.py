"""C8: the upper end of the bracket."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.allocation import allocation
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import bracket, multiplier, optimum

dear = allocation([1, 1], 1.0, 1.0, alpha=2.0)

CLAIM = Claim(
    claim=(
        r"The multiplier lies in $[0, \lambda_{\max}]$ with "
        r"$\lambda_{\max} = \max_k \gamma q_k^\beta / c_k - \alpha$."
    ),
    verdict=Verdict.CORRECTED,
    finding=r"""
The claim holds if $\lambda_{\max} \ge 0$. If $\lambda_{\max} < 0$, the declared price exceeds the benefit of every
unit, the bracket is empty, and the optimum is the plan 0 with $\lambda = 0$. With floors above 0 the upper end
differs.
""",
    proofs=("allocation",),
    tests=("tests/solvers/test_frontier.py::test_beyond_the_slack_point_the_curve_is_flat",),
    facts=(
        Fact(
            r"$q = (\tfrac12, \tfrac12)$, $c = \gamma = \beta = 1$, $\alpha = 2$: $\lambda_{\max}$ is",
            Fraction(-3, 2),
            lambda: bracket(dear),
        ),
        Fact("the optimum at $B = 1$ is", (Fraction(0), Fraction(0)), lambda: optimum(dear)),
        Fact("and its multiplier", Fraction(0), lambda: multiplier(dear)),
    ),
)
