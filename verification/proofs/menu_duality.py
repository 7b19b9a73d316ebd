"""Menus: every multiplier bounds every choice from below."""

from __future__ import annotations

import sympy as sp

from zetaplan.verification.proofs.proof import Inequality, Proof, Theorem, at_least, at_most

loss, other, best, dual = sp.symbols("F F' F_{opt} D", real=True)
first, second = sp.symbols("w_1 w_2", real=True)
least = sp.Symbol("m", real=True)
cost, budget, used, room = sp.symbols("C B C' B'", real=True)
one, two = sp.symbols("c_1 c_2", real=True)
multiplier, weight = sp.symbols("lambda mu", nonnegative=True)

PROOF = Proof(
    title="Menus: weak duality",
    source="Everett (1963)",
    statement=r"""
Block $k$ takes one option $j$ of its menu, with loss $w_{kj}$ and cost $c_{kj}$; the costs must add up to at most $B$.
For every $\lambda \ge 0$

$$D(\lambda) = \sum_k \min_j \bigl( w_{kj} + \lambda c_{kj} \bigr) - \lambda B$$

is at most the loss of every choice within the budget. So a choice of loss $F$ within the budget is within $F -
D(\lambda)$ of the optimum, and optimal if this is 0. With several budgets $\lambda$, $c_{kj}$ and $B$ are vectors.
""",
    steps=(
        Inequality(
            "One block: its smallest loss plus priced cost is at most that of the option taken. Two options suffice:",
            at_most(sp.Min(first + multiplier * one, second + multiplier * two), second + multiplier * two),
        ),
        Theorem(
            r"Added up over the blocks: $m = \sum_k \min_j (w_{kj} + \lambda c_{kj}) \le F + \lambda C$, with $F$ and "
            r"$C$ the loss and the cost of the choice.",
            names=("Sweep.weak_duality", "Sweep.dual_bound"),
        ),
        Inequality(
            r"A choice that costs at most $B$ loses at least $D = m - \lambda B$.",
            at_most(least - multiplier * budget, loss),
            given=(at_most(least, loss + multiplier * cost), at_most(cost, budget)),
        ),
        Inequality(
            "With two budgets, and by the same step with any number:",
            at_most(least - multiplier * budget - weight * room, loss),
            given=(
                at_most(least, loss + multiplier * cost + weight * used),
                at_most(cost, budget),
                at_most(used, room),
            ),
        ),
        Inequality(
            "So no choice within the budget is better than one of loss $F$ by more than $F - D$.",
            at_least(other, loss - (loss - dual)),
            given=(at_least(other, dual),),
        ),
        Inequality(
            "If the two are equal, that choice is optimal.",
            at_most(loss, other),
            given=(at_most(loss, dual), at_least(other, dual)),
        ),
    ),
    remark=r"""
Losses, costs, budget and $\lambda$ are rational (doubles are), so $D(\lambda)$ is computed without rounding: plan and
$\lambda$ are a proof that anybody can add up.
""",
)
