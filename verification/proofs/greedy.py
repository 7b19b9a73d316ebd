"""Whole units: the greedy method is optimal at equal costs but not at unequal costs."""

from __future__ import annotations

import sympy as sp

from zetaplan.spec.programs.allocation import ALLOCATION, alpha, c, gamma, m, w
from zetaplan.verification.proofs.proof import (
    Identity,
    Inequality,
    Numeric,
    Proof,
    Theorem,
    above,
    at_least,
    at_most,
    equal,
)

objective = ALLOCATION.terms[0].objective
unit = sp.Symbol("i", integer=True, nonnegative=True)
gained, lost, next_one = sp.symbols("G L b", real=True)
value, other, threshold = sp.symbols("V V' theta", real=True)
used, others, room, count = sp.symbols("M M' N j", nonnegative=True)


def benefit(share: sp.Rational, units: int) -> sp.Expr:
    """w log(1 + m), the benefit of m whole units."""
    return share * sp.log(1 + units)


small, large = sp.Rational(3, 7), sp.Rational(4, 7)

PROOF = Proof(
    title="Whole units: where greedy is optimal",
    source="goes beyond the paper",
    statement=r"""
Let capacities be whole numbers. If all units cost the same, repeatedly taking the unit with the largest
benefit until the budget is used up (or no unit has a benefit) is optimal. If costs differ it is not optimal, neither by
benefit nor by benefit per cost.
""",
    steps=(
        Identity(
            "The benefit of one more unit, from the declaration.",
            objective - objective.subs(m, m + 1),
            gamma * w * sp.log((2 + m) / (1 + m)) - alpha * c,
        ),
        Inequality(
            "The benefit falls from unit to unit, because the quotient inside the logarithm falls.",
            above((2 + unit) / (1 + unit), (3 + unit) / (2 + unit)),
        ),
        Theorem(
            r"Let greedy end with $M$ of the $N$ units that the budget allows, and let $\theta \ge 0$ be the largest "
            "benefit of a possible next unit, or 0. As the next units' benefits only fall, every unit taken "
            r"brings at least $\theta$ and every one left at most $\theta$; and greedy stopped because $M = N$ or "
            r"because $\theta = 0$.",
            names=("Units.greedy_spec", "Units.threshold"),
        ),
        Inequality(
            r"Adding units to a layer brings at most $\theta$ each: from $j$ units to $j + 1$,",
            at_most(gained + next_one, (count + 1) * threshold),
            given=(at_most(gained, count * threshold), at_most(next_one, threshold)),
        ),
        Inequality(
            r"Removing units from a layer costs at least $\theta$ each.",
            at_least(lost + next_one, (count + 1) * threshold),
            given=(at_least(lost, count * threshold), at_least(next_one, threshold)),
        ),
        Theorem(
            r"Summed over the layers: any other plan, of $M'$ units and value $V'$, has $V' - V \le \theta (M' - M)$. "
            r"$\theta$ is the multiplier of the whole units.",
            names=("Units.greedy_optimal",),
        ),
        Inequality(
            "So no plan within the budget is better than greedy's.",
            at_most(other, value),
            given=(
                at_most(other - value, threshold * (others - used)),
                at_most(others, room),
                at_least(threshold, sp.Integer(0)),
                sp.Or(equal(used, room), equal(threshold, sp.Integer(0))),
            ),
        ),
        Numeric(
            r"**Unequal costs, by benefit per cost.** Two layers, $c = (2, 3)$, $q = (\tfrac37, \tfrac47)$, "
            r"$\beta = 1$, budget 3. Greedy takes a unit of "
            "layer 1, which brings more per cost.",
            above(benefit(small, 1) / 2, benefit(large, 1) / 3),
        ),
        Numeric(
            "The remaining budget of 1 buys no unit. A unit of layer 2 would have brought more.",
            above(benefit(large, 1), benefit(small, 1)),
        ),
        Numeric(
            r"**Unequal costs, by benefit.** $c = (1, 3)$, same shares and budget. Greedy takes a unit of layer 2, "
            r"which brings more.",
            above(benefit(large, 1), benefit(small, 1)),
        ),
        Numeric(
            "The remaining budget is 0. Three units of layer 1 would have brought more.",
            above(benefit(small, 3), benefit(large, 1)),
        ),
    ),
    remark=r"""
With unequal costs the problem is a nonlinear knapsack: a choice from menus with convex losses. `zp.solve_integer`
solves it as one, with a proof, and reports the gap to the continuous dual bound.
""",
)
