"""The trade-off curve: closed form between its breakpoints, slope equal to the multiplier."""

from __future__ import annotations

import sympy as sp

from zetaplan.spec.derivation import derive
from zetaplan.spec.program import MULTIPLIER
from zetaplan.spec.programs.allocation import ALLOCATION, alpha, c, gamma, m, w
from zetaplan.spec.programs.pruning import PRUNING, bits, eta, n, rho
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
    equal,
)

B, P = ALLOCATION.limit, PRUNING.limit
W, C, N, N_next = sp.symbols("W_j C_j N N'", positive=True)
rate, own, cap = sp.symbols("r r_k u", positive=True)
(derived,) = derive(ALLOCATION)

capacity = (B + C) * w / (c * W) - 1
sparsity = P * n / (v * N)
multiplier = gamma * W / (B + C) - alpha
entry = c / w * W - C

PROOF = Proof(
    title="The frontier in closed form",
    source="goes beyond the paper",
    statement=r"""
Sort the layers of an allocation by $r_k = c_k / w_k$ and let $W_j$, $C_j$ be the sums of weights and costs of the
first $j$. For budgets between $B_j = r_j W_j - C_j$ and $B_{j+1} = r_{j+1} W_j - C_j$ the first $j$ layers and no
others are active, with $m_k = \frac{(B + C_j) w_k}{c_k W_j} - 1$, the multiplier is $\lambda = \frac{\gamma W_j}{B +
C_j} - \alpha$ until it reaches 0, and the optimal value falls with slope $-\lambda$: it is convex in $B$. For pruning
$\rho_k = P n_k / (w_k N)$ between two breakpoints, and the optimal value rises with slope $\lambda = 2 \eta P / N -
b$.
""",
    assumptions=(
        r"No floors. If some layers are at their cap, $B$ and $P$ are the limits minus their use, and the sums are "
        r"over the "
        r"layers inside their box; $N = \sum_k n_k^2 / w_k$.",
    ),
    steps=(
        Identity(
            "The slope of the Lagrangian is 0 for this plan and this multiplier, from the declaration: layers with "
            "positive $m_k$ are stationary.",
            sp.Subs(derived.stationarity, (m, MULTIPLIER), (capacity, multiplier)),
            sp.Integer(0),
        ),
        Inequality(
            r"The first $j$ are positive above $B_j$ ($r$ is the quotient of layer $j$, $r_k$ that of an earlier one).",
            above((B + C) / (own * W) - 1, sp.Integer(0)),
            given=(above(B, rate * W - C), at_most(own, rate)),
        ),
        Inequality(
            r"Up to $B_{j+1}$ the slope of the Lagrangian of every other layer ($r_k \ge r$, now that of layer $j + "
            r"1$) "
            "is not negative at $m_k = 0$.",
            at_least(derived.stationarity.subs({m: 0, MULTIPLIER: multiplier}), sp.Integer(0)),
            given=(at_most(B, rate * W - C), at_least(c / w, rate)),
        ),
        Theorem(
            r"The costs add up: $\sum_k c_k m_k = (B + C_j) - C_j = B$. So by the [certificate "
            r"theorem](certificate.md) the plan is optimal as long as $\lambda \ge 0$.",
            names=("Sums.sum_line", "Separable.certificate"),
        ),
        Identity(
            r"What a layer adds to the slope of the optimal value, from the declaration, is $-\lambda$ times its share "
            r"of the weight:",
            sp.Derivative(ALLOCATION.terms[0].objective.subs(m, capacity), B),
            w / W * (alpha - gamma * W / (B + C)),
        ),
        Argument(
            r"The shares sum to 1, so the slope is $-\lambda$, for any number of layers.",
            why="one division of a sum by itself",
        ),
        Inequality(
            r"It rises with the budget: the value is convex on the piece.",
            at_most(alpha - gamma * W / (B + C), alpha - gamma * W / (B + rate + C)),
        ),
        Identity(
            r"Where the next layer becomes active, $B = r W_j - C_j$ with its own quotient, its capacity is 0.",
            sp.Subs((B + C + c) * w / (c * (W + w)) - 1, B, entry),
            sp.Integer(0),
        ),
        Identity(
            "The level is the same from both sides, so the slope of the value has no jump.",
            sp.Subs(W / (B + C), B, entry),
            sp.Subs((W + w) / (B + C + c), B, entry),
        ),
        Inequality(
            "The breakpoints are in the order of the quotients: a later layer has a larger one.",
            at_most(rate * W - C, c / w * (W + w) - (C + c)),
            given=(at_most(rate, c / w),),
        ),
        Identity(
            r"Pruning, from the declaration: a layer inside its box adds $\lambda$ times its share of $N$ to the "
            "slope of the optimal value.",
            sp.Derivative(PRUNING.terms[0].objective.subs(rho, sparsity), P),
            n**2 / (v * N) * (2 * eta * P / N - bits),
        ),
        Inequality(
            r"The slope rises with the target on one piece.",
            below(2 * eta * P / N - bits, 2 * eta * (P + rate) / N - bits),
        ),
        Inequality(
            "A layer that reaches its cap $u$, where $P n_k / (w_k N) = u$, reduces $N$ by $n_k^2 / w_k$ and $P$ by "
            "$n_k u$, and the level does not change.",
            equal((P - n * cap) / N_next, P / N),
            given=(equal(P * n, cap * v * N), equal(N_next, N - n**2 / v)),
        ),
        Argument(
            r"One sort gives all breakpoints, running sums give $W_j$ and $C_j$, and a query is a search among the "
            r"breakpoints.",
            why="it counts operations, and the theory has no model of computation",
        ),
    ),
)
