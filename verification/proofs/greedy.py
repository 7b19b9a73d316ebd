"""Whole units: greedy is optimal at equal costs, and is not at unequal ones."""

from __future__ import annotations

import sympy as sp

from zetaplan.spec.allocation import ALLOCATION, alpha, c, gamma, m, w
from zetaplan.verification.proofs.proof import Argument, Identity, Inequality, Numeric, Proof, above, at_least

objective = ALLOCATION.terms[0].objective
unit = sp.Symbol("i", integer=True, nonnegative=True)
taken, other, worst, best = sp.symbols("a b a_min b_max", real=True)
value, swapped = sp.symbols("V V'", real=True)


def benefit(share: sp.Rational, units: int) -> sp.Expr:
    """w log(1 + m), whole units taken from none."""
    return share * sp.log(1 + units)


small, large = sp.Rational(3, 7), sp.Rational(4, 7)

PROOF = Proof(
    title="Whole units: where greedy is optimal",
    source="goes beyond the paper",
    statement=r"""
Let capacities be whole numbers. If all units cost the same, taking the unit with the largest benefit again and again
until the budget is used up (or no unit benefits) is optimal. If costs differ it is not, neither by benefit nor by
benefit per cost.
""",
    steps=(
        Identity(
            "The benefit of one unit more, from the declaration.",
            objective - objective.subs(m, m + 1),
            gamma * w * sp.log((2 + m) / (1 + m)) - alpha * c,
        ),
        Inequality(
            "It falls from unit to unit, as the quotient inside the logarithm does.",
            above((2 + unit) / (1 + unit), (3 + unit) / (2 + unit)),
        ),
        Argument(
            "So a layer's units are worth taking in their order, and a plan of $N$ units at equal costs is any $N$ of "
            "all units: those of a layer "
            "can be taken to be its first ones, which are its best. Greedy takes the $N$ largest of all."
        ),
        Inequality(
            "Exchange: replacing a unit that greedy took by one that it did not take brings nothing, as the least "
            "benefit taken is at least the largest "
            "left.",
            at_least(value, swapped),
            given=(
                sp.Eq(swapped, value - taken + other, evaluate=False),
                at_least(taken, worst),
                at_least(best, other),
                at_least(worst, best),
            ),
        ),
        Argument(
            "Any plan is reached from greedy's by such exchanges and by leaving out units that benefit; none "
            "improves "
            "it."
        ),
        Numeric(
            r"**Unequal costs, by benefit per cost.** Two layers, $c = (2, 3)$, $q = (\tfrac37, \tfrac47)$, "
            r"$\beta = 1$, budget 3. Greedy takes a unit of "
            "layer 1, which brings more per cost,",
            above(benefit(small, 1) / 2, benefit(large, 1) / 3),
        ),
        Numeric(
            "and has 1 left, which buys nothing. A unit of layer 2 would have brought more.",
            above(benefit(large, 1), benefit(small, 1)),
        ),
        Numeric(
            r"**Unequal costs, by benefit.** $c = (1, 3)$, same shares and budget. Greedy takes a unit of layer 2, "
            r"which brings more,",
            above(benefit(large, 1), benefit(small, 1)),
        ),
        Numeric(
            "and nothing is left. Three units of layer 1 would have brought more.",
            above(benefit(small, 3), benefit(large, 1)),
        ),
    ),
    remark=r"""
With unequal costs the problem is a nonlinear knapsack. `zp.solve_integer` uses greedy where it is proved optimal,
dynamic programming or branch and bound where it is not, and reports the gap to the continuous dual bound.
""",
)
