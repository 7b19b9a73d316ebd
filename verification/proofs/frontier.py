"""The whole trade-off curve: closed form between its breakpoints, slope equal to the multiplier."""

from __future__ import annotations

import sympy as sp

from zetaplan.spec.allocation import ALLOCATION, alpha, c, gamma, m, w
from zetaplan.spec.pruning import PRUNING, bits, eta, n, rho
from zetaplan.spec.pruning import w as v
from zetaplan.verification.proofs.proof import Argument, Identity, Inequality, Proof, at_least, at_most

B, P = ALLOCATION.limit, PRUNING.limit
w1, w2, c1, c2, n1, n2 = sp.symbols("w_1 w_2 c_1 c_2 n_1 n_2", positive=True)
rate = sp.Symbol("r", positive=True)
W, C = w1 + w2, c1 + c2


def total(objective: sp.Expr, symbols: tuple[sp.Symbol, ...], layers: tuple[tuple[sp.Expr, ...], ...]) -> sp.Expr:
    """The objective of several layers."""
    return sum(objective.subs(dict(zip(symbols, layer, strict=True)), simultaneous=True) for layer in layers)


value = total(
    ALLOCATION.terms[0].objective,
    (m, w, c),
    (((B + C) * w1 / (c1 * W) - 1, w1, c1), ((B + C) * w2 / (c2 * W) - 1, w2, c2)),
)
N = n1**2 / w1 + n2**2 / w2
cost = total(PRUNING.terms[0].objective, (rho, v, n), ((P * n1 / (w1 * N), w1, n1), (P * n2 / (w2 * N), w2, n2)))
Wj, Cj = sp.symbols("W_j C_j", positive=True)

PROOF = Proof(
    title="The frontier in closed form",
    source="goes beyond the paper",
    statement=r"""
Sort the layers of an allocation by $c_k / w_k$ and let $W_j$, $C_j$ be the sums of weights and costs of the first
$j$. For budgets between $B_j = \frac{c_j}{w_j} W_j - C_j$ and $B_{j+1}$ exactly the first $j$ layers are active, with
$m_k = \frac{(B + C_j) w_k}{c_k W_j} - 1$, the multiplier is $\lambda = \frac{\gamma W_j}{B + C_j} - \alpha$ until it
reaches 0, and the optimal value falls with slope $-\lambda$: it is convex in $B$. For pruning
$\rho_k = P n_k / (w_k N)$ between two breakpoints, and the optimal value rises with slope
$\lambda = 2 \eta P / N - b$.
""",
    assumptions=("No floors; no caps within the piece considered. Two active layers stand for any number of them.",),
    steps=(
        Identity(
            "The optimal value of an allocation on a piece with two active layers, from the declaration: its slope is "
            "minus the multiplier.",
            sp.Derivative(value, B),
            alpha - gamma * W / (B + C),
        ),
        Identity(
            "The slope rises with the budget: the value is convex on the piece.",
            sp.Derivative(value, (B, 2)),
            gamma * W / (B + C) ** 2,
        ),
        Identity(
            r"Where the next layer becomes active, $B = \frac{c}{w} W_j - C_j$ with its own cost and weight, its "
            r"capacity is 0,",
            sp.Subs((B + Cj + c) * w / (c * (Wj + w)) - 1, B, c / w * Wj - Cj),
            sp.Integer(0),
        ),
        Identity(
            "and the price is the same from both sides: the slope of the value has no jump.",
            sp.Subs(Wj / (B + Cj), B, c / w * Wj - Cj),
            sp.Subs((Wj + w) / (B + Cj + c), B, c / w * Wj - Cj),
        ),
        Inequality(
            "The breakpoints are in the order of the quotients: a later layer has a larger one.",
            at_most(rate * Wj - Cj, c / w * (Wj + w) - (Cj + c)),
            given=(at_most(rate, c / w),),
        ),
        Identity(
            "Pruning, two layers inside their box, from the declaration: the slope of the optimal value is the "
            "multiplier.",
            sp.Derivative(cost, P),
            2 * eta * P / N - bits,
        ),
        Inequality(
            "It rises with the target,",
            at_least(2 * eta / N, sp.Integer(0)),
        ),
        Argument(
            "and a layer that reaches its cap leaves the piece continuously, for the same reason. More active layers "
            "add more terms of the same form. "
            r"One sort gives all breakpoints, running sums give $W_j$ and $C_j$, a query is a search among the "
            r"breakpoints."
        ),
    ),
)
