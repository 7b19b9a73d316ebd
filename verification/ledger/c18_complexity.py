"""The cost of the algorithms."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.allocation import allocation
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import multiplier

LAYERS = 32

CLAIM = Claim(
    claim=r"Both programs are solved by bisection in $O(K \log(1/\varepsilon))$.",
    verdict=Verdict.PROVED,
    finding=r"""
True, and more than is needed: the sum is piecewise linear in one price with at most $2K$ bends, so a finite search
gives the exact multiplier, with no $\varepsilon$ at all: a sort and $\lceil \log_2 (2K + 1) \rceil$ evaluations of
the sum.
""",
    proofs=("kernel",),
    tests=(
        ("tests/solvers/test_exact.py::test_bisection_agrees_with_rational_arithmetic"),
        "tests/solvers/test_exact.py::test_agrees_with_rational_arithmetic_on_a_thousand_instances",
    ),
    facts=(
        Fact(
            ("$K = 32$: evaluations that find the piece, and with it the exact root,"),
            7,
            lambda: (2 * LAYERS).bit_length(),
        ),
        Fact(
            r"$q = (\tfrac14, \tfrac34)$, unit costs, $B = 4$: the exact multiplier, which no halving of the bracket "
            r"$[0, \tfrac34]$ ever meets, is",
            Fraction(1, 6),
            lambda: multiplier(allocation([1, 3], 1.0, 4.0)),
        ),
    ),
)
