"""Halving a box of scores: the regret of a plan is convex in the weights."""

from __future__ import annotations

import sympy as sp

from zetaplan.verification.proofs.proof import Argument, Identity, Inequality, Proof, Theorem, at_least, at_most, equal

theta, other = sp.symbols("theta phi", nonnegative=True)
share = sp.Symbol("t", nonnegative=True)
mixed, first, second = sp.symbols("F F_1 F_2", real=True)  # objective of the plan
answer, answer_1, answer_2 = sp.symbols("G G_1 G_2", real=True)  # objective of the best plan for the mixed weights
best, best_1, best_2 = sp.symbols("B B_1 B_2", real=True)
regret, regret_1, regret_2 = sp.symbols("R R_1 R_2", real=True)
divisor, divisor_1, divisor_2 = sp.symbols("d d_1 d_2", real=True)
gap, low, high, low_proved, high_proved = sp.symbols("h h_1 h_2 t_1 t_2", real=True)
corners = sp.symbols("h_11 h_12 h_21 h_22", real=True)
w, a, b, d_a, d_b = sp.symbols("w a b d_a d_b", real=True)


def between(weight: sp.Expr, one: sp.Expr, two: sp.Expr) -> sp.Expr:
    """The mean with the weight on the first."""
    return weight * one + (1 - weight) * two


def chord(start: sp.Expr, end: sp.Expr, at_start: sp.Expr, at_end: sp.Expr) -> sp.Expr:
    """The line through two points, at w."""
    return at_start + (at_end - at_start) * (w - start) / (end - start)


inside = (at_most(theta, sp.Integer(1)),)
middle, middle_divisor = (a + b) / 2, (d_a + d_b) / 2

PROOF = Proof(
    title="Halving a box of scores",
    source="goes beyond the paper",
    statement=r"""
Keep a plan $x$ fixed. Its regret $R(w) = F_w(x) - \min_y F_w(y)$, with $y$ over the box and the limit of the program,
is convex in all weights $w$ together, and so is $R - t d$ for $t \ge 0$ and a divisor $d$ that is concave in them. So
over a box of weights it is largest at a corner, and

* the worst over the box is the larger of the worsts over two boxes, in which one weight is held at either end;
* each of the two may be bounded with a multiplier of its own, and the larger bound holds for the whole box.

If the sum of the shares is used as well, the two boxes are the halves of the interval and cover the whole box.
""",
    assumptions=(
        r"Box and limit of the plan do not depend on the weights. $w_k = q_k^e$ rises with the score, so the ends of a "
        "score's interval are those of its weight's. Under two exponents the two weights of a layer have an interval "
        "each.",
    ),
    steps=(
        Argument(
            "At a fixed plan $F_w$ is linear in the weights: checked for every declared program as the first steps of "
            "[regret over a box](drift.md).",
            why="it refers to the page where it is checked for every program",
        ),
        Inequality(
            r"Let $y$ be best for the mixed weights, with objectives $G$, $G_1$, $G_2$ there and at both ends. The "
            "best objective $B$ is concave.",
            at_least(best, between(theta, best_1, best_2)),
            given=(
                equal(best, answer),
                equal(answer, between(theta, answer_1, answer_2)),
                at_least(answer_1, best_1),
                at_least(answer_2, best_2),
                *inside,
            ),
        ),
        Inequality(
            "So the regret is convex.",
            at_most(mixed - best, between(theta, first - best_1, second - best_2)),
            given=(equal(mixed, between(theta, first, second)), at_least(best, between(theta, best_1, best_2))),
        ),
        Inequality(
            "The regret minus a concave divisor is convex.",
            at_most(
                regret - share * divisor,
                between(theta, regret_1 - share * divisor_1, regret_2 - share * divisor_2),
            ),
            given=(
                at_most(regret, between(theta, regret_1, regret_2)),
                at_least(divisor, between(theta, divisor_1, divisor_2)),
            ),
        ),
        Inequality(
            r"Relative to a best objective below 0 the divisor is $-B$, which is convex, not concave. There $R + t B = "
            r"F - (1 - t) B$, convex for $t \le 1$.",
            at_most(
                mixed - best + share * best,
                between(theta, first - best_1 + share * best_1, second - best_2 + share * best_2),
            ),
            given=(
                equal(mixed, between(theta, first, second)),
                at_least(best, between(theta, best_1, best_2)),
                at_most(share, sp.Integer(1)),
            ),
        ),
        Inequality(
            r"Two weights: the value at a point of a rectangle is at most that at one of its four corners.",
            at_most(gap, sp.Max(*corners)),
            given=(
                at_most(gap, between(theta, low, high)),
                at_most(low, between(other, corners[0], corners[1])),
                at_most(high, between(other, corners[2], corners[3])),
                *inside,
                at_most(other, sp.Integer(1)),
            ),
        ),
        Theorem(
            "For any number of weights the step is repeated weight by weight. Every corner of the box is a corner of "
            "one of the two "
            "boxes in which one weight is held at an end.",
            names=("Transfer.convex_ends_decide", "Transfer.branching"),
        ),
        Inequality(
            r"The larger of the bounds $t_1$, $t_2$ of the two boxes holds for both, however they were proved.",
            at_most(gap, sp.Max(low_proved, high_proved)),
            given=(at_most(gap, sp.Max(low, high)), at_most(low, low_proved), at_most(high, high_proved)),
        ),
        Argument(
            "If the sum of the shares is used, the set is the part of the box with that sum, and its corners need "
            "not be "
            "corners of the box. The two halves then are the interval below and above the middle, which needs no "
            "convexity. In each half divisor and sizes are replaced by the line through their values at the ends.",
            why="it describes the set of scores, and nothing is computed",
        ),
        Inequality(
            "A concave divisor is at least that line, so the bound with the line is the weaker one.",
            at_most(regret, share * divisor),
            given=(
                at_most(regret, share * between(theta, divisor_1, divisor_2)),
                at_least(divisor, between(theta, divisor_1, divisor_2)),
            ),
        ),
        Identity(
            "The mean of both ends is on the line, and the lower half has the same line.",
            chord(a, middle, d_a, middle_divisor),
            chord(a, b, d_a, d_b),
        ),
        Identity(
            "The upper half has the same line.",
            chord(middle, b, middle_divisor, d_b),
            chord(a, b, d_a, d_b),
        ),
    ),
)
