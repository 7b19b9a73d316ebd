"""The ranking by zeta^2 under damping."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.verification.ledger.claim import Claim, Fact, Verdict


def gain(square: int, h: int, tau: int) -> Fraction:
    """zeta^2 of a layer with one parameter."""
    return Fraction(square, h + tau)


def worth(square: int, h: int, tau: int) -> Fraction:
    """What the damped step is worth on the undamped model."""
    step = Fraction(1, h + tau)
    return square * step - h * square * step**2 / 2


CLAIM = Claim(
    claim=(
        r"The ranking of layers by $\zeta^2$ is that of the true decreases, up to a factor governed by "
        r"$\tau / (\lambda_{\min} + \tau)$, and is preserved "
        "when the damping is small (Appendix C)."
    ),
    verdict=Verdict.CORRECTED,
    finding=r"""
Exactly: $D$ lies between $\tfrac12 \zeta^2 (1 + \frac{\tau}{\Lambda + \tau})$ and
$\tfrac12 \zeta^2 (1 + \frac{\tau}{\lambda + \tau})$, and $D_1 \ge D_2$ is certain exactly if
$\zeta_1^2 (1 + \frac{\tau}{\Lambda_1 + \tau}) \ge \zeta_2^2 (1 + \frac{\tau}{\lambda_2 + \tau})$. Between two
dampings $\tau < \tau'$ the order is certain exactly if
$\zeta_1^2 \frac{\lambda_1 + \tau}{\lambda_1 + \tau'} \ge \zeta_2^2 \frac{\Lambda_2 + \tau}{\Lambda_2 + \tau'}$.
Without these gaps it may turn round.
""",
    proofs=("surrogate", "damping"),
    facts=(
        Fact(
            r"$g^2 = (2, 5)$, $H = (0, 2)$: at $\tau = 1$ the gains are",
            (Fraction(2), Fraction(5, 3)),
            lambda: (gain(2, 0, 1), gain(5, 2, 1)),
        ),
        Fact(r"and at $\tau = 2$", (Fraction(1), Fraction(5, 4)), lambda: (gain(2, 0, 2), gain(5, 2, 2))),
        Fact(
            r"$g^2 = (12, 2)$, $H = (3, 0)$, $\tau = 1$: the gains are",
            (Fraction(3), Fraction(2)),
            lambda: (gain(12, 3, 1), gain(2, 0, 1)),
        ),
        Fact(
            "but on the undamped model the steps are worth",
            (Fraction(15, 8), Fraction(2)),
            lambda: (worth(12, 3, 1), worth(2, 0, 1)),
        ),
    ),
)
