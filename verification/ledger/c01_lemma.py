"""C1: Lemma 1 and the factor 2."""

from __future__ import annotations

from fractions import Fraction

import sympy as sp

from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import number
from zetaplan.verification.proofs.lemma_1 import H, M, d, dt, g, gain, gt, model

BLOCK = {g: 2, gt: 2, H: 8, M: sp.Rational(1, 8)}  # one parameter: samples 1 and 3, F = 5, tau = 3


def decrease(step: Fraction) -> Fraction:
    """-Q(step), with Q from the proof."""
    return number(-model.subs(BLOCK | {d: sp.Rational(step), dt: sp.Rational(step)}))


CLAIM = Claim(
    claim=(
        r"The minimiser of the damped model is $-\tilde H^{-1} g$; $\zeta^2$ is twice its decrease (abstract), or "
        r"equals it (introduction)."
    ),
    verdict=Verdict.CORRECTED,
    finding=r"The lemma holds. $\zeta^2$ is twice the decrease; abstract and introduction differ by that factor.",
    proofs=("lemma_1",),
    tests=(
        "tests/verification/test_ledger.py::test_c1_the_library_gives_gain_and_decrease",
        "tests/scoring/test_curvature.py::test_gain_equals_the_dense_solve",
        "tests/scoring/test_prediction.py::test_decrease_is_what_the_loss_does_when_the_dense_step_is_taken",
    ),
    facts=(
        Fact(
            r"Two samples with the gradients 1 and 3 of one parameter, $F = 5$, $\tau = 3$: $\zeta^2$ is",
            Fraction(1, 2),
            lambda: number(gain.subs(BLOCK)),
        ),
        Fact(r"and the decrease of the step $-\tfrac14$ is", Fraction(1, 4), lambda: decrease(Fraction(-1, 4))),
        Fact(
            r"Steps of $-\tfrac18$ and $-\tfrac38$ decrease less:",
            (Fraction(3, 16), Fraction(3, 16)),
            lambda: (decrease(Fraction(-1, 8)), decrease(Fraction(-3, 8))),
        ),
    ),
)
