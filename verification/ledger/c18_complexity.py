"""C18: the cost of the algorithms."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.allocation import allocation
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import bracket, evaluations, multiplier

GAINS = [100.0 + k for k in range(32)]  # with caps, 64 bends, all different
BUDGETS = [2.0**-8, *(half / 2 for half in range(1, 64))]
third = allocation([1, 3], 1.0, 4.0)


def most_evaluations() -> tuple[int, bool]:
    """The largest number over all budgets; and whether the piece contains the root for each."""
    counts, holds = zip(*(evaluations(allocation(GAINS, 1.0, budget, upper=1.0)) for budget in BUDGETS), strict=True)
    return max(counts), all(holds)


CLAIM = Claim(
    claim=r"Both programs are solved by bisection in $O(K \log(1/\varepsilon))$.",
    verdict=Verdict.PROVED,
    finding=r"""
The claim holds, and less suffices. The sum is piecewise linear in one level with at most $2K$ bends, so a sort and at
most $\lceil \log_2 (2K + 1) \rceil$ evaluations of the sum give the multiplier in fractions, without a tolerance
$\varepsilon$.
""",
    proofs=("kernel",),
    tests=(
        ("tests/solvers/test_exact.py::test_bisection_agrees_with_rational_arithmetic"),
        "tests/solvers/test_exact.py::test_agrees_with_rational_arithmetic_on_a_thousand_instances",
    ),
    facts=(
        Fact(
            "$K = 32$ layers with caps, 64 budgets between floors and caps: the largest number of evaluations until "
            "the piece is found, and whether it always contains the root:",
            (7, True),
            most_evaluations,
        ),
        Fact(
            r"$q = (\tfrac14, \tfrac34)$, unit costs, $B = 4$: the end of the bracket and the multiplier are",
            (Fraction(3, 4), Fraction(1, 6)),
            lambda: (bracket(third), multiplier(third)),
        ),
        Fact(
            "Bisection of the bracket never reaches it, because its share of the bracket is not dyadic:",
            Fraction(2, 9),
            lambda: multiplier(third) / bracket(third),
        ),
    ),
)
