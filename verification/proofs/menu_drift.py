"""Menus: what a choice can lose while losses stay in intervals."""

from __future__ import annotations

import sympy as sp

from zetaplan.verification.proofs.proof import Argument, Inequality, Proof, at_least, at_most

value, best, dual = sp.symbols("F F_{opt} D", real=True)
taken, other, high, low = sp.symbols("w_x w_j h_x l_j", real=True)
ct, co = sp.symbols("c_x c_j", real=True)
multiplier, second, share = sp.symbols("lambda mu t", nonnegative=True)


def gap(mine: sp.Expr, rival: sp.Expr, at: sp.Expr = multiplier) -> sp.Expr:
    """How far the option taken is above the least of its menu."""
    return mine + at * ct - sp.Min(mine + at * ct, rival + at * co)


PROOF = Proof(
    title="Menus: regret over intervals of losses",
    source="goes beyond the paper",
    statement=r"""
Let every loss $w_{kj}$ range over $[l_{kj}, h_{kj}]$; keep a choice $x$ within the budget and $\lambda \ge 0$ fixed.
For all losses in the box the regret of $x$ is at most

$$\sum_k \Bigl( h_{k,x} + \lambda c_{k,x} - \min \bigl( h_{k,x} + \lambda c_{k,x}, \min_{j \ne x} ( l_{kj} + \lambda
c_{kj} ) \bigr) \Bigr) + \lambda \bigl( B - C(x) \bigr).$$

This is the duality gap of $x$ at one vertex of the box: its own options at their highest, all others at their lowest.
The regret itself is largest at that vertex. The bound is convex in $\lambda$, so its least value can be found.
""",
    steps=(
        Inequality(
            "Weak duality, for the losses as they are: the gap bounds the regret.",
            at_most(value - best, value - dual),
            given=(at_most(dual, best),),
        ),
        Inequality(
            "One block with one other option: its part of the gap is largest at the vertex.",
            at_most(gap(taken, other), gap(high, low)),
            given=(at_most(taken, high), at_least(other, low)),
        ),
        Inequality(
            "The part of every block is at least zero. It states how much the block matters.",
            at_least(gap(high, low), sp.Integer(0)),
        ),
        Argument(
            r"With more options the smallest of all others replaces the one. The parts and $\lambda$ times the unused "
            "budget add up to the bound.",
            why="it draws a conclusion from the steps that it names",
        ),
        Inequality(
            r"The regret against one other choice $y$ is a sum of $w_{k,x} - w_{k,y}$ over the blocks in which they "
            "differ. It is largest at the vertex too,",
            at_most(taken - other, high - low),
            given=(at_most(taken, high), at_least(other, low)),
        ),
        Argument(
            "and so is its largest value over all choices within the budget: the worst regret is $F(x)$ minus the "
            "optimum, both at the vertex. One exact solution gives it; the bound above is its relaxation.",
            why="it draws a conclusion from the steps that it names",
        ),
        Inequality(
            r"Convex in $\lambda$: between two multipliers the bound is at most the mixture of the bounds.",
            at_most(
                gap(high, low, share * multiplier + (1 - share) * second),
                share * gap(high, low) + (1 - share) * gap(high, low, second),
            ),
            given=(at_most(share, sp.Integer(1)),),
        ),
    ),
    remark=r"""
The proof of the bound is the certificate of $x$ on the menus at the vertex; the same checker checks it.
""",
)
