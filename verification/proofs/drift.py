"""The regret over a whole box of scores, from the ends of its intervals."""

from __future__ import annotations

import sympy as sp

from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.program import MULTIPLIER
from zetaplan.spec.programs import programs
from zetaplan.spec.programs.allocation import ALLOCATION, gamma, w
from zetaplan.spec.programs.pruning import PRUNING, bits, eta, n
from zetaplan.spec.programs.pruning import w as v
from zetaplan.verification.proofs.proof import (
    Argument,
    Identity,
    Inequality,
    Proof,
    Theorem,
    above,
    at_least,
    at_most,
    below,
)

(capacity,), (sparsity,) = derive(ALLOCATION), derive(PRUNING)
gap, low_gap, high_gap, best, dual, value = sp.symbols(r"phi phi_l phi_h F_{opt} D_w F_w", real=True)
excess = sp.Symbol("s", real=True)
low_w, high_w = sp.symbols("w_l w_h", nonnegative=True)
theta, share, multiplier, relax, divisor, sizes = sp.symbols("theta t nu mu d S", nonnegative=True)
total, exponent, power = sp.symbols("s e p", positive=True)
gains, lows, highs = (sp.symbols(f"{name}_1:4", positive=True) for name in "gab")


def _linear(d: Derivation) -> Identity:
    """The objective at mixed weights is the mixed objective."""
    f, w = d.term.objective, d.term.weight
    return Identity(
        f"`{d.program.name}`: linear in the weight at a fixed plan.",
        f.subs(w, theta * low_w + (1 - theta) * high_w),
        theta * f.subs(w, low_w) + (1 - theta) * f.subs(w, high_w),
    )


PROOF = Proof(
    title="Regret over a box of scores",
    source="goes beyond the paper",
    statement=r"""
Keep a plan $x$ and a multiplier $\nu \ge 0$ fixed and let the weights $w$ range over a box. The regret of $x$ at $w$
is at most the duality gap

$$F_w(x) - D_w(\nu) = \sum_k \varphi_k(w_k) + \sigma \nu B, \qquad \varphi_k(w_k) = f_k(x_k; w_k) \allowbreak -
\min_y \bigl[ f_k(y; w_k) + \sigma \nu r_k(y) \bigr],$$

with $B$ the budget or target, and every $\varphi_k$ is convex in $w_k$. So over the box the gap is largest where
every $w_k$ is at an end of its interval: $2K$ evaluations bound the regret for all scores in the box, and the
result holds for every choice of $\nu$.
""",
    steps=(
        Inequality(
            "Weak duality: $D_w$ is the least of all values of the Lagrangian, also of that at the optimum $F_{opt}$ "
            r"for these weights, which keeps the constraint ($s \le 0$). So the gap bounds the regret.",
            at_most(value - best, value - dual),
            given=(at_least(best + multiplier * excess, dual), at_most(excess, sp.Integer(0))),
        ),
        *(_linear(d) for program in programs().values() for d in derive(program)),
        Theorem(
            r"A minimum over $y$ of functions that are linear in $w_k$ is concave in $w_k$, whether or not the box "
            r"clips $y$. So $\varphi_k$, linear minus concave, is "
            "convex.",
            names=("Transfer.minimum_concave",),
        ),
        Identity(
            "Inside the box this is explicit: the curvature of the allocation's dual term, from its closed form,",
            sp.Derivative(capacity.dual, (w, 2)),
            -gamma / w,
        ),
        Inequality("This curvature is negative.", below(-gamma / w, sp.Integer(0))),
        Identity(
            "The curvature of the dual term of pruning, from its closed form.",
            sp.Derivative(sparsity.dual, (v, 2)),
            -((bits + MULTIPLIER) ** 2) * n**2 / (2 * eta * v**3),
        ),
        Inequality(
            "This curvature is negative if the total price is positive.",
            below(-((bits + MULTIPLIER) ** 2) * n**2 / (2 * eta * v**3), sp.Integer(0)),
            given=(above(bits + MULTIPLIER, sp.Integer(0)),),
        ),
        Inequality(
            "A convex function is largest at an end of an interval.",
            at_most(gap, sp.Max(low_gap, high_gap)),
            given=(at_most(gap, theta * low_gap + (1 - theta) * high_gap), at_most(theta, sp.Integer(1))),
        ),
        Theorem(
            "The sum separates over the layers, so the largest sum has every layer at its own worst end.",
            names=("Transfer.dual_ends",),
        ),
        Argument(
            "Two weights of one layer have an interval each: of one gain raised to two exponents all four corners "
            "count. Shares on the simplex are inside their box, so the bound covers them; as it treats the "
            "intervals as independent, it may be larger than the worst regret.",
            why="it describes the set of scores, and nothing is computed",
        ),
        Inequality(
            r"Relative to the best objective, where that is positive ($t \ge 0$): from $F_w(x) \le (1 + t) D_w$ "
            r"follows $R \le t F^{*}$.",
            at_most(value - best, share * best),
            given=(at_most(value, (1 + share) * dual), at_most(dual, best)),
        ),
        Inequality(
            r"Where it is negative, as in an allocation, and $t \le 1$: from $F_w(x) \le (1 - t) D_w$ follows "
            r"$R \le t |F^{*}|$.",
            at_most(value - best, -share * best),
            given=(at_most(value, (1 - share) * dual), at_most(dual, best), at_most(share, sp.Integer(1))),
        ),
        Inequality(
            r"Intervals $[a_k, b_k]$ of gains that are not normalised, three layers: the share of the first is at "
            r"least",
            at_least(gains[0] / sum(gains), lows[0] / (lows[0] + highs[1] + highs[2])),
            given=(at_least(gains[0], lows[0]), at_most(gains[1], highs[1]), at_most(gains[2], highs[2])),
        ),
        Inequality(
            "The share of the first is at most",
            at_most(gains[0] / sum(gains), highs[0] / (highs[0] + lows[1] + lows[2])),
            given=(at_most(gains[0], highs[0]), at_least(gains[1], lows[1]), at_least(gains[2], lows[2])),
        ),
        Inequality(
            r"The bound can use that the shares sum to one. Let $S$ be a sum of sizes that is at most 1 there, and "
            r"$d \ge 0$ the divisor of the regret. If this expression is at most 0 for some $\mu \ge 0$, it bounds the "
            r"gap $\varphi$.",
            at_most(gap, share * divisor),
            given=(at_most(gap - share * divisor + relax * (1 - sizes), sp.Integer(0)), at_most(sizes, sp.Integer(1))),
        ),
        Argument(
            "If $d$ and $S$ are concave in every weight, the left side is convex in every weight, so it is again "
            "largest at the ends ([halving a box](boxes.md)).",
            why="it draws a conclusion from the steps that it names",
        ),
        Identity(
            "Gains can replace shares if $F$ is homogeneous of degree $e$ in them: the regret at the shares is "
            "that at the gains over $s^e$, $s$ their sum. The curvature of $s^e$ is",
            sp.Derivative(total**exponent, (total, 2)),
            exponent * (exponent - 1) * total ** (exponent - 2),
        ),
        Inequality(
            r"The curvature of $s^e$ is not negative for $e \ge 1$ ($p = s^{e - 2} > 0$).",
            at_least(exponent * (exponent - 1) * power, sp.Integer(0)),
            given=(at_least(exponent, sp.Integer(1)),),
        ),
        Inequality(
            r"The curvature of $s^e$ is not positive for $e \le 1$.",
            at_most(exponent * (exponent - 1) * power, sp.Integer(0)),
            given=(at_most(exponent, sp.Integer(1)),),
        ),
        Theorem(
            r"So $s^e \ge 1 + e (s - 1)$ for $e \ge 1$, the tangent at 1. For $e < 1$ and any $c_k > 0$ that sum to "
            r"1, Jensen gives $s^e = (\sum_k c_k \frac{g_k}{c_k})^e \allowbreak \ge \sum_k c_k (\frac{g_k}{c_k})^e "
            r"\allowbreak = \sum_k c_k^{1-e} g_k^e$.",
            names=("Tangents.power_convex", "Tangents.power_concave", "Rates.jensen"),
        ),
        Argument(
            r"In the weights $w_k = g_k^e$ both are concave, and serve as $d$.",
            why="a sum of concave powers, and a sum with constant factors",
        ),
    ),
)
