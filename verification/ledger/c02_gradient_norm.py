"""zeta^2 against the gradient norm."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.verification.ledger.claim import Claim, Fact, Verdict

SQUARES, CURVATURE, TRUTH = (1, 4), (1, 8), (1, 1)


def gains(curvature: tuple[int, ...]) -> tuple[Fraction, ...]:
    """g^2 / h of two layers with one parameter each."""
    return tuple(Fraction(g, h) for g, h in zip(SQUARES, curvature, strict=True))


CLAIM = Claim(
    claim=r"$\zeta^2$ strictly dominates scores made of the gradient norm.",
    verdict=Verdict.CORRECTED,
    finding=r"""
As a statement about information it holds: the decrease of the damped model is a function of $g$ and $\tilde H$, and
no function of $|g|$ alone gives it, while $\zeta^2$ does. Where all layers have one and the same curvature $hI$ both
scores give one order. As a statement about results it does not hold: a wrong surrogate can order layers worse than
the gradient norm.
""",
    proofs=("lemma_1",),
    facts=(
        Fact(
            r"The gradient norm is wrong: $g^2 = (1, 4)$ and curvature $(1, 8)$ give the decreases $\tfrac12 \zeta^2$",
            (Fraction(1, 2), Fraction(1, 4)),
            lambda: tuple(gain / 2 for gain in gains(CURVATURE)),
        ),
        Fact(
            r"The surrogate is wrong: if the true curvature is $(1, 1)$, the best decreases are",
            (Fraction(1, 2), Fraction(2)),
            lambda: tuple(gain / 2 for gain in gains(TRUTH)),
        ),
    ),
)
