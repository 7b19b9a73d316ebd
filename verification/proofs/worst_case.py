"""Lower bound on the proved worst case of every plan over a box of scores, from one mixture of scores."""

from __future__ import annotations

import sympy as sp

from zetaplan.verification.proofs.proof import Identity, Inequality, Proof, Theorem, above, at_least, at_most, below

chance = sp.Symbol("theta", nonnegative=True)
share, multiplier, other = sp.symbols("t lambda nu", nonnegative=True)
low, high = sp.symbols("h_1 h_2", real=True)
objective, dual, excess = sp.symbols("F D_nu s", real=True)
duals, answers, uses = (sp.symbols(f"{name}_1:3", real=True) for name in ("D", "f", "s"))
mean_dual, paid, divisor = sp.symbols("D_lambda A d", real=True)
over, room, drawn = sp.symbols("s r theta", nonnegative=True)
factor = sp.Symbol("varphi", real=True)


def mean(ends: tuple[sp.Expr, ...]) -> sp.Expr:
    """Over the two ends of an interval."""
    return (1 - chance) * ends[0] + chance * ends[1]


PROOF = Proof(
    title="A lower bound on the worst case of every plan",
    source="goes beyond the paper",
    statement=r"""
Let `regret_bound` prove with a single multiplier $\lambda$ for a whole box, in which every decision has its own
weights, that the regret of a plan $x$ is at most $t d$. Let every weight be at the higher end of its interval with
some probability, otherwise at the lower end. Let $D(\nu)$ be the dual function at the mean weights, and $A$ the mean
of $f_k(y_k)$ over the ends, for a decision $y_k$ at each end, such that their mean use keeps the limit. Then for all
$x$, $\lambda$, probabilities, $\nu \ge 0$ and such decisions,

$$t \;\ge\; \frac{D(\nu) - A}{\bar d}, \qquad \bar d > 0 \text{ the mean of } d.$$

So no plan improves on the plan of `robust` by more than the difference, which is its `gap`.
""",
    steps=(
        Inequality(
            "An inequality that holds at every end holds for the mean.",
            at_most(mean((low, high)), sp.Integer(0)),
            given=(
                at_most(low, sp.Integer(0)),
                at_most(high, sp.Integer(0)),
                at_most(chance, sp.Integer(1)),
            ),
        ),
        Theorem(
            r"So the mean of $F_w(x) - D_w(\lambda) - t d_w$ over the corners is at most 0. All three are sums over "
            "the decisions, so the mean over the corners is a sum of means over two ends.",
            names=("Corners.mean_at_most", "Corners.mean_of_sum"),
        ),
        Identity(
            "$F$ is linear in the weights ([regret over a box](drift.md)), so its mean is $F$ at the mean weights. For "
            "a decision with the loss $\\varphi$ per weight:",
            mean((low * factor, high * factor)),
            mean((low, high)) * factor,
        ),
        Inequality(
            r"There weak duality holds at $\nu$, as $x$ keeps the limit.",
            at_least(objective, dual),
            given=(at_least(objective + other * excess, dual), at_most(excess, sp.Integer(0))),
        ),
        Inequality(
            r"The mean of the dual at $\lambda$ is at most the mean objective of any decisions $y_k$ whose mean use "
            "keeps the limit, because their Lagrangian is at least the smallest one.",
            at_most(mean(duals), mean(answers)),
            given=(
                *(at_most(d, f + multiplier * s) for d, f, s in zip(duals, answers, uses, strict=True)),
                at_most(mean(uses), sp.Integer(0)),
                at_most(chance, sp.Integer(1)),
            ),
        ),
        Inequality(
            "Together:",
            at_least(share, (dual - paid) / divisor),
            given=(
                at_most(objective - mean_dual - share * divisor, sp.Integer(0)),
                at_least(objective, dual),
                at_most(mean_dual, paid),
                above(divisor, sp.Integer(0)),
            ),
        ),
        Identity(
            "Decisions that exceed the limit by $s$ are moved towards the bounds of least use, which leave $r$ of the "
            "limit. The use is linear in the decisions, and this share of the distance meets the limit with equality.",
            sp.Subs((1 - drawn) * over - drawn * room, drawn, over / (over + room)),
            sp.Integer(0),
        ),
        Inequality(
            "A smaller share exceeds the limit, so the decisions are moved by the least possible share.",
            above((1 - drawn) * over - drawn * room, sp.Integer(0)),
            given=(below(drawn, over / (over + room)),),
        ),
    ),
)
