"""C5: uniqueness of the minimiser of the allocation program."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.spec.programs.allocation import allocation
from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import multiplier, objective, optimum

capped = allocation([1, 0], 1.0, 3.0, upper=[1.0, 5.0])
free = allocation([1, 0], 1.0, 3.0)

CLAIM = Claim(
    claim="The allocation objective is strictly convex and its minimiser is unique.",
    verdict=Verdict.CORRECTED,
    finding=r"""
The claim holds if every $q_k > 0$ (or $\beta = 0$). With $q_k = 0$ the objective is affine in $m_k$, so strict
convexity fails. The minimiser is still unique if the total price is positive, $\alpha + \lambda > 0$. Without caps
this holds whenever some $q_j > 0$. It is not unique if and only if $\alpha = 0$, every layer with weight is at its
cap, and part of the budget is left for a layer without weight.
""",
    proofs=("allocation",),
    tests=("tests/solvers/test_rational.py::test_unique_unless_a_free_resource_is_left_to_layers_without_weight",),
    facts=(
        Fact(
            "$q = (1, 0)$, unit costs, $B = 3$, caps $(1, 5)$: the plans $(1, 0)$ and $(1, 2)$ differ in their "
            "objective by",
            0,
            lambda: objective(capped, [1, 0]) - objective(capped, [1, 2]),
        ),
        Fact("Without caps the optimum is", (Fraction(3), Fraction(0)), lambda: optimum(free)),
        Fact("and its multiplier is", Fraction(1, 4), lambda: multiplier(free)),
    ),
)
