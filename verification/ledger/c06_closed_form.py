"""C6: the closed form of the allocation."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.allocation import allocation
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import optimum, plan_at

CLAIM = Claim(
    claim=(
        r"The optimal allocation is $m_k = \max(\gamma q_k^\beta / ((\alpha + \lambda) c_k) - 1, 0)$ (Eqs. 12 and "
        r"13)."
    ),
    verdict=Verdict.PROVED,
    finding=(
        r"The claim holds for $\alpha + \lambda > 0$. With a box per layer the same value is clipped to the box "
        r"inside the program."
    ),
    proofs=("allocation", "certificate"),
    tests=("tests/spec/test_derivation.py::test_closed_forms_of_the_paper",),
    facts=(
        Fact(
            r"$q = (\tfrac18, \tfrac38, \tfrac12)$, $c = (1, 1, 2)$, $B = 4$: the optimum is",
            (Fraction(0), Fraction(2), Fraction(1)),
            lambda: optimum(allocation([1, 3, 4], [1, 1, 2], 4.0)),
        ),
        Fact(
            r"The closed form at $\lambda = \tfrac18$ is",
            (Fraction(0), Fraction(2), Fraction(1)),
            lambda: plan_at(allocation([1, 3, 4], [1, 1, 2], 4.0), Fraction(1, 8)),
        ),
    ),
)
