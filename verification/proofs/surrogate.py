"""Appendix C with sharp bounds: the decrease of the undamped model by the damped step."""

from __future__ import annotations

import sympy as sp

from zetaplan.verification.proofs.proof import Argument, Identity, Inequality, Proof, above, at_least, at_most

g, gt = sp.symbols(r"g g^{\top}", commutative=False)
H, M = sp.symbols("H M", commutative=False)
tau = sp.Symbol("tau", positive=True)

RESOLVENT = ((M * H, 1 - tau * M),)  # M (H + tau I) = I

p = sp.Symbol("p", nonnegative=True)  # squared component of g along one eigenvector of H
h, low, high = sp.symbols(r"h \lambda \Lambda", real=True)
z1, z2, D1, D2 = sp.symbols("z_1 z_2 D_1 D_2", nonnegative=True)
worth = p / (h + tau) - h * p / (h + tau) ** 2 / 2  # decrease of the undamped model along one eigenvector
high1, low2 = sp.symbols(r"\Lambda_1 \lambda_2", nonnegative=True)

PROOF = Proof(
    title="Appendix C with sharp bounds: the step on the true curvature",
    source="Appendix C, Eqs. 18 and 19 of the paper",
    statement=r"""
Let $D = -(g^{\top} d^{*} + \tfrac12 d^{*\top} H d^{*})$ be the decrease of the undamped model by the damped step
$d^{*} = -(H + \tau I)^{-1} g$. If all eigenvalues of $H$ lie in $[\lambda, \Lambda]$, $\lambda > -\tau$, then

$$\frac{\zeta^2}{2} \Bigl(1 + \frac{\tau}{\Lambda + \tau}\Bigr) \;\le\; D \;\le\; \frac{\zeta^2}{2} \Bigl(1 +
\frac{\tau}{\lambda + \tau}\Bigr).$$

The decrease of layer 1 is at least that of layer 2, $D_1 \ge D_2$, whenever
$\zeta_1^2 \bigl(1 + \frac{\tau}{\Lambda_1 + \tau}\bigr) \ge \zeta_2^2 \bigl(1 + \frac{\tau}{\lambda_2 + \tau}\bigr)$,
and no weaker condition on these numbers is sufficient. For positive semi-definite curvature both factors lie between 1
and 2.
""",
    assumptions=(r"$H$ is symmetric, $H + \tau I$ positive definite, $\tau > 0$; $M = (H + \tau I)^{-1}$.",),
    steps=(
        Identity(
            r"The decrease is half the gain plus half $\tau |d^{*}|^2$, as $|d^{*}|^2 = g^{\top} M M g$.",
            gt * M * g - gt * M * H * M * g / 2,
            gt * M * g / 2 + tau * gt * M * M * g / 2,
            given=RESOLVENT,
        ),
        Argument(
            r"In an orthonormal basis of eigenvectors of $H$ both terms are sums over directions: with eigenvalue $h$ "
            r"and $p$ the square of "
            r"the component of $g$, a direction adds $\frac{p}{h + \tau}$ to $\zeta^2$ and $\frac{p}{(h + \tau)^2}$ "
            r"to $|d^{*}|^2$. It is enough "
            "to bound each direction.",
            why="Coq's standard library has no eigenvectors of symmetric matrices",
        ),
        Inequality(
            r"From above, in every direction:",
            at_most(tau * p / (h + tau) ** 2, tau / (low + tau) * p / (h + tau)),
            given=(at_least(h, low), above(low + tau, sp.Integer(0))),
        ),
        Inequality(
            r"From below, in every direction:",
            at_least(tau * p / (h + tau) ** 2, tau / (high + tau) * p / (h + tau)),
            given=(at_most(h, high), above(h + tau, sp.Integer(0))),
        ),
        Inequality(
            r"The order of two layers, $z_k = \zeta_k^2$:",
            at_least(D1, D2),
            given=(
                at_least(D1, z1 / 2 * (1 + tau / (high1 + tau))),
                at_most(D2, z2 / 2 * (1 + tau / (low2 + tau))),
                at_least(z1 * (1 + tau / (high1 + tau)), z2 * (1 + tau / (low2 + tau))),
            ),
        ),
        Identity(
            r"The bounds are attained: where $g$ lies along one eigenvector with eigenvalue $h$, the decrease is",
            worth,
            p / (h + tau) / 2 * (1 + tau / (h + tau)),
        ),
        Argument(
            r"So with $g_1$ along an eigenvector of $\Lambda_1$ and $g_2$ along one of $\lambda_2$ the condition "
            r"decides the order: where it "
            "fails, these two gradients have the opposite order.",
            why="it draws a conclusion from the steps that it names",
        ),
        Inequality(
            r"For positive semi-definite curvature the factor stays below 2.",
            at_most(1 + tau / (high1 + tau), sp.Integer(2)),
        ),
    ),
)
