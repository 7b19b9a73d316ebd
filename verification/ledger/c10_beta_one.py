"""C10: beta = 1."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.allocation import allocation
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import optimum

CLAIM = Claim(
    claim=r"With $\beta = 1$ capacity is allocated proportionally to the normalised gains.",
    verdict=Verdict.REFUTED,
    finding=(
        r"On the active set $1 + m_k$ is proportional to $q_k / c_k$. Capacity $m_k$ rises faster than the gain, and "
        r"layers with a small gain get none."
    ),
    proofs=("exponent",),
    facts=(
        Fact(
            r"$q = (\tfrac14, \tfrac34)$, unit costs, $B = 6$: 3 times the gain gives 5 times the capacity:",
            (Fraction(1), Fraction(5)),
            lambda: optimum(allocation([1, 3], 1.0, 6.0)),
        ),
        Fact(
            "With $B = 2$ the layer with a third of the gain of the other gets nothing:",
            (Fraction(0), Fraction(2)),
            lambda: optimum(allocation([1, 3], 1.0, 2.0)),
        ),
    ),
)
