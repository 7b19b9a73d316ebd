"""Menus: one sort gives the relaxation's value for every budget."""

from __future__ import annotations

import sympy as sp

from zetaplan.verification.proofs.proof import Argument, Identity, Inequality, Proof, at_least, at_most

fall, rise = sp.symbols("f r", positive=True)
loss, spent, budget = sp.symbols("F_j C_j B", real=True)
other, cost = sp.symbols("F C", real=True)
steep, flat = sp.symbols(r"lambda \lambda'", nonnegative=True)
slope = fall / rise
share = (budget - spent) / rise

PROOF = Proof(
    title="Menus: the frontier of all budgets",
    source="Sinha and Zoltners (1979)",
    statement=r"""
Sort the steps of all hulls by falling rate. After $j$ steps the choice has cost $C_j$ and loss $F_j$; let the next step
cost $r$ and save $f$. For $C_j \le B \le C_j + r$ the relaxation has the value $F_j - \frac{f}{r} (B - C_j)$: it is
piecewise linear and convex in $B$, its slope is minus the multiplier, and at every $C_j$ the choice itself is optimal.
With $n$ options the frontier takes $O(n \log n)$ operations, a query $O(\log n)$.
""",
    steps=(
        Identity(
            r"The share $t = (B - C_j) / r$ of the next step uses the budget up",
            spent + sp.Mul(share, rise, evaluate=False),
            budget,
        ),
        Identity(
            "and has the loss",
            (1 - share) * loss + share * (loss - fall),
            loss - slope * (budget - spent),
        ),
        Identity(
            r"which is the dual bound at $\lambda = f / r$, where every menu stops at its smallest value (as in the "
            "[gap of one step](menu_step.md)).",
            loss + slope * spent - slope * budget,
            loss - slope * (budget - spent),
        ),
        Argument(
            "So it is the value of the relaxation. At $B = C_j$ the share is 0: no choice of this cost has a loss "
            "below $F_j$.",
            why="it draws a conclusion from the steps that it names",
        ),
        Inequality(
            "The curve is convex: beyond the end of a step it is above the line of that step, because the rates fall.",
            at_least(loss - flat * (budget - spent), loss - steep * (budget - spent)),
            given=(at_most(flat, steep), at_least(budget, spent)),
        ),
        Inequality(
            r"Every choice is on the curve or above it: its loss $F$ at cost $C$ is above every line of the curve.",
            at_least(other, loss - steep * (cost - spent)),
            given=(at_least(other + steep * cost, loss + steep * spent),),
        ),
        Inequality(
            "Multiplier and value fall from step to step, so more budget never increases the loss.",
            at_least(loss, loss - steep * (budget - spent)),
            given=(at_least(budget, spent),),
        ),
        Argument(
            r"The hulls take $O(n \log n)$ by one sort of each menu, the steps one more sort. Their sums are stored, "
            "and a binary search finds a budget among them.",
            why="it counts operations, and the theory has no model of computation",
        ),
    ),
    remark=r"""
For small menus `pareto_front` lists the choices between two breakpoints, which are above the curve.
""",
)
