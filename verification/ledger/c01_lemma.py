"""Lemma 1 and the factor 2."""

from __future__ import annotations

from fractions import Fraction

from zetaplan.verification.ledger.claim import Claim, Fact, Verdict

g, h, tau = Fraction(2), Fraction(3), Fraction(1)


def decrease(step: Fraction) -> Fraction:
    """-Q(step) of a block with one parameter."""
    return -(g * step + (h + tau) * step**2 / 2)


CLAIM = Claim(
    claim=(
        r"The minimiser of the damped model is $-\tilde H^{-1} g$; $\zeta^2$ is twice its decrease (abstract), or "
        r"equals it (introduction)."
    ),
    verdict=Verdict.CORRECTED,
    finding=r"The lemma holds; $\zeta^2$ is twice the decrease. The text contradicts itself by that factor.",
    proofs=("lemma_1",),
    tests=(
        ("tests/scoring/test_curvature.py::test_gain_equals_the_dense_solve"),
        "tests/scoring/test_prediction.py::test_decrease_is_what_the_loss_does_when_the_dense_step_is_taken",
    ),
    facts=(
        Fact(r"One parameter, $g = 2$, $H = 3$, $\tau = 1$: $\zeta^2$ is", Fraction(1), lambda: g**2 / (h + tau)),
        Fact(r"and the decrease of the step $-\tfrac12$ is", Fraction(1, 2), lambda: decrease(-g / (h + tau))),
        Fact(
            r"Steps of $-\tfrac14$ and $-\tfrac34$ decrease less:",
            (Fraction(3, 8), Fraction(3, 8)),
            lambda: (decrease(Fraction(-1, 4)), decrease(Fraction(-3, 4))),
        ),
    ),
)
