"""If the constraint binds, the strengths and the declared prices cancel."""

from __future__ import annotations

import sympy as sp

from zetaplan.spec.derivation import TOTAL_PRICE, derive
from zetaplan.spec.programs.allocation import ALLOCATION, alpha, c, gamma, w
from zetaplan.spec.programs.pruning import PRUNING, bits, eta, n
from zetaplan.spec.programs.pruning import w as v
from zetaplan.verification.proofs.proof import Argument, Identity, Inequality, Proof, Theorem, above, at_most, below

(capacity,), (sparsity,) = derive(ALLOCATION), derive(PRUNING)
W, C, N = sp.symbols("W C N", positive=True)
B, P = ALLOCATION.limit, PRUNING.limit
u = sp.Symbol("u", positive=True)

budget_level = sp.solve(sp.expand(c * (capacity.slope * u + capacity.offset)).subs({w: W, c: C}) - B, u)[0]
target_level = P / sp.expand(n * sparsity.slope).subs(n, sp.sqrt(N)).subs(v, 1)
allocated = sp.Subs(capacity.slope * u + capacity.offset, u, budget_level)
pruned = sp.Subs(sparsity.slope * u + sparsity.offset, u, target_level)

PROOF = Proof(
    title="The knobs cancel",
    source="goes beyond the paper",
    statement=r"""
Let $A$ be the layers inside their box at the optimum of a binding program, and let $B$ or $P$ be the limit minus the
use of the layers at a bound. With $W = \sum_A w_k$, $C = \sum_A c_k$ and $N = \sum_A n_k^2 / w_k$,

$$m_k = \frac{(B + C)\, w_k}{c_k W} - 1, \qquad \rho_k = \frac{P\, n_k}{w_k N} \qquad (k \in A).$$

The plan does not contain $\alpha$, $\gamma$, $b$ or $\eta$. They decide only whether the constraint binds. It binds
for every budget if $\alpha = 0$ and some layer with weight has no cap, and for every attainable target
$P > \sum n_k l_k$ if $b = 0$ and all weights are positive.
""",
    steps=(
        Identity(
            r"The use of a layer inside its box at level $u = 1 / (\alpha + \lambda)$, from the "
            r"declaration.",
            c * (capacity.slope * u + capacity.offset),
            gamma * w * u - c,
        ),
        Theorem(r"Summed over $A$: $\gamma W u - C = B$.", names=("Sums.sum_line",)),
        Identity("The level that solves it.", sp.Subs(gamma * W * u - C, u, budget_level), B),
        Identity("This level gives the plan.", allocated, (B + C) * w / (c * W) - 1),
        Identity(r"The plan does not depend on $\gamma$.", sp.Derivative(allocated, gamma), sp.Integer(0)),
        Identity(r"The plan does not depend on $\alpha$.", sp.Derivative(allocated, alpha), sp.Integer(0)),
        Identity(
            "The multiplier depends on both.",
            sp.Subs(capacity.inverse_level, TOTAL_PRICE, budget_level),
            gamma * W / (B + C) - alpha,
        ),
        Inequality(
            r"The multiplier is positive, and the constraint binds, up to a budget that depends on $\alpha$.",
            above(gamma * W / (B + C) - alpha, sp.Integer(0)),
            given=(below(alpha * (B + C), gamma * W),),
        ),
        Inequality(
            "Beyond that budget it would not be positive.",
            at_most(gamma * W / (B + C) - alpha, sp.Integer(0)),
            given=(above(alpha * (B + C), gamma * W),),
        ),
        Identity(
            r"The contribution of a layer inside its box to the target at level $u = b + \lambda$, from the "
            r"declaration.",
            sp.Mul(n, sparsity.slope * u + sparsity.offset, evaluate=False),
            n**2 / v * u / (2 * eta),
        ),
        Theorem(r"Summed over $A$: $N u / (2 \eta) = P$.", names=("Sums.sum_line",)),
        Identity("The level that solves it.", sp.Subs(N * u / (2 * eta), u, target_level), P),
        Identity("This level gives the plan.", pruned, P * n / (v * N)),
        Identity(r"The plan does not depend on $\eta$.", sp.Derivative(pruned, eta), sp.Integer(0)),
        Identity("The plan does not depend on $b$.", sp.Derivative(pruned, bits), sp.Integer(0)),
        Identity(
            "The multiplier depends on both.",
            sp.Subs(sparsity.inverse_level, TOTAL_PRICE, target_level),
            2 * eta * P / N - bits,
        ),
        Argument(
            r"Steps 4 and 13 hold for any layer, also for one outside $A$: they give its value without its box. So the "
            r"side of every layer, and with it $A$, does not depend on the knobs."
            r"",
            why="it draws a conclusion from the steps that it names",
        ),
    ),
)
