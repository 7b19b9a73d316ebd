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
    source="Pisinger (1995)",
    statement=r"""
Let a choice within the budget have the loss $N$ (all losses are whole numbers in a small unit, as doubles are). Suppose
that a tree covers all choices, that every branch splits the options of one menu into parts that cover them, and that in
every leaf a sweep over the menus, which drops partial choices only by the rules below, ends without any. Then no choice
within the budget has a loss below $N$. With the goal $G = N - g - 1$ in place of $N - 1$ none has a loss below $N - g$.
""",
    steps=(
        Inequality(
            "A better choice is better by at least one unit.",
            at_most(whole, known - 1),
            given=(below(whole, known),),
        ),
        Inequality(
            "**Branch.** A choice takes an option of one of the parts. The smallest of their bounds holds for all.",
            at_least(loss, sp.Min(left, right)),
            given=(sp.Or(at_least(loss, left), at_least(loss, right)),),
        ),
        Inequality(
            r"**Reduced cost.** A choice with an option that is $d$ above the smallest of its menu at $\lambda$ has a "
            r"loss of at least $D(\lambda) + d$. If this exceeds the goal, the option is removed.",
            at_least(loss, least - multiplier * budget + reduced),
            given=(at_least(loss + multiplier * cost, least + reduced), at_most(cost, budget)),
        ),
        Inequality(
            r"**Bound.** A partial choice of loss $L$ and cost $C_0$, completed by a loss $l$ and a cost $c$, of "
            r"which $\rho$ is the smallest $l + \lambda c$, has a loss of at least $L + \lambda C_0 + \rho - \lambda "
            r"B$. If this exceeds the goal, it is dropped.",
            at_least(part + rest, part + multiplier * spent + bound - multiplier * budget),
            given=(at_least(rest + multiplier * ahead, bound), at_most(spent + ahead, budget)),
        ),
        Inequality(
            r"**Dominance.** If a partial choice costs no more than another, every completion of the other fits it,",
            at_most(cheaper + ahead, budget),
            given=(at_most(cheaper, spent), at_most(spent + ahead, budget)),
        ),
        Inequality(
            "and if its loss is no larger, it reaches the goal whenever the other does. The other one is dropped.",
            at_most(better + rest, goal),
            given=(at_most(better, part), at_most(part + rest, goal)),
        ),
        Inequality(
            r"**Units.** If all sums are multiples of a unit, a limit $R$ (budget or goal, in that unit) can be "
            r"replaced by the largest whole number $N \le R$.",
            at_most(whole, known),
            given=(at_most(whole, limit), below(limit, known + 1)),
        ),
        Theorem(
            "A sweep adds every remaining menu of its leaf, one by one. By induction, after each menu the following "
            "holds: if some choice of the leaf keeps the budget and reaches the goal, then such a choice is a "
            "completion of a remaining partial choice. So if none remains, the leaf contains no such choice, and by "
            "the branches there is none at all.",
            names=("Leaf.sweep_sound", "Tree.walk_sound", "Menus.check_menu_sound"),
        ),
        Inequality(
            "**Several budgets.** The bounds hold with vectors. Dominance is used only between equal costs, where it "
            "needs only the losses: a choice with a larger loss than one that reaches the goal is not needed.",
            above(better + rest, goal),
            given=(at_least(better, part), above(part + rest, goal)),
        ),
    ),
    remark=r"""
The checker applies these rules in whole numbers. The file contains only the order of the menus and some multipliers, a
few kilobytes; the checker recomputes the partial choices.
""",
)
