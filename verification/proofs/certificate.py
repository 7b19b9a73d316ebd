"""The certificate theorem: the conditions that the checkers test imply optimality and bound the gap."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from zetaplan.spec.derivation import Derivation, derive
from zetaplan.spec.programs import programs
from zetaplan.verification.proofs.proof import (
    Identity,
    Inequality,
    Proof,
    Step,
    Theorem,
    above,
    at_least,
    at_most,
    below,
    equal,
)
from zetaplan.verification.proofs.quotients import rate, second_rate
from zetaplan.verification.proofs.signs import sign

x, y, g, low, high = sp.symbols("x_k y_k g_k l_k h_k", real=True)
fx, fy, sx, sy = sp.symbols("F_x F_y s_x s_y", real=True)
multiplier, off = sp.symbols("lambda varepsilon", nonnegative=True)
gx, gs = sp.symbols("g g'", real=True)
change = sp.Symbol("d", real=True)
floor, cap = sp.symbols("mu nu", nonnegative=True)


def _convexity(d: Derivation) -> Iterator[Step]:
    """Slope and second derivative of an objective by definition, and the sign of the second derivative."""
    name, x = d.program.name, d.term.decision
    yield Identity(f"`{name}`, the slope of the Lagrangian:", rate(d.lagrangian, x), d.stationarity)
    yield Identity(
        f"`{name}`, the second derivative of the objective:", second_rate(d.term.objective, x), d.second_derivative
    )
    inside = d.second_derivative.subs(x, sp.Symbol(str(x), positive=True))
    yield sign("The second derivative is positive inside the box", above, inside, d.program)


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

then no plan that keeps box and constraint has a smaller $F$. For any plan $x$ and such an optimum $x^{*}$
with multiplier $\lambda$,

$$F(x) - F(x^{*}) \;\le\; \sum_k |g_k|\, |x_k - x_k^{*}| \allowbreak + \lambda\, \sigma \Bigl(R - \sum_k
r_k(x_k)\Bigr), \qquad g_k \text{ at } x.$$
""",
    steps=(
        *(step for program in programs().values() for d in derive(program) for step in _convexity(d)),
        Theorem(
            r"Each limit is that of a difference quotient of the declaration; no rule of differentiation enters it. "
            r"So the objectives are convex, and for $w_k = 0$ affine. "
            r"A convex function lies above its tangents: $f_k(y) \ge f_k(x_k) + f_k'(x_k) (y - x_k)$, and so does the "
            r"Lagrangian of a layer, in which the "
            r"resource is linear: $L_k(y) - L_k(x_k) \ge g_k (y - x_k)$.",
            names=(
                "Tangents.log_tangent",
                "Tangents.barrier_tangent",
                "Tangents.square_tangent",
                "Tangents.exponential_tangent_strictly",
                "Tangents.precision_tangent_strictly",
                "Tangents.power_convex",
                "Tangents.power_convex_at_0",
                "Tangents.power_concave",
                "Tangents.power_concave_at_0",
            ),
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
        Theorem(
            r"Summed over the layers, with $s_x = \sigma (\sum_k r_k(x_k) - R)$: "
            r"$F_y + \lambda s_y \ge F_x + \lambda s_x$ for every $y$ in the box.",
            names=("Separable.least_lagrangian",),
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
            "Without complementary slackness no plan has an objective smaller by more than the multiplier times the "
            "unused part of the limit.",
            at_most(fx - fy, -multiplier * sx),
            given=(at_least(fy + multiplier * sy, fx + multiplier * sx), at_most(sy, 0)),
        ),
        Inequality(
            r"For a plan that is not optimal, convexity at $x$ bounds a layer's excess by its slope times its "
            r"distance ($d$ is "
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
            r"Where the slope rises with $x$, its sign at two points determines the side of the zero ($g$ at $x_k$, "
            r"$g'$ at $y_k$).",
            below(x, y),
            given=(below(gx, 0), at_least(gs, 0), sp.Or(at_least(x, y) & at_least(gx, gs), below(x, y))),
        ),
        Inequality(
            r"The signs are those of box multipliers $\mu, \nu \ge 0$ with $g = \mu - \nu$: both forms of the "
            r"conditions are equivalent.",
            at_least((floor - cap) * (y - x), sp.Integer(0)),
            given=(
                at_least(y, low),
                at_most(y, high),
                equal(floor * (x - low), 0),
                equal(cap * (high - x), 0),
            ),
        ),
        Theorem(
            "The whole theorem for any number of layers: the plan is optimal, the gap of any other plan, and the "
            "layers whose value is the same in every optimum.",
            names=("Separable.certificate", "Separable.gap", "Separable.unique"),
        ),
        Theorem(
            "What the proved checker accepts is true: its conditions in fractions imply the claims of the certificate "
            "over the real numbers. The claim is defined in `verification/formal/theory/Layers.v`.",
            names=("Certified.check_layers_sound",),
        ),
    ),
    remark=r"""
`zp.check_certificate` tests these conditions in fractions, for the doubles that the document holds, with the standard
library alone. `zetaplan verify --formal` also runs the proved checker on them.
""",
)
