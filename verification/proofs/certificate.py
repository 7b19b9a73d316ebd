"""The certificate theorem: what the checkers test is enough for optimality, and bounds what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator

import sympy as sp

from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.program import Program
from zetaplan.spec.programs import programs
from zetaplan.verification.proofs.proof import (
    Argument,
    Identity,
    Inequality,
    Proof,
    Step,
    above,
    at_least,
    at_most,
    below,
    equal,
    latex,
)

x, y, g, low, high = sp.symbols("x_k y_k g_k l_k h_k", real=True)
fx, fy, sx, sy = sp.symbols("F_x F_y s_x s_y", real=True)
multiplier, off = sp.symbols("lambda varepsilon", nonnegative=True)
gx, gs = sp.symbols("g g'", real=True)
change = sp.Symbol("d", real=True)
floor, cap = sp.symbols("mu nu", nonnegative=True)


def _convexity(name: str) -> list[Step]:
    """The second derivative of every objective, from the declaration, and its sign inside the box."""
    return [step for d in derive(programs()[name]) for step in (_curvature(name, d), _sign(d))]


def _curvature(name: str, d: Derivation) -> Identity:
    return Identity(
        f"`{name}`, the second derivative:",
        sp.Derivative(d.term.objective, (d.term.decision, 2)),
        d.second_derivative,
    )


def _sign(d: Derivation) -> Inequality:
    """Powers and logarithms without rational values stand as positive numbers e, which sympy knows them to be."""
    inside = sp.Symbol(str(d.term.decision), positive=True)
    curvature = d.second_derivative.subs(d.term.decision, inside)
    factors = sorted((f for f in curvature.atoms(sp.Pow, sp.exp, sp.log) if not _is_rational(f)), key=str)
    names = {f: sp.Symbol(f"e_{i}", positive=True) for i, f in enumerate(factors, start=1) if f.is_positive}
    where = "".join(f", with ${latex(e)} = {latex(factor)}$" for factor, e in names.items())
    return Inequality(
        f"is positive inside the box{where}.",
        above(curvature.subs(names), sp.Integer(0)),
        given=(*_poles(curvature), *_bounds(d.program, curvature)),
    )


def _is_rational(factor: sp.Expr) -> bool:
    return bool(factor.is_Pow and factor.exp.is_Integer)


def _poles(expression: sp.Expr) -> Iterator[sp.Basic]:
    """The denominator is not zero, where that is not plain: -log(1 - rho) ends at 1."""
    denominator = sp.fraction(sp.together(expression))[1]
    if not denominator.is_positive:
        yield above(denominator, sp.Integer(0))


def _bounds(program: Program, expression: sp.Expr) -> Iterator[sp.Basic]:
    """The strict bounds that a program declares for its knobs."""
    for knob in program.scalars:
        if knob.symbol in expression.free_symbols and math.isfinite(knob.above):
            yield above(knob.symbol, sp.nsimplify(knob.above))
        if knob.symbol in expression.free_symbols and math.isfinite(knob.below):
            yield below(knob.symbol, sp.nsimplify(knob.below))


PROOF = Proof(
    title="The certificate theorem",
    source="the conditions of Karush (1939) and Kuhn and Tucker (1951) for a separable program with one constraint",
    statement=r"""
Minimise $F(x) = \sum_k f_k(x_k)$, each $f_k$ convex, subject to $\sigma (\sum_k r_k(x_k) - R) \le 0$ with linear
$r_k$ and $l_k \le x_k \le h_k$. Let $g_k = f_k'(x_k) + \sigma \lambda r_k'$. If

* $x$ is within its box and keeps the constraint, and $\lambda \ge 0$,
* $g_k = 0$ where $l_k < x_k < h_k$, $g_k \ge 0$ where $x_k = l_k$, $g_k \le 0$ where $x_k = h_k$ (any sign where
  $l_k = h_k$),
* $\lambda (\sum_k r_k(x_k) - R) = 0$,

then no plan that keeps box and constraint has a smaller $F$. And for any plan $x$ whatever beside such an optimum
$x^{*}$ with multiplier $\lambda$,

$$F(x) - F(x^{*}) \;\le\; \sum_k |g_k|\, |x_k - x_k^{*}| \allowbreak + \lambda\, \sigma \Bigl(R - \sum_k
r_k(x_k)\Bigr), \qquad g_k \text{ at } x.$$
""",
    steps=(
        *(step for name in programs() for step in _convexity(name)),
        Argument(
            r"So the objectives are convex, and for $w_k = 0$ affine. "
            r"A convex function lies above its tangents: $f_k(y) \ge f_k(x_k) + f_k'(x_k) (y - x_k)$, and so does the "
            r"Lagrangian of a layer, in which the "
            r"resource is linear: $L_k(y) - L_k(x_k) \ge g_k (y - x_k)$."
        ),
        Inequality(
            "Inside the box, at the floor, at the cap: no other value within the box has a smaller Lagrangian.",
            at_least(g * (y - x), sp.Integer(0)),
            given=(
                at_least(y, low),
                at_most(y, high),
                sp.Or(
                    sp.And(sp.Eq(x, low), at_least(g, 0)),
                    sp.And(sp.Eq(x, high), at_most(g, 0)),
                    sp.And(above(x, low), below(x, high), sp.Eq(g, 0)),
                    sp.And(sp.Eq(x, low), sp.Eq(x, high)),
                ),
            ),
        ),
        Argument(
            r"Summed over the layers, with $s_x = \sigma (\sum_k r_k(x_k) - R)$: "
            r"$F_y + \lambda s_y \ge F_x + \lambda s_x$ for every $y$ in the box."
        ),
        Inequality(
            "With complementary slackness and the constraint kept, optimality follows.",
            at_least(fy, fx),
            given=(at_least(fy + multiplier * sy, fx + multiplier * sx), equal(multiplier * sx, 0), at_most(sy, 0)),
        ),
        Inequality(
            r"Conversely every optimal plan $y$ has the smallest Lagrangian at this $\lambda$, that of $x$: where the "
            r"Lagrangian has one minimiser, the program has.",
            at_most(fy + multiplier * sy, fx + multiplier * sx),
            given=(at_most(fy, fx), at_most(sy, 0), equal(multiplier * sx, 0)),
        ),
        Inequality(
            "Without complementary slackness it does not hold to the last digit, but no plan is better by more than "
            "the multiplier times what is left over.",
            at_most(fx - fy, -multiplier * sx),
            given=(at_least(fy + multiplier * sy, fx + multiplier * sx), at_most(sy, 0)),
        ),
        Inequality(
            r"Beside the optimum: convexity at $x$ bounds a layer's excess by its slope times its distance ($d$ is "
            r"$L_k(x_k) - L_k(x_k^{*})$, $y_k$ is $x_k^{*}$).",
            at_most(change, sp.Max(g, -g) * sp.Max(x - y, y - x)),
            given=(at_most(change, g * (x - y)),),
        ),
        Inequality(
            r"Added up ($\varepsilon$ is the sum over the layers), and with complementary slackness at the optimum, "
            r"the bound on the gap.",
            at_most(fx - fy, off - multiplier * sx),
            given=(at_most(fx + multiplier * sx - fy - multiplier * sy, off), equal(multiplier * sy, 0)),
        ),
        Inequality(
            r"Where the slope rises with $x$, its sign at two points tells on which side the zero lies ($g$ at $x_k$, "
            r"$g'$ at $y_k$).",
            below(x, y),
            given=(below(gx, 0), at_least(gs, 0), sp.Or(at_least(x, y) & at_least(gx, gs), below(x, y))),
        ),
        Inequality(
            r"The signs are those of box multipliers $\mu, \nu \ge 0$ with $g = \mu - \nu$: both forms of the "
            r"conditions say the same.",
            at_least((floor - cap) * (y - x), sp.Integer(0)),
            given=(
                at_least(y, low),
                at_most(y, high),
                equal(floor * (x - low), 0),
                equal(cap * (high - x), 0),
            ),
        ),
    ),
    remark=r"""
`zp.check_certificate` tests these conditions in fractions, for the doubles that the document holds, with the standard
library alone.
""",
)
