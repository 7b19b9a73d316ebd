"""C12: monotonicity of capacity in the gain."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.allocation import allocation
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import optimum

CLAIM = Claim(
    claim="On the active set $m_k$ is strictly increasing in $q_k$.",
    verdict=Verdict.CORRECTED,
    finding=r"""
The claim holds at a fixed multiplier with $\beta > 0$. Between optima the multiplier changes as well:
$m_k = (B + C_A) w_k / (c_k W_A) - 1$ still rises strictly as long as another layer stays active, and only the ratios
of the gains count, so normalising them again changes nothing. A layer that is active alone has the whole
budget, and its capacity does not change.
""",
    proofs=("exponent", "knobs"),
    facts=(
        Fact(
            r"Unit costs, $B = 6$: $q_1$ from $\tfrac14$",
            (Fraction(1), Fraction(5)),
            lambda: optimum(allocation([1, 3], 1.0, 6.0)),
        ),
        Fact(r"to $\tfrac12$", (Fraction(3), Fraction(3)), lambda: optimum(allocation([1, 1], 1.0, 6.0))),
        Fact(
            r"$B = 1$: $q_1$ from $\tfrac34$",
            (Fraction(1), Fraction(0)),
            lambda: optimum(allocation([3, 1], 1.0, 1.0)),
        ),
        Fact(
            r"to $\tfrac78$, the plan does not change:",
            (Fraction(1), Fraction(0)),
            lambda: optimum(allocation([7, 1], 1.0, 1.0)),
        ),
    ),
)
