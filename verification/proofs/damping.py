"""Damping: the necessary and sufficient condition for two gains to keep their order."""

from __future__ import annotations

import sympy as sp

from zetaplan.verification.proofs.proof import (
    Argument,
    Identity,
    Inequality,
    Numeric,
    Proof,
    Theorem,
    above,
    at_least,
    at_most,
)

tau, s = sp.symbols(r"tau \tau'", positive=True)
p = sp.Symbol("p", nonnegative=True)
h, low, high = sp.symbols(r"h \lambda \Lambda", nonnegative=True)
z1, z2, y1, y2 = sp.symbols(r"z_1 z_2 z'_1 z'_2", nonnegative=True)
low1, high2 = sp.symbols(r"\lambda_1 \Lambda_2", nonnegative=True)


def gain(square: int, eigenvalue: int, damping: int) -> sp.Expr:
    """g^2 / (h + tau) of a layer with one parameter."""
    return sp.Rational(square, eigenvalue + damping)


PROOF = Proof(
    title="Damping and the order of the gains",
    source="Appendix C of the paper, with a necessary and sufficient condition",
    statement=r"""
Let the eigenvalues of layer $k$'s curvature lie in $[\lambda_k, \Lambda_k]$, and let the damping rise from $\tau$ to
$\tau' > \tau$. The gain of layer 1 stays at least that of layer 2, for all curvatures and gradients with these bounds
and gains, if and only if

$$\zeta_1^2(\tau)\, \frac{\lambda_1 + \tau}{\lambda_1 + \tau'} \;\ge\; \zeta_2^2(\tau)\, \frac{\Lambda_2 +
\tau}{\Lambda_2 + \tau'}.$$

In particular layers with one and the same eigenvalue keep their order, and in general they do not.
""",
    assumptions=(r"$0 \le \lambda_k \le \Lambda_k$ and $0 < \tau < \tau'$.",),
    steps=(
        Identity(
            r"In one eigendirection (eigenvalue $h$, squared component $p$) the gain shrinks by a factor that depends "
            r"on $h$ alone.",
            p / (h + s),
            sp.Mul(p / (h + tau), (h + tau) / (h + s), evaluate=False),
        ),
        Inequality(
            r"The factor rises with the eigenvalue, so it is smallest in flat directions.",
            at_least((h + tau) / (h + s), (low + tau) / (low + s)),
            given=(at_least(h, low), above(s, tau)),
        ),
        Inequality(
            r"So the factor is at most that of the largest eigenvalue.",
            at_most((h + tau) / (h + s), (high + tau) / (high + s)),
            given=(at_most(h, high), above(s, tau)),
        ),
        Theorem(
            r"Summed over the directions: $\frac{\lambda_k + \tau}{\lambda_k + \tau'} \zeta_k^2(\tau) \le "
            r"\zeta_k^2(\tau') \le \frac{\Lambda_k + \tau}"
            r"{\Lambda_k + \tau'} \zeta_k^2(\tau)$, with equality for gradients along one extreme eigenvector.",
            names=("Rates.multiples_add_up",),
        ),
        Inequality(
            r"The condition is sufficient ($z_k$ at $\tau$, $z_k'$ at $\tau'$):",
            at_least(y1, y2),
            given=(
                at_least(y1, z1 * (low1 + tau) / (low1 + s)),
                at_most(y2, z2 * (high2 + tau) / (high2 + s)),
                at_least(z1 * (low1 + tau) / (low1 + s), z2 * (high2 + tau) / (high2 + s)),
            ),
        ),
        Argument(
            r"It is necessary: where it fails, the two extreme gradients of step 4 are out of order at $\tau'$.",
            why="it draws a conclusion from the steps that it names",
        ),
        Numeric(
            r"An order that reverses, one parameter each: $g_1^2 = 2$, $h_1 = 0$ against $g_2^2 = 5$, $h_2 = 2$. "
            r"At $\tau = 1$",
            above(gain(2, 0, 1), gain(5, 2, 1)),
        ),
        Numeric(r"The order at $\tau' = 2$ is the opposite.", above(gain(5, 2, 2), gain(2, 0, 2))),
    ),
)
