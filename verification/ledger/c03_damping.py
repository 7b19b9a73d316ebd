"""C3: the ranking by zeta^2 under damping."""

from __future__ import annotations

from fractions import Fraction

import sympy as sp

from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import number
from zetaplan.verification.proofs import lemma_1, surrogate


def gain(g: int, h: int, tau: int) -> Fraction:
    """zeta^2 of a layer with one parameter, from the proof."""
    return number(lemma_1.gain.subs({lemma_1.g: g, lemma_1.gt: g, lemma_1.M: sp.Rational(1, h + tau)}))


def worth(g: int, h: int, tau: int) -> Fraction:
    """Decrease of the undamped model by the damped step, from the proof."""
    return number(surrogate.worth.subs({surrogate.p: g**2, surrogate.h: h, surrogate.tau: tau}))


CLAIM = Claim(
    claim=(
        r"The ranking of layers by $\zeta^2$ is that of the true decreases, up to a factor governed by "
        r"$\tau / (\lambda_{\min} + \tau)$, and is preserved "
        "when the damping is small (Appendix C)."
    ),
    verdict=Verdict.CORRECTED,
    finding=r"""
The decrease $D$ of the undamped model by the damped step lies between $\tfrac12 \zeta^2 (1 + \frac{\tau}{\Lambda +
\tau})$ and $\tfrac12 \zeta^2 (1 + \frac{\tau}{\lambda + \tau})$, and $D_1 \ge D_2$ is certain if and only if
$\zeta_1^2 (1 + \frac{\tau}{\Lambda_1 + \tau}) \ge \zeta_2^2 (1 + \frac{\tau}{\lambda_2 + \tau})$. Between two dampings
$\tau < \tau'$ the order is certain if and only if $\zeta_1^2 \frac{\lambda_1 + \tau}{\lambda_1 + \tau'} \ge \zeta_2^2
\frac{\Lambda_2 + \tau}{\Lambda_2 + \tau'}$. Otherwise the order may reverse.
""",
    proofs=("surrogate", "damping"),
    tests=("tests/verification/test_ledger.py::test_c3_the_library_turns_these_orders_round",),
    facts=(
        Fact(
            r"Samples $(1, 1)$ and $(0, 4)$ of two layers, so $g = (1, 2)$ and $F = (1, 8)$: at $\tau = 1$ the gains "
            "are",
            (Fraction(1, 2), Fraction(4, 9)),
            lambda: (gain(1, 1, 1), gain(2, 8, 1)),
        ),
        Fact(r"and at $\tau = 2$", (Fraction(1, 3), Fraction(2, 5)), lambda: (gain(1, 1, 2), gain(2, 8, 2))),
        Fact(
            r"Samples $(1, 5)$ and $(1, 1)$, so $g = (3, 1)$ and $F = (13, 1)$, $\tau = 1$: the gains are",
            (Fraction(9, 14), Fraction(1, 2)),
            lambda: (gain(3, 13, 1), gain(1, 1, 1)),
        ),
        Fact(
            "but the steps decrease the undamped model by",
            (Fraction(135, 392), Fraction(3, 8)),
            lambda: (worth(3, 13, 1), worth(1, 1, 1)),
        ),
    ),
)
