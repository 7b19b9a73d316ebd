"""The certificate theorem for pruning three layers in one statement, convexity and sums included."""

from __future__ import annotations

import sympy as sp

from zetaplan.spec.derivation import derive
from zetaplan.spec.program import MULTIPLIER
from zetaplan.spec.programs.pruning import PRUNING, n, rho, w
from zetaplan.verification.proofs.proof import Inequality, Proof, at_least, at_most, equal

LAYERS = 3
(derived,) = derive(PRUNING)
(term,), target = PRUNING.terms, PRUNING.limit

x, y, low, high = (sp.symbols(f"{name}_1:{LAYERS + 1}", nonnegative=True) for name in ("rho", "y", "l", "u"))
weights, sizes = (sp.symbols(f"{name}_1:{LAYERS + 1}", positive=True) for name in ("w", "n"))


def total(expression: sp.Expr, plan: tuple[sp.Symbol, ...]) -> sp.Expr:
    """The sum over the layers of an expression of the declaration."""
    return sum(expression.subs({rho: v, w: k, n: d}) for v, k, d in zip(plan, weights, sizes, strict=True))


def stands(layer: int) -> sp.Basic:
    """The layer is at the floor with slope >= 0, at the cap with slope <= 0, or stationary."""
    slope = derived.stationarity.subs({rho: x[layer], w: weights[layer], n: sizes[layer]})
    return sp.Or(
        sp.And(sp.Eq(x[layer], low[layer]), at_least(slope, sp.Integer(0))),
        sp.And(sp.Eq(x[layer], high[layer]), at_most(slope, sp.Integer(0))),
        sp.Eq(slope, 0),
    )


slopes = tuple(stands(k) for k in range(LAYERS))
slackness = equal(MULTIPLIER * (total(term.resource, x) - target), sp.Integer(0))
inside = tuple(part for k in range(LAYERS) for part in (at_least(y[k], low[k]), at_most(y[k], high[k])))
kept = at_least(total(term.resource, y), target)

PROOF = Proof(
    title="Three layers at once",
    source="an instance of the certificate theorem, without words",
    statement=r"""
For pruning three layers with any sizes, weights, box, target, $b$ and $\eta$: if every layer of the plan $\rho$
satisfies the condition on its slope and complementary slackness holds, no plan $y$ that keeps box and target has
a smaller objective. One formula of real arithmetic, decided as a whole: sums, convexity and the interplay of the
conditions are all checked here. Every condition is necessary for the statement.
""",
    steps=(
        Inequality(
            "Slopes of all three layers, complementary slackness, the box and the target for the other plan; from the "
            "declaration.",
            at_least(total(term.objective, y), total(term.objective, x)),
            given=(*slopes, slackness, *inside, kept),
        ),
    ),
    remark=r"""
The general theorem, for any number of layers and any convex objective, is [here](certificate.md); its sums over
layers are arguments in words.
""",
)
