"""C21: compute in addition to LayerIF."""

from __future__ import annotations

from fractions import Fraction

import sympy as sp

from zetaplan.verification.ledger.claim import Claim, Fact, Verdict
from zetaplan.verification.ledger.optimum import number
from zetaplan.verification.proofs.gram import direct_gain, gram_gain, gram_matrix

APART, TOGETHER = sp.Matrix([[1, 0], [0, 1]]), sp.Matrix([[1, 0], [1, 0]])  # one gradient per row


def diagonal(gradients: sp.Matrix) -> tuple[Fraction, ...]:
    """The diagonal of the Gram matrix: the squared length of every gradient over N."""
    return tuple(map(number, gram_matrix(gradients).diagonal()))


CLAIM = Claim(
    claim="The framework needs no additional compute beyond the influence scores that it shares with LayerIF.",
    verdict=Verdict.CORRECTED,
    finding=r"""
The claim holds for the programs, whose input is $K$ numbers, and for the paper's experiments, which use LayerIF's
scores in place of $\zeta^2$. It fails for $\zeta^2$ itself: influence scores do not contain
$g^{\top} \tilde H^{-1} g$. With the empirical Fisher matrix of a block, $\zeta^2$ also needs the Gram matrix of the
per-sample gradients, $N (N + 1) / 2$ inner products for $N$ samples. With a Hessian it needs matrix-vector products of
about the cost of two gradients each. This claim does not cover run times.
""",
    proofs=("gram", "quadrature"),
    tests=("tests/verification/test_ledger.py::test_c21_the_library_needs_the_inner_products",),
    facts=(
        Fact(
            r"The lengths of the samples' gradients do not give $\zeta^2$. Two gradients of length 1 at a right angle, "
            r"and two in one direction, have Gram matrices with the diagonals",
            ((Fraction(1, 2), Fraction(1, 2)), (Fraction(1, 2), Fraction(1, 2))),
            lambda: (diagonal(APART), diagonal(TOGETHER)),
        ),
        Fact(
            r"and at $\tau = 1$ the gains",
            (Fraction(1, 3), Fraction(1, 2)),
            lambda: (number(gram_gain(APART, sp.Integer(1))), number(gram_gain(TOGETHER, sp.Integer(1)))),
        ),
        Fact(
            r"which are those of $g^{\top} (F + \tau I)^{-1} g$:",
            (Fraction(1, 3), Fraction(1, 2)),
            lambda: (number(direct_gain(APART, sp.Integer(1))), number(direct_gain(TOGETHER, sp.Integer(1)))),
        ),
    ),
)
