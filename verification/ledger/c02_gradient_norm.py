"""C2: zeta^2 compared with the gradient norm."""

from __future__ import annotations

from fractions import Fraction

import sympy as sp

from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import number
from zetaplan.verification.proofs.lemma_1 import M, g, gain, gt

SAMPLES = (1, 1), (-1, 5)  # of two layers with one parameter each
CURVATURE, TRUTH = (2, 14), (1, 1)  # damped by 1


def decreases(curvature: tuple[int, ...]) -> tuple[Fraction, ...]:
    """Half the gains, from the proof."""
    means = [sp.Rational(sum(samples), len(samples)) for samples in SAMPLES]
    rows = zip(means, curvature, strict=True)
    return tuple(number(gain.subs({g: mean, gt: mean, M: sp.Rational(1, h)}) / 2) for mean, h in rows)


CLAIM = Claim(
    claim=r"$\zeta^2$ strictly dominates scores made of the gradient norm.",
    verdict=Verdict.CORRECTED,
    finding=r"""
The claim holds as a statement about information: the decrease of the damped model is a function of $g$ and $\tilde H$,
and no function of $|g|$ alone gives it, while $\zeta^2$ does. If all layers have the same curvature $hI$, both scores
give the same order. The claim does not hold as a statement about results: a wrong surrogate can order layers worse
than the gradient norm.
""",
    proofs=("lemma_1",),
    tests=("tests/verification/test_ledger.py::test_c2_the_library_orders_by_gain_and_by_norm",),
    facts=(
        Fact(
            r"Wrong order by the gradient norm: samples $(1, 1)$ and $(-1, 5)$, so $g = (1, 2)$ and $F = (1, 13)$; at "
            r"$\tau = 1$ the decreases $\tfrac12 \zeta^2$ are",
            (Fraction(1, 4), Fraction(1, 7)),
            lambda: decreases(CURVATURE),
        ),
        Fact(
            r"Wrong order by the surrogate: if the true curvature is 0, so $(1, 1)$ with the damping, the best "
            r"decreases are",
            (Fraction(1, 2), Fraction(2)),
            lambda: decreases(TRUTH),
        ),
    ),
)
