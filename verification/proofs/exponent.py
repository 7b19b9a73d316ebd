"""The exponent beta: plans at beta = 0, at beta = 1 and as beta tends to infinity."""

from __future__ import annotations

import sympy as sp

from zetaplan.spec.derivation import derive
from zetaplan.spec.program import MULTIPLIER
from zetaplan.spec.programs.allocation import ALLOCATION, alpha, beta, c, gamma, w
from zetaplan.verification.proofs.proof import Argument, Identity, Inequality, Proof, above, at_most, below

(derived,) = derive(ALLOCATION)
q, q1, q2 = sp.symbols("q_k q_1 q_2", positive=True)
share, ratio, power = sp.symbols("s x e", positive=True)
most = sp.Symbol("m_1", nonnegative=True)
B, C, W, rest = sp.symbols("B C W V", positive=True)
at_exponent = derived.closed_form.subs(w, q**beta)
binding = (B + C) * w / (c * (w + rest)) - 1
below_one = 1 / (1 + sp.Symbol("r", positive=True))

PROOF = Proof(
    title="The effect of the exponent",
    source="'Role of beta' in Section 2.3 and the last sentence of Theorem 2 of the paper",
    statement=r"""
On the active set of an allocation:

* $\beta = 0$: the plan depends on the costs alone.
* $\beta = 1$: $1 + m_k$ is proportional to $q_k / c_k$; $m_k$ itself is not.
* $\beta \to \infty$: with $\alpha > 0$ every layer with a share below 1 has capacity 0. With $\alpha = 0$
  the layer with the largest share gets the whole budget, if that layer is unique.
* At a fixed multiplier $m_k$ rises strictly with $q_k$ if $\beta > 0$. If the multiplier is solved for
  again, it rises strictly if some other layer stays active. A layer that is active alone has $m_k = B / c_k$ for any
  gain. The plan depends only on ratios of weights, so normalising the gains does not change it.
""",
    assumptions=(r"No floors and no caps; $c_k > 0$, $\gamma > 0$, $B > 0$; all $q_k > 0$.",),
    steps=(
        Identity(
            r"$\beta = 0$: the gain drops out of the closed form.",
            sp.Derivative(at_exponent.subs(beta, 0), q),
            sp.Integer(0),
        ),
        Identity(
            r"$\beta = 1$: $1 + m_k$ is proportional to $q_k / c_k$.",
            sp.Subs(1 + derived.closed_form, w, q),
            sp.Mul(gamma / (alpha + MULTIPLIER), q / c, evaluate=False),
        ),
        Identity(
            r"The capacity per gain differs between layers by $1 / q_k$ (at unit costs).",
            at_exponent.subs({beta: 1, c: 1}) / q,
            gamma / (alpha + MULTIPLIER) - 1 / q,
        ),
        Identity(
            r"$\beta \to \infty$ with $\alpha > 0$: a share below 1, written $1 / (1 + r)$, has a weight that "
            r"tends to 0.",
            sp.Limit(gamma * below_one**beta / c, beta, sp.oo),
            sp.Integer(0),
        ),
        Argument(
            r"So from some $\beta$ on $\gamma q_k^\beta / c_k < \alpha$ for every layer, and the plan is 0 at "
            r"$\lambda = 0$.",
            why="it unfolds the limit that the step before checks",
        ),
        Identity(
            r"$\alpha = 0$: for a layer whose share is smaller than the largest by the factor $1 + r$, the ratio of "
            r"weights tends to 0.",
            sp.Limit(below_one**beta, beta, sp.oo),
            sp.Integer(0),
        ),
        Inequality(
            r"Layer 1 has the largest share and at most the whole budget, $m_1 \le B / c_1$. An active "
            r"layer has $1 + m_k = (1 + m_1)\, x$ with $x = \frac{w_k c_1}{w_1 c_k}$, which for small $x$ gives a "
            "negative capacity:",
            below((1 + most) * ratio - 1, sp.Integer(0)),
            given=(at_most(most, B / c), below(ratio, c / (B + c))),
        ),
        Argument(
            "So from some exponent on only the layer with the largest share is active, and it gets the whole budget.",
            why="it unfolds the limit that the step before checks",
        ),
        Identity(
            "The derivative of the capacity in the gain at a fixed multiplier.",
            sp.Derivative(at_exponent, q),
            beta * gamma * q ** (beta - 1) / ((alpha + MULTIPLIER) * c),
        ),
        Inequality(
            r"It is positive for $\beta > 0$ ($e = q_k^{\beta - 1} > 0$).",
            above(beta * gamma * power / ((alpha + MULTIPLIER) * c), sp.Integer(0)),
            given=(above(beta, sp.Integer(0)), above(alpha + MULTIPLIER, sp.Integer(0))),
        ),
        Identity(
            r"If the multiplier is solved for again, the plan is that of [the knobs cancel](knobs.md); $V$ is the "
            r"weight of "
            r"the other active layers.",
            sp.Derivative(binding, w),
            (B + C) * rest / (c * (w + rest) ** 2),
        ),
        Inequality(
            "The derivative is positive if there are other active layers.",
            above((B + C) * rest / (c * (w + rest) ** 2), sp.Integer(0)),
        ),
        Identity(
            r"Without other active layers ($C = c_k$) the capacity is constant.", binding.subs({rest: 0, C: c}), B / c
        ),
        Identity(
            "Multiplying all weights by one factor, as normalising does, does not change the plan.",
            binding.subs({w: share * w, rest: share * rest}, simultaneous=True),
            binding,
        ),
    ),
)
