"""C22: the stated constants of the allocation."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.allocation import allocation
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import optimum

ALPHA, GAMMA = 0.5, 0.9


def stated(quality: list[float], cost: float) -> tuple[Fraction, ...]:
    """The plan with the stated constants and a large budget."""
    return optimum(allocation(quality, cost, 1000.0, alpha=ALPHA, gamma=GAMMA))


CLAIM = Claim(
    claim=r"The stated constants, $\alpha = 0.5$ and $\gamma = 0.9$, with normalised gains give useful allocations.",
    verdict=Verdict.REFUTED,
    finding=r"""
A layer gets capacity only if $q_k^\beta > \frac{\alpha}{\gamma} c_k = \frac59 c_k$. Shares sum to 1, so at unit cost
at most one layer satisfies this, and for $c_k \ge 1.8$ none. With costs in parameters or FLOPs the plan is zero for
every score and every budget. With $\alpha = 0$, the default here, the budget is always used and $\gamma$ cancels.
""",
    proofs=("allocation", "knobs"),
    tests=("tests/solvers/test_laws.py::test_without_a_price_the_constraint_binds",),
    facts=(
        Fact("Four equal layers at unit cost, budget 1000:", (Fraction(0),) * 4, lambda: stated([1, 1, 1, 1], 1.0)),
        Fact(
            r"$q = (\tfrac{1}{16}, \tfrac{15}{16})$ at cost 2:",
            (Fraction(0), Fraction(0)),
            lambda: stated([1, 15], 2.0),
        ),
        Fact(
            r"With $\alpha = 0$ four equal layers get",
            (Fraction(250),) * 4,
            lambda: optimum(allocation([1, 1, 1, 1], 1.0, 1000.0, gamma=GAMMA)),
        ),
    ),
)
