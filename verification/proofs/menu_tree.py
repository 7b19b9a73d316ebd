"""Menus: why a tree of sweeps proves that a choice is optimal."""

from __future__ import annotations

import sympy as sp

from zetaplan.verification.proofs.proof import Inequality, Proof, Theorem, above, at_least, at_most, below

loss, goal, least, reduced = sp.symbols("F G m d", real=True)
cost, budget = sp.symbols("C B", real=True)
part, rest, spent, ahead, bound = sp.symbols("L l C_0 c rho", real=True)
better, cheaper = sp.symbols("L' C_0'", real=True)
left, right = sp.symbols("b_1 b_2", real=True)
multiplier = sp.Symbol("lambda", nonnegative=True)
whole, known = sp.symbols("n N", integer=True)
limit = sp.Symbol("R", real=True)

PROOF = Proof(
    title="Menus: soundness of the tree",
    source="method 10; Pisinger 1995",
    statement=r"""
Let a choice within the budget lose $N$ (all losses are whole numbers in a small unit, as doubles are). Suppose that a
tree covers all choices, that every branch splits the options of one menu into parts that cover them, and that in every
leaf a sweep over the menus, which drops partial choices only by the rules below, ends with none. Then no choice within
the budget loses less than $N$. With the goal $G = N - g - 1$ in place of $N - 1$: none loses less than $N - g$.
""",
    steps=(
        Inequality(
            "Better means better by one unit.",
            at_most(whole, known - 1),
            given=(below(whole, known),),
        ),
        Inequality(
            "**Branch.** A choice takes an option of one of the parts. The least of their bounds bounds all.",
            at_least(loss, sp.Min(left, right)),
            given=(sp.Or(at_least(loss, left), at_least(loss, right)),),
        ),
        Inequality(
            r"**Reduced cost.** A choice with an option that is $d$ above the least of its menu at $\lambda$ loses at "
            r"least $D(\lambda) + d$: where this exceeds the goal, the option is struck off.",
            at_least(loss, least - multiplier * budget + reduced),
            given=(at_least(loss + multiplier * cost, least + reduced), at_most(cost, budget)),
        ),
        Inequality(
            r"**Bound.** A partial choice of loss $L$ and cost $C_0$, completed by a loss $l$ and a cost $c$, of "
            r"which $\rho$ is the least of $l + \lambda c$, loses at least $L + \lambda C_0 + \rho - \lambda B$: where "
            "this exceeds the goal, it is dropped.",
            at_least(part + rest, part + multiplier * spent + bound - multiplier * budget),
            given=(at_least(rest + multiplier * ahead, bound), at_most(spent + ahead, budget)),
        ),
        Inequality(
            r"**Dominance.** A partial choice that costs no more can be completed by whatever completes the other,",
            at_most(cheaper + ahead, budget),
            given=(at_most(cheaper, spent), at_most(spent + ahead, budget)),
        ),
        Inequality(
            "and if it loses no more, it reaches the goal where the other one does. The other one is dropped.",
            at_most(better + rest, goal),
            given=(at_most(better, part), at_most(part + rest, goal)),
        ),
        Inequality(
            r"**Units.** Where all sums are multiples of a unit, a limit $R$ (budget or goal, in that unit) can be "
            r"replaced by the largest whole number $N \le R$.",
            at_most(whole, known),
            given=(at_most(whole, limit), below(limit, known + 1)),
        ),
        Theorem(
            "A sweep adds every menu that is left in its leaf, one by one. By induction, after each a choice of "
            "the leaf that keeps the budget and reaches the goal is a completion of a partial choice that is still "
            "there, or there is another such choice of which this holds. So where none is left there is no such choice "
            "in the leaf, and by the branches none at all.",
            names=("Leaf.sweep_sound", "Tree.walk_sound", "Menus.check_menu_sound"),
        ),
        Inequality(
            "**Several budgets.** The bounds hold with vectors. Dominance is used only between equal costs, where it "
            "needs the losses alone: a choice that loses more than one that reaches the goal is not needed.",
            above(better + rest, goal),
            given=(at_least(better, part), above(part + rest, goal)),
        ),
    ),
    remark=r"""
The checker applies these rules in whole numbers. What the file gives is the order of the menus and some multipliers, a
few kilobytes; the partial choices are made anew, and none of them is believed.
""",
)
