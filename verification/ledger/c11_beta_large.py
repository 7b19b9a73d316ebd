"""C11: beta to infinity."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.allocation import allocation
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import optimum

CLAIM = Claim(
    claim=r"As $\beta \to \infty$ all capacity goes to the layers with the largest gain.",
    verdict=Verdict.REFUTED,
    finding=r"""
For $\alpha > 0$ no layer gets capacity (unless one has all the gain), because $q_k^\beta \to 0$ and the benefit falls
below the declared price. For $\alpha = 0$ the claim holds from some finite $\beta$ on, because only ratios of weights
matter.
""",
    proofs=("exponent",),
    facts=(
        Fact(
            r"$q = (\tfrac14, \tfrac34)$, $c = \gamma = 1$, $B = 10$, $\alpha = \tfrac12$: already at $\beta = 3$ the "
            r"plan is",
            (Fraction(0), Fraction(0)),
            lambda: optimum(allocation([1, 3], 1.0, 10.0, alpha=0.5, beta=3.0)),
        ),
        Fact(
            r"With $\alpha = 0$ it is then",
            (Fraction(0), Fraction(10)),
            lambda: optimum(allocation([1, 3], 1.0, 10.0, beta=3.0)),
        ),
    ),
)
