"""Menus: the choice of the relaxation is off by less than one step of one hull."""

from __future__ import annotations

import sympy as sp

from zetaplan.verification.proofs.proof import (
    Identity,
    Inequality,
    Proof,
    Theorem,
    above,
    at_least,
    at_most,
    below,
    equal,
)

loss, cost, budget = sp.symbols("F C B", real=True)
a, b, p = sp.symbols("w_a w_b w_p", real=True)
ca, cb, cp = sp.symbols("c_a c_b c_p", real=True)
multiplier, share = sp.symbols("lambda t", nonnegative=True)
fall, rise, spare = sp.symbols("f r s", real=True)

PROOF = Proof(
    title="Menus: the gap is less than one step of a hull",
    source="Sinha and Zoltners (1979)",
    statement=r"""
Draw every menu's options as points (cost, loss) and take the lower left hull. Its steps fall in rate (loss per cost).
Take the steps of all menus in the order of their rates until the first one does not fit, and let $\lambda$ be its rate
$f / r$, with $f$ the loss that it would save and $r$ what it would cost. The choice made is within $\lambda s < f$ of
the optimum, with $s < r$ the unused budget. If the whole budget is used, or every step is taken, it is optimal.
""",
    steps=(
        Inequality(
            r"A step that was taken has a rate of at least $\lambda$, so its end is no worse at $\lambda$.",
            at_most(b + multiplier * cb, a + multiplier * ca),
            given=(at_least(a - b, multiplier * (cb - ca)),),
        ),
        Inequality(
            r"A step that was not taken has a rate of at most $\lambda$, so its start is no worse.",
            at_most(a + multiplier * ca, b + multiplier * cb),
            given=(at_most(a - b, multiplier * (cb - ca)),),
        ),
        Inequality(
            "An option above a segment of the hull is no better than the better end of that segment.",
            at_least(p + multiplier * cp, sp.Min(a + multiplier * ca, b + multiplier * cb)),
            given=(
                equal(cp, share * ca + (1 - share) * cb),
                at_least(p, share * a + (1 - share) * b),
                at_most(share, sp.Integer(1)),
            ),
        ),
        Theorem(
            r"Rates fall along a hull, so the vertex where a menu stops has its smallest value at $\lambda$.",
            names=("Search.least_vertex",),
        ),
        Inequality(
            "An option with a larger cost and a larger loss than a vertex is no better than that vertex.",
            at_least(p + multiplier * cp, a + multiplier * ca),
            given=(at_least(p, a), at_least(cp, ca)),
        ),
        Identity(
            r"So $D(\lambda) = F + \lambda C - \lambda B$ for the choice of loss $F$ and cost $C$, and its gap is",
            loss - (loss + multiplier * cost - multiplier * budget),
            multiplier * (budget - cost),
        ),
        Inequality(
            r"With $s = B - C$ left over: less than the loss that the step would have saved,",
            below(multiplier * spare, fall),
            given=(equal(multiplier * rise, fall), below(spare, rise), above(multiplier, sp.Integer(0))),
        ),
        Inequality(
            "and nothing if all of the budget is used.",
            at_most(multiplier * (budget - cost), sp.Integer(0)),
            given=(at_most(budget, cost),),
        ),
        Identity(
            r"If all steps were taken, $\lambda = 0$ and the gap is 0 as well.",
            sp.Subs(multiplier * (budget - cost), multiplier, 0),
            sp.Integer(0),
        ),
    ),
    remark=r"""
On 252 tensors with six types each the gap was 0.005% to 0.055% of the loss.
""",
)
